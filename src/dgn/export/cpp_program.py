"""Writes the inputs of the C++ program of ascend310_infer, and compares its results with Python."""

from __future__ import annotations

import functools
import logging
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dgn.errors import RunFailed, UserError
from dgn.evaluation.reconstruction import reconstruction_errors
from dgn.export import cells, cpp_files
from dgn.export.cpp_files import Exported
from dgn.figures.bases import sweep
from dgn.figures.draw import draw_overview
from dgn.files import check_outside, disk_errors, new_folder, sha256, write_json
from dgn.inference import unseen
from dgn.inference.latents import given_latents
from dgn.inference.unseen import ChainSettings
from dgn.nets.model import Arrays, Decode, LatentGroup, Model, MotionLatents, decode
from dgn.run import Run, images, open_run
from dgn.training import checkpoint

log = logging.getLogger(__name__)

UNFINISHED = ".dgn_unfinished"  # file in a work folder until its results are compared
_WRITTEN = re.compile(r"images|start|encode|latents|first_call|reconstruct|recombine|traverse_z\w*|check\.json|"
                      r"overview\.png|\.dgn_unfinished")  # all that a job writes


class Limits(NamedTuple):
    """Largest accepted differences between the program and Python."""

    value: float  # for decoded values, relative to the largest value if that is above 1
    latent: float | None  # for the median sample's latents after the first call of inference; None: not checked


# By the precision in which a device multiplies. Single latents are checked only after the first call: for a model with
# a small sigma, float32 rounding separated chains, from 4e-6 after 5 steps to 0.3 after 300, into modes that explain
# the images equally well. The limit for float16 comes from an emulation and was never measured on a device: operands
# and results of every dense and deconvolution layer were rounded to 16 bits, as in Ascend's matrix unit. For the same
# model (Table 5, 32x32) images then differed by 1.5e-3 and displacements by 5e-4 of the largest value; latents differed
# by 0.7 after 5 steps, with images no worse (MSRE 1.52 instead of 1.58).
LIMITS = {"float32": Limits(1e-5, 1e-3), "float16": Limits(1e-2, None)}
ERROR_RATIO = 1.5  # largest MSRE of the program's latents after all steps, relative to Python; chosen, not derived


def exported_run(exported: Exported) -> Run:
    """The exported run, on the device in use. Raises UserError if it is missing, or if its checkpoint differs."""
    run = open_run(exported.run)
    saved = cells.saved_checkpoint(run)
    if exported.about.get("checkpoint") != saved.name:
        raise UserError(f"{exported.folder} was exported from {exported.about.get('checkpoint')} of {exported.run}, "
                        f"whose newest checkpoint is now {saved.name}; export it again")
    digest = sha256(saved / checkpoint.MANIFEST)
    if exported.about.get("manifest", digest) != digest:
        raise UserError(f"{saved} has changed since {exported.folder} was exported; export it again")
    return run


def prepare(exported: Exported, data: Path, output: Path) -> str:
    """Writes the images or latents in `data` as arrays for the program into the new folder `output`; see _work_folder.

    data: a folder of images, which are cropped according to the run's config, or of latents (see
    cpp_files.read_latents). Returns what was written, as text. Raises UserError if the data do not fit the model.
    """
    run = exported_run(exported)
    _check_files(exported)
    groups = run.model.groups
    if run.model.latents_type is MotionLatents:
        raise UserError(f"{run.folder.path} is a plain model of clips, whose latents (z_content, z_motion) dgn_infer "
                        "does not know; run its decoder.mindir with MindSpore Lite's own interface (docs/edge.md)")
    if not data.exists():
        raise UserError(f"there is no {data}")
    if cpp_files.holds_latents(data, groups):
        latents = cpp_files.read_latents(data, groups)
        folder = _work_folder(output)
        for group, z in zip(groups, latents):
            cpp_files.write_samples(folder / "latents" / group.name, z)
        return f"latents of {len(latents[0])} samples"
    if "inference_lite" not in exported.about:
        raise UserError(f"{data} holds no latents, and latents of images cannot be inferred with {exported.folder}, "
                        "which has no inference_lite.mindir (there is none of models of clips): infer them with "
                        "`python -m dgn infer`, and give its output")
    check_outside(output, str(data))
    source = images(data, like=run)
    given = given_latents(groups, source)
    folder = _work_folder(output)
    cpp_files.write_samples(folder / "images", source.read(source.indices()))
    for group in groups if given else ():
        start = given.get(group.name, np.zeros((len(source), *group.shape), np.float32))
        cpp_files.write_samples(folder / "start" / group.name, start)
    return f"{len(source)} images"


