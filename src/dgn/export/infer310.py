"""What goes into the C++ program of ascend310_infer, and what comes out of it, beside what Python gives.

A work folder, written by scripts/run_infer_310.sh:

  images/samples.npy          images (n, C, H, W), if there were any
  start/<group>/samples.npy   latents that images come with (labels), if they do
  latents/<group>/            latents, given or inferred by the program: an array a sample
  first_call/<group>/         latents after the first call of the inference
  reconstruct/  traverse_<group>/  recombine/    what the program made of them
"""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np

from dgn.errors import RunFailed, UserError
from dgn.figures.bases import sweep
from dgn.files import write_array
from dgn.nets.model import Decoded, LatentGroup


class Limits(NamedTuple):
    """How far the program may be from Python."""

    value: float  # a decoded value, relative to the largest one if that is above 1
    latent: Optional[float]  # a latent after the first call of the inference, of the median sample; None: not judged


# By the precision in which a device multiplies. Latents are judged one by one after the first call alone: on a model with a small sigma
# float32's own rounding led chains apart, from 4e-6 after 5 steps to 0.3 after 300, into modes that explain the images as well.
# The limit of float16 comes from an emulation and was never seen on a device: with the operands and results of every dense and
# deconvolution layer rounded to 16 bits, as Ascend's matrix unit has them, that model (Table 5, 32x32) gave images 1.5e-3 and
# displacements 5e-4 of the largest value away; latents were 0.7 away after 5 steps, with images no worse (MSRE 1.52 against 1.58).
LIMITS = {"float32": Limits(1e-5, 1e-3), "float16": Limits(1e-2, None)}
ERROR_RATIO = 1.5  # MSRE from all the program's steps to that from Python's, at most; a choice


class Exported(NamedTuple):
    """What `dgn export` wrote into a folder."""

    folder: Path
    about: Dict[str, Any]  # its export.json

    @property
    def run(self) -> Path:
        """The run folder that it was made from. Raises UserError if that is no longer there."""
        for path in (Path(self.about.get("run", "")), self.folder.parent):
            if (path / "config.yaml").is_file():
                return path
        raise UserError(f"{self.folder} was exported from {self.about.get('run')}, which is not there; the check needs that run folder")


