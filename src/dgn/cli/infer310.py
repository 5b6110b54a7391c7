"""Before and after the C++ program of ascend310_infer (scripts/run_infer_310.sh calls both).

  dgn infer310 prepare MINDIR DATA OUT    arrays for the program, in the new folder OUT
  dgn infer310 check MINDIR OUT           what the program wrote beside what Python gives; OUT/check.json and OUT/overview.png

MINDIR is the folder that `dgn export` wrote, or its decoder.mindir. DATA is a folder of images, cut as the run's config says; or of
latents: what `dgn infer` wrote (latents.npz), or subfolders z_app and z_geo (a plain model: z) with .npy or .bin files of float32.
"""

from __future__ import annotations

import argparse
import functools
from pathlib import Path
from typing import Any, Dict, Tuple

import numpy as np

from dgn import device as runtime
from dgn.cli import above_zero, add_device, natural
from dgn.errors import RunFailed, UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    steps = parser.add_subparsers(dest="step", required=True)
    prepare = steps.add_parser("prepare", help="arrays for the program")
    prepare.add_argument("mindir", metavar="MINDIR")
    prepare.add_argument("data", metavar="DATA")
    prepare.add_argument("output", metavar="OUT")
    check = steps.add_parser("check", help="what the program wrote beside what Python gives")
    check.add_argument("mindir", metavar="MINDIR")
    check.add_argument("output", metavar="OUT")
    check.add_argument("--precision", choices=["float32", "float16"], default="float32", help="in which the program's device multiplies: "
                       "decides how far it may be from Python (default %(default)s)")
    check.add_argument("--settle", type=natural, default=300, help="steps without noise with which the program inferred (default %(default)s)")
    check.add_argument("--gamma", type=above_zero, default=3.0, help="reach of the traversals (default %(default)s)")
    for sub in (prepare, check):
        add_device(sub)


def run(args: argparse.Namespace) -> int:
    device = runtime.start(args.device)
    from dgn import build
    from dgn.export import infer310

    exported = infer310.open_exported(Path(args.mindir))
    trained = build.load_run(exported.run, device)
    if exported.about.get("checkpoint") != trained.checkpoint.name:
        raise UserError(f"{exported.folder} was exported from {exported.about.get('checkpoint')} of {exported.run}, which has gone on to "
                        f"{trained.checkpoint.name}; export it anew")
    return (prepare if args.step == "prepare" else check)(args, exported, trained, device)


def prepare(args: argparse.Namespace, exported, trained, device: str) -> int:
    """Images or latents as arrays in a new folder."""
    from dgn import build
    from dgn.export import infer310
    from dgn.files import new_folder

    groups, data = trained.model.groups, Path(args.data)
    if not data.exists():
        raise UserError(f"there is no {data}")
    if infer310.holds_latents(data, groups):
        latents = infer310.read_latents(data, groups)
        output = new_folder(Path(args.output))
        for group, z in zip(groups, latents):
            infer310.write_samples(output / "latents" / group.name, z)
        print(f"{len(latents[0])} samples' latents; written to {output}")
        return 0
    if "inference_lite" not in exported.about:
        raise UserError(f"{data} holds no latents, and latents of images cannot be inferred with {exported.folder}, which has no "
                        "inference_lite.mindir (of video models there is none): infer them with `python -m dgn infer`, and give its output")
    source = build.open_images(trained.config.data, args.data)
    given = build.given_latents(trained.model, source)
    output = new_folder(Path(args.output))
    infer310.write_samples(output / "images", source.read(np.arange(len(source))))
    for group in groups if given else ():
        infer310.write_samples(output / "start" / group.name, given.get(group.name, np.zeros((len(source), *group.shape), np.float32)))
    print(f"{len(source)} images; written to {output}")
    return 0


def check(args: argparse.Namespace, exported, trained, device: str) -> int:
    """The errors as a table and check.json. Raises RunFailed if one is too large."""
    from dgn.evaluation.reconstruction import reconstruction_errors
    from dgn.export import cells, infer310
    from dgn.files import write_json
    from dgn.nets.model import decode

    output, groups = Path(args.output), trained.model.groups
    model = cells.live(cells.full_precision(trained.config), trained.checkpoint, device)
    names = infer310.sample_names(output / "reconstruct" / "image")
    inferred = (output / "images").is_dir()
    latents = tuple(infer310.read_written(output / "latents" / group.name, names) if inferred else
                    infer310.read_samples(output / "latents" / group.name) for group in groups)
    decoded = decode(model, *latents)
    errors = {part: infer310.difference(infer310.read_written(output / "reconstruct" / part, names), wanted)
              for part, wanted in zip(decoded._fields, decoded) if wanted is not None}
    errors.update(traversal_errors(model, latents, output, args.gamma))
    levels = infer310.grey_levels(output / "reconstruct" / "image", names, decoded.image)
    if len(groups) == 2:
        folder = output / "recombine" / "image"
        pairs, (appearance, geometry) = infer310.pairs_written(folder)
        wanted = decode(model, latents[0][appearance], latents[1][geometry]).image
        errors["recombination"] = infer310.difference(infer310.read_written(folder, pairs), wanted)
        levels = max(levels, infer310.grey_levels(folder, pairs, wanted))
    told: Dict[str, Any] = {"samples": len(names), "difference": errors, "grey_levels": levels}
    if inferred:
        images = infer310.read_samples(output / "images")
        first = [infer310.read_written(output / "first_call" / group.name, names) for group in groups]
        once, own = (infer_again(exported, trained, model, images, output, steps) for steps in (1, args.settle))
        told["latents"] = {"first_call": median_difference(first, once), "all_calls": median_difference(latents, own)}
        told["reconstruction"] = reconstruction_errors(images, decoded.image)
        told["reconstruction_by_python"] = reconstruction_errors(images, decode(model, *own).image)
    overview(output, images if inferred else decoded.image, decoded, names)
    write_json(output / "check.json", told)
    report(told, output)
    judge(told, args.precision, output)
    return 0


