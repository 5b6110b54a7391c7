"""What a checkpoint is opened for: the model along its principal axes, the preconditioner, the chains, the samples that
they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from dgn.config import Config, last_sigma
from dgn.data.open import open_sources
from dgn.data.source import Sources
from dgn.distributed import ProcessGroup
from dgn.errors import UserError
from dgn.files import disk_errors, resolve_all, sha256, write_arrays, write_json
from dgn.inference.axes import rotate
from dgn.inference.latents import LatentBank
from dgn.inference.preconditioner import Preconditioner, group_sigmas
from dgn.nets.model import LatentGroup, Model
from dgn.reading import read_arrays
from dgn.run_folder import RunFolder, recorded_files
from dgn.training.checkpoint import AXES, MANIFEST, SIGMAS, malformed, newest, read_manifest, read_state
from dgn.training.parameters import load


def save_axes(checkpoint: Path, rotations: Mapping[str, np.ndarray]) -> None:
    """Adds rotations (d, d), by group name, to a checkpoint and to its manifest."""
    write_arrays(checkpoint / AXES, **rotations)
    write_json(checkpoint / MANIFEST, {**read_manifest(checkpoint), AXES: sha256(checkpoint / AXES)})


def read_axes(checkpoint: Path) -> dict[str, np.ndarray]:
    """The rotations of a checkpoint, by group name; {} if its training was not finished.

    Raises UserError for a damaged file. Checked here: manifests before 0.2 do not list it.
    """
    try:
        return read_arrays(checkpoint / AXES)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"{checkpoint / AXES} is not as it was written ({error}); restore it") from None


def load_model(checkpoint: Path, model: Model) -> None:
    """Loads a model from a checkpoint, and rotates its latents to the principal axes. Raises UserError if weights or
    axes are damaged, or belong to another model."""
    load(checkpoint, {"weights": model})
    axes = read_axes(checkpoint)
    for group in model.groups:
        shape = 2 * group.shape
        rotation = axes.get(group.name, np.zeros(shape))
        if rotation.shape != shape or rotation.dtype.kind != "f" or not np.isfinite(rotation).all():
            raise UserError(f"{checkpoint / AXES}: the axes of {group.name} must be a matrix of {shape[0]} x "
                            f"{shape[1]} finite numbers; restore the file")
    rotate(model, axes)


def load_preconditioner(checkpoint: Path, preconditioner: Preconditioner | None, config: Config) -> None:
    """Loads the preconditioner of a sampler, if it has one, for the latents of `load_model` and the config's last
    sigma."""
    if preconditioner is not None:
        load(checkpoint, {"preconditioner": preconditioner})
        preconditioner.recover_curvatures(read_sigmas(checkpoint, preconditioner, config))
        preconditioner.rotate(read_axes(checkpoint))
        preconditioner.adapt_all(last_sigma(config))


def read_sigmas(checkpoint: Path, preconditioner: Preconditioner, config: Config) -> tuple[float, ...]:
    """The sigmas for which the preconditioner of a checkpoint was computed: as recorded, or for early checkpoints as
    their config says. Raises UserError if they are malformed."""
    state = read_state(checkpoint, "epoch", "step")
    epoch = state["epoch"] - (0 if state["step"] else 1)  # the last epoch that was begun
    sigmas = state.get(SIGMAS, group_sigmas(config.inference, preconditioner.names, epoch))
    if not isinstance(sigmas, list) or len(sigmas) != len(preconditioner.names) or not all(
            isinstance(sigma, (int, float)) and sigma > 0 for sigma in sigmas):
        raise malformed(checkpoint, f"{SIGMAS} is {sigmas!r}")
    return tuple(sigmas)


def restore_bank(checkpoint: Path, folder: Path, groups: Iterable[LatentGroup],
                 processes: ProcessGroup = ProcessGroup()) -> LatentBank:
    """Copies this process's chains from a checkpoint, which any number of processes may have written, to working files
    in `folder`. Raises UserError if they are damaged."""
    with disk_errors(folder):
        bank = LatentBank.open(checkpoint, groups).copy_shard(folder, groups, processes.rank, processes.size)
    if not np.isfinite([*bank.power_sums().values()]).all():
        raise UserError(f"{checkpoint} holds latents that are not finite; remove it, so that an earlier one is used")
    return bank


def recorded_sources(folder: RunFolder, config: Config) -> Sources:
    """The samples of `config` for the existing run in `folder`: the files that it recorded, or those of its newest
    checkpoint's identity. Raises UserError as open_sources does."""
    def identity() -> str | None:
        saved = newest(folder.checkpoints)
        return read_state(saved, "images")["images"] if saved else None

    return open_sources(config.data, *recorded_files(folder.path), identity)


def training_files(config: Config, folder: Path | None = None) -> set[str] | None:
    """The resolved paths of the image files that a training of this config uses, and of those of the run that it is
    initialized from.

    folder: of a run of this config, which records its files.
    Empty for generated images; None if unknown: a MindRecord or official set, a folder or run that no longer exists.
    """
    files: set[str] = set()
    if config.training.init_from:
        start = Path(config.training.init_from)
        earlier = training_files(RunFolder.open(start).config, start) if RunFolder.is_run(start) else None
        if earlier is None:
            return None
        files |= earlier
    if config.data.path is None:
        return files
    if config.data.format != "images" or not Path(config.data.path).is_dir():
        return None
    held_out, trained = recorded_files(folder) if folder else (None, None)
    if trained is None:
        source = open_sources(config.data, held_out).train
        return files | set(resolve_all(source.paths(source.indices()) or ()))
    return files | set(resolve_all(Path(config.data.path) / name for name in trained))
