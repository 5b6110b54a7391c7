"""Progress of a training: a bar on a terminal, plain lines elsewhere and in a log file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dgn import console
from dgn.files import append_line


class Progress:
    """One line an epoch, `epoch: 3 step: 10, loss is 123.4, ...`, and on a terminal a bar with the time left.

    log: file to which the lines are also written. quiet: no output, for all processes but the first.
    """

    def __init__(self, first_epoch: int, epochs: int, log: Path | None = None, quiet: bool = False) -> None:
        self.log, self.quiet = log, quiet
        self.epochs, self.first = epochs, first_epoch
        self.seconds = 0.0
        self.bar = None
        if not quiet and sys.stdout is not None and sys.stdout.isatty():
            self.bar = tqdm(total=epochs, initial=first_epoch, unit="epoch", file=sys.stdout, dynamic_ncols=True,
                            bar_format="{l_bar}{bar}| epoch {n:.1f}/{total} [{elapsed}<{remaining}{postfix}]")

    def step(self, epoch: int, step: int, steps: int, means: dict[str, float]) -> None:
        """After a batch: updates the bar."""
        if self.bar is not None:
            self.bar.n = epoch + step / steps
            self.bar.set_postfix_str(f"loss {means['loss']:.1f}, MSRE {means['msre']:.1f}")

    def epoch(self, record: dict[str, Any], steps: int) -> None:
        """After an epoch: prints its line."""
        done = record["epoch"] + 1
        self.seconds += record["seconds"]
        left = self.seconds / (done - self.first) * (self.epochs - done)
        latents = ", ".join(f"{key[:-5]} {record[key]:+.2f} +- {record[key[:-5] + '_std']:.2f}"
                            for key in record if key.endswith("_mean"))
        line = (f"epoch: {done} step: {steps}, loss is {record['loss']:.2f}, MSRE {record['msre']:.1f}, {latents}, "
                f"{record['images_per_second']:.0f} images/s, {clock(left)} left")
        if self.bar is not None:
            self.bar.n = done
        self.say(line)

    def say(self, line: str) -> None:
        """Prints a line and adds it to the log."""
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


def clock(seconds: float) -> str:
    """Seconds as text: 45 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