def _check_files(exported: Exported) -> None:
    """Warns of each file that is not the exported one: damaged, or converted by converter_lite."""
    for entry in exported.about.values():
        name = str(entry.get("file")) if isinstance(entry, dict) and "sha256" in entry else ""
        path = exported.folder / Path(name).name
        with disk_errors(path, "read"):
            if path.is_file() and sha256(path) != entry["sha256"]:
                log.warning("%s is not the file that was exported; unless converter_lite wrote it, export it again",
                            path)


def _work_folder(output: Path) -> Path:
    """A new folder for the program's files. Files of an unfinished earlier job are removed, unless the folder holds
    anything else (or a link)."""
    with disk_errors(output, "replace"):
        left = list(output.iterdir()) if (output / UNFINISHED).is_file() and not output.is_symlink() else []
        if all(_WRITTEN.fullmatch(path.name) and not path.is_symlink() for path in left):
            for path in sorted(left, key=lambda path: path.name == UNFINISHED):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    folder = new_folder(output)
    (folder / UNFINISHED).touch()
    return folder


def check(exported: Exported, output: Path, descent_steps: int = 300, gamma: float = 3.0) -> dict[str, Any]:
    """Compares the program's results in the work folder `output` with Python's; writes check.json and overview.png.

    descent_steps: steps without noise that the program ran. gamma: range of its traversals.
    Returns the content of check.json: the number of samples; the largest relative difference of each result; the
    largest difference of PNG files in grey levels; for images also differences of the latents, and reconstruction
    errors. Raises RunFailed if a result is missing.
    """
    run = exported_run(exported)
    groups = run.model.groups
    model = cells.make_loaded_model(cells.full_precision(run.config), cells.saved_checkpoint(run))
    names = cpp_files.sample_names(output / "reconstruct" / "image")
    inferred = (output / "images").is_dir()
    latents = tuple(cpp_files.read_written(output / "latents" / group.name, names) if inferred else
                    cpp_files.read_samples(output / "latents" / group.name) for group in groups)
    decoded = decode(model, *latents)
    errors = {part: difference(cpp_files.read_written(output / "reconstruct" / part, names), expected)
              for part, expected in zip(decoded._fields, decoded) if expected is not None}
    errors.update(_traversal_errors(model, latents, output, gamma))
    if (output / "encode").is_dir():
        errors.update(_encoder_errors(run, output, names))
    levels = cpp_files.grey_levels(output / "reconstruct" / "image", names, decoded.image)
    if len(groups) == 2:
        folder = output / "recombine" / "image"
        pairs, (appearance, geometry) = cpp_files.pairs_written(folder)
        expected = decode(model, latents[0][appearance], latents[1][geometry]).image
        errors["recombination"] = difference(cpp_files.read_written(folder, pairs), expected)
        levels = max(levels, cpp_files.grey_levels(folder, pairs, expected))
    result: dict[str, Any] = {"samples": len(names), "difference": errors, "grey_levels": levels}
    samples = cpp_files.read_samples(output / "images") if inferred else decoded.image
    if inferred:
        first = [cpp_files.read_written(output / "first_call" / group.name, names) for group in groups]
        once, by_python = (_infer(exported, run, model, output, steps) for steps in (1, descent_steps))
        result["latents"] = {"first_call": _median_difference(first, once),
                             "all_calls": _median_difference(latents, by_python)}
        result["reconstruction"] = reconstruction_errors(samples, decoded.image)
        result["reconstruction_by_python"] = reconstruction_errors(samples, decode(model, *by_python).image)
    draw_overview(output / "overview.png", samples, decoded, names, "Decoded")
    write_json(output / "check.json", result)
    (output / UNFINISHED).unlink(missing_ok=True)
    return result


