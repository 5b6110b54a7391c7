"""Before and after the C++ program of ascend310_infer (scripts/run_infer_310.sh calls both).

  dgn infer310 prepare MINDIR DATA OUT    arrays for the program, in the new folder OUT
  dgn infer310 check MINDIR OUT           what the program wrote beside what Python gives; OUT/check.json and OUT/overview.png

MINDIR is the folder that `dgn export` wrote, or its decoder.mindir. DATA is a folder of images, cut as the run's config says; or of
latents: what `dgn infer` wrote (latents.npz), or subfolders z_app and z_geo (a plain model: z) with .npy or .bin files of float32.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Dict

import numpy as np

from dgn import runtime
from dgn.cli import add_device, natural
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
    check.add_argument("--tolerance", type=float, default=1e-5, help="largest difference of a decoded value (default %(default)s)")
    check.add_argument("--latents-tolerance", type=float, default=1e-3, help="and of an inferred latent (default %(default)s)")
    check.add_argument("--settle", type=natural, default=300, help="steps without noise with which the program inferred (default %(default)s)")
    check.add_argument("--gamma", type=float, default=3.0, help="reach of the traversals (default %(default)s)")
    for sub in (prepare, check):
        add_device(sub)


def run(args: argparse.Namespace) -> int:
    device = runtime.start(args.device)
    from dgn import build
    from dgn.export import infer310

    exported = infer310.open_exported(Path(args.mindir))
    trained = build.load_run(exported.run, device)
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
    from dgn.evaluation import reconstruction
    from dgn.export import cells, infer310
    from dgn.files import write_json
    from dgn.nets.model import decode

    output, groups = Path(args.output), trained.model.groups
    model = cells.live(cells.full_precision(trained.config), trained.checkpoint, device)
    names = infer310.sample_names(output / "reconstruct" / "image")
    if not names:
        raise RunFailed(f"{output / 'reconstruct'} holds nothing that the program wrote")
    inferred = (output / "images").is_dir()
    latents = tuple(infer310.read_written(output / "latents" / group.name, names) if inferred else
                    np.load(output / "latents" / group.name / "samples.npy") for group in groups)
    decoded = decode(model, *latents)
    errors: Dict[str, Any] = {}
    for part, wanted in zip(decoded._fields, decoded):
        if wanted is not None:
            errors[part] = infer310.difference(infer310.read_written(output / "reconstruct" / part, names), wanted)
    levels = infer310.grey_levels(output / "reconstruct" / "image", names, decoded.image)

    def run_model(*z: np.ndarray):
        return decode(model, *z)

    for g, group in enumerate(groups):
        folder = output / f"traverse_{group.name}"
        dimensions = [int(word) for word in (folder / "dimensions.txt").read_text().split()]
        wanted = infer310.traversal(run_model, groups, g, dimensions, args.gamma, [z[0] for z in latents])
        errors[f"traversal of {group.name}"] = infer310.difference(np.load(folder / "traversal.npy"), wanted)
    if len(groups) == 2:
        pairs = sorted(file.stem for file in (output / "recombine" / "image").glob("*.npy"))
        a, b = (np.array([names.index(name) for name in side]) for side in zip(*(pair.split("__") for pair in pairs)))
        wanted = run_model(latents[0][a], latents[1][b]).image
        errors["recombination"] = infer310.difference(infer310.read_written(output / "recombine" / "image", pairs), wanted)
        levels = max(levels, infer310.grey_levels(output / "recombine" / "image", pairs, wanted))
    told: Dict[str, Any] = {"samples": len(names), "difference": errors, "grey_levels": levels}
    if inferred:
        images = np.load(output / "images" / "samples.npy")
        told["latents"] = latents_difference(exported, trained, model, images, latents, output, args.settle)
        told["reconstruction"] = reconstruction.compute(images, decoded.image)
    overview(output, images if inferred else decoded.image, decoded, names)
    write_json(output / "check.json", told)
    report(told, output)
    wrong = [part for part, error in errors.items() if not error <= args.tolerance]
    if wrong or levels > 1 or not told.get("latents", 0.0) <= args.latents_tolerance:
        raise RunFailed(f"the program differs from Python by more than {args.tolerance:g} ({', '.join(wrong) or 'pictures or latents'}); "
                        f"see {output / 'check.json'}")
    return 0


def latents_difference(exported, trained, model, images: np.ndarray, latents, output: Path, settle: int) -> float:
    """Largest difference of inferred latents to those of the program's own sampler, after as many steps without noise."""
    from dgn import build
    from dgn.export import infer310
    from dgn.inference import unseen

    about, config = exported.about["inference_lite"], trained.config
    sampler = build.make_sampler(build.make_energy(model, config), config, about["steps"])
    given = {group.name: np.load(output / "start" / group.name / "samples.npy") for group in model.groups if not group.sampled}
    own = unseen.infer(sampler, images, 0, about["sigma"], 0, given=given, settle=settle)
    return max(infer310.difference(found, wanted) for found, wanted in zip(latents, own))


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
        print(f"  {'inferred latents':24} {told['latents']:.1e}")
        print(f"MSRE {told['reconstruction']['msre']:.1f}, PSNR {told['reconstruction']['psnr']:.1f} dB of the images")
    print(f"picture           {output / 'overview.png'}")