def open_exported(path: Path) -> Exported:
    """The export that holds the MindIR file `path`, or in the folder `path`. Raises UserError if there is none."""
    folder = path if path.is_dir() else path.parent
    command = "write one with `python -m dgn export RUN --mindir-version 1`"
    try:
        about = json.loads((folder / "export.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} holds no export ({error}); {command}") from None
    if not isinstance(about, dict) or not (folder / "decoder.mindir").is_file():
        raise UserError(f"{folder} holds no decoder.mindir, or its export.json is damaged; {command}")
    return Exported(folder, about)


def read_latents(data: Path, groups: Sequence[LatentGroup]) -> Tuple[np.ndarray, ...]:
    """Latents (n, d) of each group: of a latents.npz that `dgn infer` wrote, or of folders named as the groups, with .npy and .bin
    files. Raises UserError if they do not fit the model or each other."""
    found = []
    for group in groups:
        try:
            parts = _parts(data, group.name)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise UserError(f"cannot read the latents {group.name} in {data}: {error}") from None
        if not parts:
            raise UserError(f"{data} holds no latents of {group.name} (latents.npz, or files in {group.name}/)")
        if any(part.dtype != np.float32 or part.size == 0 or part.size % group.shape[0] for part in parts):
            raise UserError(f"the latents {group.name} in {data} are not float32, or not of {group.shape[0]} dimensions as this model's")
        found.append(np.concatenate([part.reshape(-1, *group.shape) for part in parts]))
    if len({len(z) for z in found}) > 1:
        raise UserError(f"{data} holds {' and '.join(f'{len(z)} of {group.name}' for z, group in zip(found, groups))}")
    return tuple(found)


def _parts(data: Path, name: str) -> List[np.ndarray]:
    """The arrays of one group's latents as they are stored."""
    if (data / "latents.npz").is_file():
        with np.load(data / "latents.npz", allow_pickle=False) as arrays:
            return [arrays[name]] if name in arrays else []
    files = sorted(file for file in (data / name).glob("*") if file.suffix in (".npy", ".bin"))
    return [np.load(file, allow_pickle=False) if file.suffix == ".npy" else np.frombuffer(file.read_bytes(), "<f4") for file in files]


def holds_latents(data: Path, groups: Sequence[LatentGroup]) -> bool:
    """Whether a folder is of latents rather than of images."""
    return (data / "latents.npz").is_file() or any((data / group.name).is_dir() for group in groups)


def write_samples(folder: Path, values: np.ndarray) -> None:
    """Samples as one file for the program."""
    write_array(folder / "samples.npy", np.ascontiguousarray(values, np.float32))


def read_samples(folder: Path) -> np.ndarray:
    """Samples as write_samples left them. Raises RunFailed if they are not there."""
    return _read(folder / "samples.npy")


def read_written(folder: Path, names: Sequence[str]) -> np.ndarray:
    """The arrays that the program wrote, one of each name. Raises RunFailed if one is missing."""
    try:
        return np.stack([_read(folder / f"{name}.npy") for name in names])
    except ValueError as error:  # none, or of several shapes
        raise RunFailed(f"{folder} does not hold what the program should have written: {error}") from None


def _read(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise RunFailed(f"cannot read {path}, which prepare or the program should have written: {error}") from None


def sample_names(written: Path) -> List[str]:
    """Names of the samples that the program wrote into a folder, samples_0, samples_1 ..., in the order in which they were given.
    Raises RunFailed if there are none."""
    numbers = sorted(int(file.stem.removeprefix("samples_")) for file in written.glob("samples_*.npy"))
    if not numbers:
        raise RunFailed(f"{written} holds nothing that the program wrote")
    return [f"samples_{number}" for number in numbers]


def pairs_written(folder: Path) -> Tuple[List[str], List[List[int]]]:
    """Names of the pictures that the job recombine wrote into a folder, and the number of each one's donors of appearance and of
    geometry. Raises RunFailed if there are none."""
    names = sorted(file.stem for file in folder.glob("samples_*__samples_*.npy"))
    if not names:
        raise RunFailed(f"{folder} holds nothing that the program wrote")
    return names, [list(donors) for donors in zip(*(map(int, name.removeprefix("samples_").split("__samples_")) for name in names))]


def dimensions_written(folder: Path) -> List[int]:
    """The dimensions that the job traverse chose. Raises RunFailed if it has not written them."""
    try:
        return [int(word) for word in (folder / "dimensions.txt").read_text(encoding="utf-8").split()]
    except (OSError, ValueError) as error:
        raise RunFailed(f"cannot read what the program traversed: {error}") from None


def grey_levels(pictures: Path, names: Sequence[str], images: np.ndarray) -> int:
    """The largest difference, in levels of 0 to 255, of the program's PNG files to images (n, C, H, W) or clips (n, F, C, H, W)."""
    worst = 0
    for name, image in zip(names, images):
        strip = np.concatenate(list(image), -1) if image.ndim == 4 else image
        wanted = np.rint(255 * np.clip(strip, 0, 1)).astype(np.int32).transpose(1, 2, 0)
        found = cv2.imread(str(pictures / f"{name}.png"), cv2.IMREAD_UNCHANGED)
        if found is None:
            raise RunFailed(f"{pictures / name}.png cannot be read")
        found = found[..., ::-1] if found.ndim == 3 else found[..., None]
        worst = max(worst, int(np.abs(found.astype(np.int32) - wanted).max()))
    return worst


def traversal(decode: Callable[..., Decoded], groups: Sequence[LatentGroup], moving: int, dimensions: Sequence[int], gamma: float,
              held: Sequence[np.ndarray], positions: int = 11) -> np.ndarray:
    """Images (rows, positions, ...) that the program's job traverse should give; held: (d,) of each group."""
    z = np.concatenate([sweep(k, groups[moving].shape[0], gamma, positions) for k in dimensions])
    latents = [z if g == moving else held[g][None].repeat(len(z), 0) for g in range(len(groups))]
    images = decode(*latents).image
    return images.reshape(len(dimensions), positions, *images.shape[1:])


def difference(found: np.ndarray, wanted: np.ndarray) -> float:
    """Largest difference, relative to the largest value if that is above 1 (displacements are in pixels)."""
    if found.shape != wanted.shape:
        raise RunFailed(f"the program gives arrays of {found.shape}, Python of {wanted.shape}")
    return float(np.abs(found - wanted).max()) / max(float(np.abs(wanted).max()), 1.0)