def judge(result: dict[str, Any], precision: str, output: Path) -> None:
    """Raises RunFailed, which names the differences, if the result of `check` exceeds the limits for the precision
    (float32, float16) in which the program's device multiplies."""
    limits = LIMITS[precision]
    wrong = [f"{part} by {error:.1e} (allowed {limits.value:g})" for part, error in result["difference"].items()
             if not error <= limits.value]
    if result["grey_levels"] > 1 + 255 * limits.value:  # 1: a value between two levels may be rounded to either
        wrong.append(f"PNG files by {result['grey_levels']} grey levels")
    if "latents" in result:
        msre, by_python = result["reconstruction"]["msre"], result["reconstruction_by_python"]["msre"]
        once = result["latents"]["first_call"]
        if limits.latent is not None and not once <= limits.latent:
            wrong.append(f"inferred latents by {once:.1e} after the first call (allowed {limits.latent:g})")
        if not msre <= ERROR_RATIO * by_python:
            wrong.append(f"their images' MSRE, {msre:.3g} against {by_python:.3g} (allowed {ERROR_RATIO:g} times as "
                         "much)")
    if wrong:
        raise RunFailed(f"the program differs from Python: {', '.join(wrong)}; see {output / 'check.json'}")


def traversal(decoder: Decode, groups: Sequence[LatentGroup], moving: int, dimensions: Sequence[int],
              gamma: float, held: Sequence[np.ndarray]) -> np.ndarray:
    """Images (rows, positions, ...) that the program's job traverse should write: group `moving` along each of the
    dimensions from -gamma to gamma, the others at `held`, (d,) for each group."""
    z = np.concatenate([sweep(k, groups[moving].shape[0], gamma) for k in dimensions])
    latents = [z if g == moving else held[g][None].repeat(len(z), 0) for g in range(len(groups))]
    images = decoder(*latents).image
    return images.reshape(len(dimensions), -1, *images.shape[1:])


def difference(values: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference, relative to the largest value if that is above 1 (displacements are in pixels)."""
    if values.shape != expected.shape:
        raise RunFailed(f"the program gives arrays of {values.shape}, Python of {expected.shape}")
    return float(np.abs(values - expected).max()) / max(float(np.abs(expected).max()), 1.0)


def _traversal_errors(model: Model, latents: Arrays, output: Path, gamma: float) -> dict[str, float]:
    """Difference of each group's traversal, the other group held at the first sample's latents."""
    errors = {}
    for g, group in enumerate(model.groups):
        folder = output / f"traverse_{group.name}"
        dimensions, held = cpp_files.dimensions_written(folder), [z[0] for z in latents]
        expected = traversal(functools.partial(decode, model), model.groups, g, dimensions, gamma, held)
        errors[f"traversal of {group.name}"] = difference(cpp_files.read_written(folder, ["traversal"])[0], expected)
    return errors


def _encoder_errors(run: Run, output: Path, names: Sequence[str]) -> dict[str, float]:
    """Difference of the latents of the work folder's images by the encoder."""
    if run.chain_encoder is None:
        raise UserError(f"{output} holds results of an encoder, and {run.folder.path} has none now; export it again")
    expected = unseen.encode(run.chain_encoder, run.model.groups, cpp_files.read_samples(output / "images"))
    return {f"encoder's {group.name}": difference(cpp_files.read_written(output / "encode" / group.name, names), z)
            for group, z in zip(run.model.groups, expected)}


def _infer(exported: Exported, run: Run, model: Model, output: Path, steps: int) -> Arrays:
    """Latents of the work folder's images by Python's sampler, after `steps` steps without noise, in whole calls."""
    about = exported.about["inference_lite"]
    sampler = cells.load_sampler(run.config, model, cells.saved_checkpoint(run), about["steps"])
    given = {group.name: cpp_files.read_samples(output / "start" / group.name)
             for group in model.groups if not group.sampled}
    chains = ChainSettings(0, about["sigma"], seed=0, descent_steps=steps)
    return unseen.infer(sampler, cpp_files.read_samples(output / "images"), chains, given=given)


def _median_difference(latents: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    """Largest difference within a sample's latents (n, d) of each group; the median over samples."""
    return float(np.median(np.abs(np.concatenate(latents, 1) - np.concatenate(expected, 1)).max(1)))
