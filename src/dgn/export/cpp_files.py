"""The files that the C++ program of ascend310_infer reads and writes.

A work folder, written by scripts/run_infer_310.sh:

  images/samples.npy          images (n, C, H, W), if there were any
  start/<group>/samples.npy   latents that come with the images (labels), if there are any
  encode/<group>/             latents of the images by the encoder, if there is one
  latents/<group>/            latents, given or inferred by the program: an array for each sample
  first_call/<group>/         latents after the first call of the inference
  reconstruct/  traverse_<group>/  recombine/    results of the program
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from dgn.data.frames import strip
from dgn.data.pixels import to_bytes
from dgn.errors import RunFailed, UserError, first_line
from dgn.files import write_array
from dgn.nets.model import LatentGroup
from dgn.reading import file_size, read_arrays, read_json
from dgn.run_folder import RunFolder

LARGEST_LATENT = 1e4  # latents are standard normal under the prior, and traversals go to a few hundred


class Exported(NamedTuple):
    """A folder that `dgn export` wrote."""

    folder: Path
    about: dict[str, Any]  # its export.json

    @property
    def run(self) -> Path:
        """The exported run's folder: as recorded, or the folder above. Raises UserError if neither holds a run."""
        for path in (Path(str(self.about.get("run", ""))), self.folder.parent):
            if RunFolder.is_run(path):
                return path
        raise UserError(f"{self.folder} was exported from {self.about.get('run')}, which is not there; the check needs "
                        "that run folder")


def open_exported(path: Path) -> Exported:
    """The export that holds the MindIR file `path`, or in the folder `path`. Raises UserError if there is none."""
    if not path.exists():
        raise UserError(f"there is no {path}; give the folder of an export, or its decoder.mindir")
    folder = path if path.is_dir() else path.parent
    command = "write one with `python -m dgn export RUN --mindir-version 1`"
    try:
        about = read_json(folder / "export.json", dict)
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} holds no export, or its export.json is damaged ({error}); {command}") from None
    if not (folder / "decoder.mindir").is_file():
        raise UserError(f"{folder} holds no decoder.mindir; {command}")
    return Exported(folder, about)


def holds_latents(data: Path, groups: Sequence[LatentGroup]) -> bool:
    """Whether a folder holds latents rather than images."""
    return (data / "latents.npz").is_file() or any((data / group.name).is_dir() for group in groups)


def read_latents(data: Path, groups: Sequence[LatentGroup]) -> tuple[np.ndarray, ...]:
    """Latents (n, d) float32 of each group, from a latents.npz of `dgn infer`, or from folders named after the groups,
    with .npy and .bin files of float32, in the order of the program.

    Raises UserError, naming the file, if a value is not finite or no latent, or if type or size do not fit the model;
    also if the groups have different samples.
    """
    latents, names = [], []
    for group in groups:
        stored = list(_stored(data, group.name))
        if not stored:
            raise UserError(f"{data} holds no latents of {group.name} (latents.npz, or files in {group.name}/)")
        latents.append(np.concatenate([_checked(values, file, group) for file, values in stored]))
        names.append([name for file, values in stored for name in _names(file, values, group)])
    if len({len(z) for z in latents}) > 1:
        counts = " and ".join(f"{len(z)} of {group.name}" for z, group in zip(latents, groups))
        raise UserError(f"{data} holds {counts}")
    for first, other in zip(names[0], names[-1]):
        if first != other:
            raise UserError(f"{data} holds {first} of {groups[0].name} in the place of {other} of {groups[-1].name}; "
                            "both must have the same samples")
    return tuple(latents)


def natural_key(name: str) -> str:
    """Sort key for natural order (x_2 before x_10). NaturalKey in files.cc of the program is the same function."""
    return re.sub("0*([0-9]*)", lambda number: f"0{chr(len(number[1]))}{number[1]}" if number[0] else "", name)


def _names(file: Path, values: np.ndarray, group: LatentGroup) -> list[str]:
    """Names of the samples of a file, as the program has them."""
    count = values.size // group.shape[0]
    if values.shape == group.shape or (file.suffix == ".bin" and count == 1):
        return [file.stem]
    return [f"{file.stem}_{k}" for k in range(count)]


def _stored(data: Path, name: str) -> Iterator[tuple[Path, np.ndarray]]:
    """Each file with latents of a group, in the order of the program, and its array as stored."""
    packed = data / "latents.npz"
    files = [packed] if packed.is_file() else sorted(
        (file for file in (data / name).glob("[!.]*") if file.suffix in (".npy", ".bin") and not file.is_dir()),
        key=lambda file: (natural_key(file.stem), file.name))
    for file in files:
        try:
            file_size(file)
            values: Any = np.frombuffer(file.read_bytes(), "<f4") if file.suffix == ".bin" else read_arrays(file)
            values = values.get(name) if file.suffix == ".npz" else values
        except (OSError, ValueError) as error:
            raise UserError(f"cannot read the latents {name} in {file}: {first_line(error)}") from None
        if values is not None:
            yield file, values


