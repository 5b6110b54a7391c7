"""Progress of a training: a bar on a terminal, plain lines elsewhere and in a log file."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dgn import console
from dgn.files import append_line

INTERVAL = 180.0  # seconds between lines within an epoch


class Progress:
    """One line an epoch, `epoch: 3 step: 10, loss is 123.4, ...`; within a long epoch a line every few minutes, or on a
    terminal a bar with the time left.

    log: file to which the lines are also written. quiet: no output, for all processes but the first.
    """

    def __init__(self, first_epoch: int, epochs: int, log: Path | None = None, quiet: bool = False) -> None:
        self.log, self.quiet = log, quiet
        self.epochs = epochs
        self.compiled = False  # whether the first epoch of this process, which compiles the graphs, is over
        self.measured, self.seconds = 0, 0.0  # epochs after the first one, and their seconds
        self.epoch_began = (-1, 0, 0.0)  # epoch, its first batch of this process, the time after that batch
        self.last_printed = time.monotonic()
        self.bar = None
        if not quiet and sys.stdout is not None and sys.stdout.isatty():
            self.bar = tqdm(total=epochs, initial=first_epoch, unit="epoch", file=sys.stdout, dynamic_ncols=True,
                            bar_format="{l_bar}{bar}| epoch {n:.1f}/{total} [{elapsed}<{remaining}{postfix}]")

    def step(self, epoch: int, step: int, steps: int, means: dict[str, float]) -> None:
        """After a batch, `step` of `steps`: updates the bar, or prints a line if none was printed for INTERVAL."""
        errors = f"loss {means['loss']:.1f}, MSRE {means['msre']:.1f}"
        if self.bar is not None:
            self.bar.n = epoch + step / steps
            self.bar.set_postfix_str(errors)
            return
        now = time.monotonic()
        if self.epoch_began[0] != epoch:
            self.epoch_began = epoch, step, now
        elif now - self.last_printed >= INTERVAL:
            _, first, began = self.epoch_began
            left = (now - began) / (step - first) * (steps - step)
            self.say(f"epoch {epoch + 1}, batch {step} of {steps}: {errors}, {console.clock(left)} left of this epoch")

    def epoch(self, record: dict[str, Any], steps: int, first: int = 0) -> None:
        """After an epoch: prints its line. The time left follows from the epochs after the first one of this process,
        which compiles; after that one the line says that its time contains the compilation.

        steps: of the epoch. first: number of them that an earlier process did, before a resume within the epoch.
        """
        done = record["epoch"] + 1
        remaining = self.epochs - done
        if self.compiled:
            self.measured, self.seconds = self.measured + 1, self.seconds + record["seconds"]
            left = f"{console.clock(self.seconds / self.measured * remaining)} left"
        else:
            self.compiled = True
            whole = record["seconds"] * steps / (steps - first)
            left = f"{console.clock(whole * remaining)} left" + " with compilation" * (remaining > 0)
        latents = ", ".join(f"{key[:-5]} {record[key]:+.2f} +- {record[key[:-5] + '_std']:.2f}"
                            for key in record if key.endswith("_mean"))
        line = (f"epoch: {done} step: {steps}, loss is {record['loss']:.2f}, MSRE {record['msre']:.1f}, {latents}, "
                f"{record['images_per_second']:.0f} images/s, {left}")
        if self.bar is not None:
            self.bar.n = done
        self.say(line)

    def say(self, line: str) -> None:
        """Prints a line and adds it to the log; control characters are escaped."""
        line = console.escape_controls(line)
        self.last_printed = time.monotonic()
        if self.quiet:
            return
        if self.bar is not None:
            self.bar.write(line, file=sys.stdout)
        else:
            console.say(line)
        if self.log is not None:
            append_line(self.log, line)

    def close(self) -> None:
        """Closes the bar."""
        if self.bar is not None:
            self.bar.close()
