"""Trained models that are part of the package: their names, folders and results. dgn.package_run makes them.

A packaged model is a run folder without the files that only a training needs. It has config.yaml, the newest checkpoint
without optimizers, the encoder of `dgn encoder` if there is one, the metrics of evenly spaced epochs, and the results.
The encoder, and weights of more than half a megabyte, are float16. It is trained only on generated images, so its
samples can be generated everywhere. Commands write their results for it to runs/packaged/NAME in the working directory.
"""

from __future__ import annotations

import os
from pathlib import Path

from dgn.errors import UserError
from dgn.run_folder import RESULTS, RunFolder

FOLDER = Path(__file__).parent / "models"
OUTPUT = Path("runs") / "packaged"  # in the working directory


def names() -> list[str]:
    """Names of the packaged models."""
    return sorted(path.parent.name for path in FOLDER.glob("*/config.yaml"))


def find(path: Path) -> tuple[Path, Path | None]:
    """The folder of the run in `path`, or of the packaged model with this name, and where its results go if not there;
    a folder that holds a run takes precedence. Nothing is read.

    Raises UserError, naming the packaged models, if there is neither.
    """
    if not RunFolder.is_run(path) and len(path.parts) == 1:
        if path.name in names():
            return FOLDER / path.name, OUTPUT / path.name
        if not os.path.exists(path):  # False also for a name that is too long
            raise UserError(f"{path} holds no run, and no packaged model has this name; packaged models: "
                            f"{', '.join(names()) or 'none'}. Else give the output folder of a training")
    RunFolder.check_exists(path)
    return path, None


def open_folder(path: Path) -> RunFolder:
    """The run that `find` finds."""
    return RunFolder.open(*find(path))


def check_free(path: Path) -> None:
    """Raises UserError if a new run cannot be in `path`: it holds a run or other files, or it is the bare name of a
    packaged model, which would then open this run."""
    if len(path.parts) == 1 and path.name in names():
        raise UserError(f"{path} is the name of a packaged model; choose another output, such as runs/{path}")
    RunFolder.check_free(path)


def results_file(path: Path) -> Path:
    """metrics.json of the run folder `path`, or of the packaged model with this name: the file that commands wrote in
    the working directory, else the packaged file."""
    if path.exists() or len(path.parts) > 1 or path.name not in names():
        return path / RESULTS
    written = OUTPUT / path.name / RESULTS
    return written if written.exists() else FOLDER / path.name / RESULTS