def _checked(values: np.ndarray, file: Path, group: LatentGroup) -> np.ndarray:
    """The array as latents (n, d). Raises UserError if this is impossible."""
    what = f"the latents {group.name} in {file}"
    if values.dtype != np.float32:
        raise UserError(f"{what} are {values.dtype}; save them as float32: array.astype(numpy.float32)")
    if values.size == 0 or values.size % group.shape[0]:
        raise UserError(f"{what} are {values.size} values, so they are not of {group.shape[0]} dimensions as this "
                        "model's")
    if not np.isfinite(values).all():
        raise UserError(f"{what} hold {int((~np.isfinite(values)).sum())} values that are not finite numbers"
                        + _float64_hint(file))
    if np.abs(values).max() > LARGEST_LATENT:
        raise UserError(f"{what} reach {np.abs(values).max():.3g}; latents are standard normal under the prior"
                        + _float64_hint(file))
    return values.reshape(-1, *group.shape)


def _float64_hint(file: Path) -> str:
    return "; was the file written as float64? A .bin file must hold float32" if file.suffix == ".bin" else ""


def write_samples(folder: Path, values: np.ndarray) -> None:
    """Writes samples as one file for the program."""
    write_array(folder / "samples.npy", np.ascontiguousarray(values, np.float32))


def read_samples(folder: Path) -> np.ndarray:
    """Reads the samples that write_samples wrote. Raises RunFailed if they are missing."""
    return _read(folder / "samples.npy")


def read_written(folder: Path, names: Sequence[str]) -> np.ndarray:
    """The arrays that the program wrote, one for each name, stacked. Raises RunFailed if one is missing."""
    try:
        return np.stack([_read(folder / f"{name}.npy") for name in names])
    except ValueError as error:  # none, or of several shapes
        raise RunFailed(f"{folder} does not hold what the program should have written: {error}") from None


def _read(path: Path) -> np.ndarray:
    try:
        return read_arrays(path)
    except (OSError, ValueError) as error:
        raise RunFailed(f"cannot read {path}, which prepare or the program should have written: {error}") from None


def sample_names(written: Path) -> list[str]:
    """Names of the samples that the program wrote to a folder, samples_0, samples_1 ..., in the order of the input.

    Raises RunFailed if there are none.
    """
    numbers = sorted(int(file.stem.removeprefix("samples_")) for file in written.glob("samples_*.npy"))
    if not numbers:
        raise RunFailed(f"{written} holds nothing that the program wrote")
    return [f"samples_{number}" for number in numbers]


def pairs_written(folder: Path) -> tuple[list[str], list[list[int]]]:
    """Names of the images that the job recombine wrote to a folder, and for each image the indices of the appearance
    donor and the geometry donor. Raises RunFailed if there are none."""
    names = sorted(file.stem for file in folder.glob("samples_*__samples_*.npy"))
    if not names:
        raise RunFailed(f"{folder} holds nothing that the program wrote")
    pairs = (map(int, name.removeprefix("samples_").split("__samples_")) for name in names)
    return names, [list(donors) for donors in zip(*pairs)]


def dimensions_written(folder: Path) -> list[int]:
    """The dimensions that the job traverse selected. Raises RunFailed if it has not written them."""
    try:
        return [int(word) for word in (folder / "dimensions.txt").read_text(encoding="utf-8").split()]
    except (OSError, ValueError) as error:
        raise RunFailed(f"cannot read the dimensions that the program traversed: {error}") from None


def grey_levels(folder: Path, names: Sequence[str], images: np.ndarray) -> int:
    """The largest difference, in levels of 0 to 255, between the program's PNG files and images (n, C, H, W) or clips
    (n, F, C, H, W) in [0, 1]. Raises RunFailed if a file cannot be read."""
    largest = 0
    for name, image in zip(names, images):
        expected = to_bytes(strip(image) if image.ndim == 4 else image).astype(np.int32).transpose(1, 2, 0)
        stored = cv2.imread(str(folder / f"{name}.png"), cv2.IMREAD_UNCHANGED)
        if stored is None:
            raise RunFailed(f"{folder / name}.png cannot be read")
        stored = stored[..., ::-1] if stored.ndim == 3 else stored[..., None]
        largest = max(largest, int(np.abs(stored.astype(np.int32) - expected).max()))
    return largest
