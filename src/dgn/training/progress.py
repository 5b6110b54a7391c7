"""What a person sees of a training: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Dict, Optional

from tqdm import tqdm

from dgn.files import append_line


class Progress:
    """One line an epoch, `epoch: 3 step: 10, loss is 123.4, ...`, and on a terminal a bar with the time left."""

    def __init__(self, first_epoch: int, epochs: int, log: Optional[Path] = None, stream=None) -> None:
        self.stream, self.log = stream or sys.stdout, log
        self.epochs, self.first = epochs, first_epoch
        self.seconds = 0.0
        self.bar = None
        if self.stream.isatty():
            self.bar = tqdm(total=epochs, initial=first_epoch, unit="epoch", file=self.stream, dynamic_ncols=True,
                            bar_format="{l_bar}{bar}| epoch {n:.1f}/{total} [{elapsed}<{remaining}{postfix}]")

    def step(self, epoch: int, step: int, steps: int, means: Dict[str, float]) -> None:
        """After a batch: moves the bar."""
        if self.bar is not None:
            self.bar.n = epoch + step / steps
            self.bar.set_postfix_str(f"loss {means['loss']:.1f}, MSRE {means['msre']:.1f}")

    def epoch(self, record: Dict[str, Any], steps: int) -> None:
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
        """A line for the person and for the log."""
        if self.bar is not None:
            self.bar.write(line, file=self.stream)
        else:
            print(line, file=self.stream, flush=True)
        if self.log is not None:
            append_line(self.log, line)

    def close(self) -> None:
        """Leaves the terminal on a line of its own."""
        if self.bar is not None:
            self.bar.close()


class Silence(Progress):
    """Of a process that is not the first: it says nothing."""

    def __init__(self) -> None:
        pass

    def step(self, epoch: int, step: int, steps: int, means: Dict[str, float]) -> None:
        pass

    def epoch(self, record: Dict[str, Any], steps: int) -> None:
        pass

    def say(self, line: str) -> None:
        pass

    def close(self) -> None:
        pass


def clock(seconds: float) -> str:
    """Seconds as a person reads them: 45 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
