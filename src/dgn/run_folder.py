"""The run folder: everything needed to resume, evaluate, draw and export a run.

  config.yaml     every setting
  held_out.json   names of the held-out files, if the images are files; they stay held out if one of them is removed
  trained.json    names of the files of the training, likewise; files that are added later are not used
  metrics.jsonl   metrics of the training, one line an epoch
  train.log       output of the training
  metrics.json    results of evaluation and experiments, one section each; if the training is continued, earlier results
                  are renamed metrics_epoch_NNNNN.json; a damaged file is renamed metrics_damaged.json
  checkpoints/    weights, optimizers, latents, position; see dgn.training.checkpoint
  latents/        the chains between checkpoints
  fitted_prior.npz  Gaussian fitted to the latents at the end of the training; see dgn.inference.fitted
  figures/        pictures; data.png before the training, epoch_NNNNN/ during it
  page.html       the interactive page: the weights, some samples with their latents, results, pictures
  encoder/        the encoder of `dgn encoder`, if there is one, and the digest of the weights for which it was trained
  start.sha256    digest of the checkpoint that the run was initialized from (experiments only)
  .lock           lock of the process that trains the run
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections import deque
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from dgn import console, recipe
from dgn.config import Config
from dgn.errors import RunFailed, UserError, first_line
from dgn.files import (
    append_line,
    check_new_folder,
    disk_errors,
    in_turn,
    locked,
    new_folder,
    retire,
    write_json,
    write_text,
)
from dgn.provenance import origin
from dgn.reading import is_finite, read_json

log = logging.getLogger(__name__)

HELD_OUT, TRAINED = "held_out.json", "trained.json"
APPEARS_WITHIN = 90.0  # seconds: an NFS client may cache for up to a minute that a file does not exist
RESULTS = "metrics.json"
RENAMED = {"score_made": "score_fake", "clip_score_made": "clip_score_fake"}  # keys of metrics before 0.2.0


def recorded_files(path: Path) -> tuple[list[str] | None, list[str] | None]:
    """Names of the held-out files and of the training files of the run in `path`, in order; None for each list that is
    not recorded, or if there is no run."""
    return _names(path / HELD_OUT), _names(path / TRAINED)


def _names(path: Path) -> list[str] | None:
    try:
        return [str(name) for name in read_json(path, list)]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged ({first_line(error)}); restore it, or remove it if no file was added "
                        "or removed since the training") from None


class RunFolder:
    """Paths of one run, its config and its log.

    output: folder of results (default: the run folder itself; see dgn.packaged).
    """

    def __init__(self, path: Path, config: Config, output: Path | None = None) -> None:
        self.path, self.config, self.output = path, config, output or path
        self.checkpoints, self.figures, self.latents = path / "checkpoints", self.output / "figures", path / "latents"
        self.metrics_log, self.train_log = path / "metrics.jsonl", path / "train.log"
        self.results_path, self.fitted_prior = self.output / RESULTS, path / "fitted_prior.npz"

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    @classmethod
    def create(cls, path: Path, config: Config) -> RunFolder:
        """A new run in `path`. Raises UserError as check_free does, or if it cannot be written."""
        cls.check_free(path)
        run = cls(new_folder(path), config)
        try:
            run.checkpoints.mkdir()  # of two processes that create one run, only one succeeds
        except FileExistsError:
            raise UserError(f"another process is creating a run in {path}; choose another output folder "
                            "(--output)") from None
        except OSError as error:
            raise UserError(f"cannot create {run.checkpoints}: {first_line(error)}; choose another output folder "
                            "(--output)") from None
        try:
            run.change_config(config)
        except RunFailed as error:  # nothing has run yet, so the user chose an unusable folder
            with suppress(OSError):
                run.checkpoints.rmdir()
            raise UserError(f"{error}; choose another output folder (--output)") from None
        return run

    @staticmethod
    def is_run(path: Path) -> bool:
        """Whether `path` holds a run; False for a folder that cannot be read."""
        return os.path.isfile(path / "config.yaml")

    @staticmethod
    def check_free(path: Path) -> None:
        """Raises UserError if `path` holds a run or other files."""
        if RunFolder.is_run(path):
            raise UserError(f"{path} already holds a run: --resume (in Python dgn.resume) continues it, another "
                            "output folder (--output) starts a new one")
        check_new_folder(path)

    @staticmethod
    def check_exists(path: Path) -> None:
        """Raises UserError if `path` holds no run, or cannot be read."""
        if RunFolder.is_run(path):
            return
        try:
            os.stat(path / "config.yaml")
        except PermissionError as error:
            raise UserError(f"cannot read {path / 'config.yaml'}: {first_line(error)}") from None
        except OSError:
            pass
        raise UserError(f"{path} holds no run (no config.yaml); give the output folder of a training, not the name "
                        "of a packaged model")

    @staticmethod
    def await_new(path: Path, rank: int) -> None:
        """Returns when this process (of this rank) sees a run that the first process has just created, perhaps on
        another host. Raises UserError after APPEARS_WITHIN seconds."""
        began = time.monotonic()
        while not RunFolder.is_run(path):
            waited = time.monotonic() - began
            if waited >= APPEARS_WITHIN:
                raise UserError(f"process {rank} does not see the run folder {path}, which the first process created, "
                                f"after {waited:.0f} s; it must be on a file system that all hosts share")
            for folder in (path.parent, path):  # reading a folder makes the client ask the server
                with suppress(OSError), os.scandir(folder) as entries:
                    deque(entries, maxlen=0)
            time.sleep(min(1.0, APPEARS_WITHIN / 10))

    @classmethod
    def open(cls, path: Path, output: Path | None = None) -> RunFolder:
        """The run in `path`, whose results are written to `output`. Raises UserError if there is none."""
        cls.check_exists(path)
        try:
            text = (path / "config.yaml").read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read {path / 'config.yaml'}: {error}") from None
        if not text.strip():
            raise UserError(f"{path / 'config.yaml'} is empty: it was cut short, and the run's settings are lost")
        try:
            return cls(path, recipe.load(path / "config.yaml"), output)
        except UserError as error:
            raise UserError(f"{error}; a run of another version of dgn may need that version") from None

    def locked(self) -> AbstractContextManager[None]:
        """Locks the run for this process within a `with` block. Raises UserError, naming the holder, if another process
        trains the run. See dgn.files.locked."""
        return locked(self.path / ".lock", self.path)

    def change_config(self, config: Config) -> None:
        """Replaces the config, also in config.yaml."""
        self.config = config
        write_text(self.path / "config.yaml", recipe.dump(config))

    def say(self, line: str) -> None:
        """Prints a line and adds it to train.log."""
        console.say(line)
        append_line(self.train_log, console.escape_controls(line))

    def add_results(self, **sections: Any) -> None:
        """Writes sections of metrics.json and keeps the others; a damaged file is renamed to metrics_damaged.json. If
        the file cannot be written, prints the sections, so that they are not lost, and raises RunFailed."""
        try:
            with in_turn(self.output):
                write_json(self.results_path, {**self.read_results(keep_damaged=True), **sections})
        except RunFailed:
            console.say(f"result: {json.dumps(sections)}")
            raise

    def add_section(self, name: str, result: dict[str, Any]) -> dict[str, Any]:
        """Writes a section of metrics.json with its origin (dgn.provenance); returns both. See add_results."""
        result = {**result, **origin()}
        self.add_results(**{name: result})
        return result

    def read_results(self, keep_damaged: bool = False) -> dict[str, Any]:
        """metrics.json as a dictionary; {} if it is missing or, with a warning, if it is damaged. keep_damaged: rename
        a damaged file, which will be written again. Raises RunFailed if it cannot be read."""
        stored = self.results_path if self.results_path.exists() else self.path / RESULTS
        try:
            with disk_errors(stored, "read"), suppress(FileNotFoundError):
                return read_json(stored, dict)
        except ValueError as error:
            kept = retire(stored, "damaged").name if keep_damaged and stored == self.results_path else None
            log.warning("%s is damaged (%s); %s", stored, error, f"it is now {kept}" if kept else "it is not read")
        return {}

    def log_metrics(self, record: dict[str, Any]) -> None:
        """Adds a line to metrics.jsonl."""
        append_line(self.metrics_log, json.dumps(record))

    def read_metrics_log(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl. Damaged ones are left out with a warning: a killed process may leave the last
        unfinished."""
        if not self.metrics_log.is_file():
            return []
        with disk_errors(self.metrics_log, "read"):
            lines = self.metrics_log.read_text(encoding="utf-8", errors="replace").splitlines()
        records = [record for line in lines if (record := _record(line))]
        if len(records) < len(lines):
            log.warning("%s: damaged lines are left out (%d)", self.metrics_log, len(lines) - len(records))
        return records

    def rewind(self, epoch: int, continued: bool = True) -> None:
        """Removes the metrics of `epoch` and later, and the prior that was fitted to the latents: they will be written
        again. If the training is continued, earlier results are renamed to metrics_epoch_NNNNN.json."""
        with disk_errors(self.fitted_prior):
            self.fitted_prior.unlink(missing_ok=True)
        if continued and self.results_path.exists():
            retire(self.results_path, f"epoch_{epoch:05d}")
        kept = [json.dumps(record) for record in self.read_metrics_log() if record["epoch"] < epoch]
        write_text(self.metrics_log, "".join(line + "\n" for line in kept))


def _record(line: str) -> dict[str, float] | None:
    """The metrics in a line of metrics.jsonl; None if it is damaged."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not (isinstance(record, dict) and isinstance(record.get("epoch"), int)
            and all(isinstance(value, float) or is_finite(value) for value in record.values())):
        return None
    return {RENAMED.get(str(key), str(key)): value for key, value in record.items()}