def traversal_errors(model, latents, output: Path, reach: float) -> Dict[str, float]:
    """Difference of each group's traversal, the other group held at the first sample's latents."""
    from dgn.export import infer310
    from dgn.nets.model import decode

    errors = {}
    for g, group in enumerate(model.groups):
        folder = output / f"traverse_{group.name}"
        wanted = infer310.traversal(functools.partial(decode, model), model.groups, g, infer310.dimensions_written(folder), reach,
                                    [z[0] for z in latents])
        errors[f"traversal of {group.name}"] = infer310.difference(infer310.read_written(folder, ["traversal"])[0], wanted)
    return errors


def infer_again(exported, trained, model, images: np.ndarray, output: Path, settle: int) -> Tuple[np.ndarray, ...]:
    """Latents of the images by Python's own sampler, after as many steps without noise as the program made in whole calls."""
    from dgn import build
    from dgn.export import infer310
    from dgn.inference import unseen

    about, config = exported.about["inference_lite"], trained.config
    sampler = build.make_sampler(build.make_energy(model, config), config, about["steps"])
    given = {group.name: infer310.read_samples(output / "start" / group.name) for group in model.groups if not group.sampled}
    return unseen.infer(sampler, images, 0, about["sigma"], 0, given=given, settle=settle)


def median_difference(found, wanted) -> float:
    """Largest difference of a sample's latents, of the median sample. found, wanted: latents (n, d) of each group."""
    return float(np.median(np.abs(np.concatenate(found, 1) - np.concatenate(wanted, 1)).max(1)))


def judge(told: Dict[str, Any], precision: str, output: Path) -> None:
    """Raises RunFailed, naming what differs, if something differs by more than is allowed at that precision."""
    from dgn.export.infer310 import ERROR_RATIO, LIMITS

    limits = LIMITS[precision]
    wrong = [f"{part} by {error:.1e} (allowed {limits.value:g})" for part, error in told["difference"].items() if not error <= limits.value]
    if told["grey_levels"] > 1 + 255 * limits.value:  # 1: a value between two levels may be rounded to either
        wrong.append(f"PNG files by {told['grey_levels']} grey levels")
    if "latents" in told:
        found, own = told["reconstruction"]["msre"], told["reconstruction_by_python"]["msre"]
        once = told["latents"]["first_call"]
        if limits.latent is not None and not once <= limits.latent:
            wrong.append(f"inferred latents by {once:.1e} after the first call (allowed {limits.latent:g})")
        if not found <= ERROR_RATIO * own:
            wrong.append(f"their images' MSRE, {found:.3g} against {own:.3g} (allowed {ERROR_RATIO:g} times as much)")
    if wrong:
        raise RunFailed(f"the program differs from Python: {', '.join(wrong)}; see {output / 'check.json'}")


def overview(output: Path, samples: np.ndarray, decoded, names) -> None:
    """The first samples, with grids."""
    from dgn.figures import clips, pictures
    from dgn.nets.model import rows

    if samples.ndim == 5:
        clips.reconstruction(output / "overview.png", samples[:3], rows(decoded, slice(3)), names[:3], "Decoded clips")
    else:
        pictures.reconstruction(output / "overview.png", samples[:10], rows(decoded, slice(10)), "Decoded images")


def report(told: Dict[str, Any], output: Path) -> None:
    """The errors for the person."""
    print(f"{told['samples']} samples; largest difference of the program to Python:")
    for part, error in told["difference"].items():
        print(f"  {part:24} {error:.1e}")
    print(f"  {'PNG files':24} {told['grey_levels']} of 255 grey levels")
    if "latents" in told:
        once, all_calls = told["latents"].values()
        print(f"  {'inferred latents':24} {once:.1e} after the first call, {all_calls:.1e} after all (of the median sample)")
        print(f"MSRE {told['reconstruction']['msre']:.1f}, PSNR {told['reconstruction']['psnr']:.1f} dB of the images; "
              f"from Python's latents {told['reconstruction_by_python']['msre']:.1f}, {told['reconstruction_by_python']['psnr']:.1f} dB")
    print(f"picture           {output / 'overview.png'}")
