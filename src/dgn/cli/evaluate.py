"""Measure a run.

  dgn evaluate runs/demo
  dgn evaluate runs/demo --images photos/ --steps 300

Reconstruction (MSRE: sum of squared errors of a [0, 1] image; PSNR in dB) of the training images from their chains and
of unseen images after Langevin inference; the appearance's energy near the Nyquist frequency relative to the images'
(a checkerboard is far above 1); size and smoothness of the displacement. Those of the run's own images are written to
metrics.json in the run folder.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Dict, Optional, Sequence, Tuple

import numpy as np

from dgn import config as cfg
from dgn import runtime
from dgn.cli import add_device, positive

MEASURED = 1000  # training samples, at most
MEASURED_VALUES = 2 ** 26  # and values in them: the spectra of the images are held in memory


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", help="output folder of a training")
    parser.add_argument("--images", metavar="PATH", help="other unseen images than the run's held-out ones; nothing is written")
    parser.add_argument("--format", choices=cfg.LAYOUTS, help="how the clips of --images are stored (default: data.format of the run)")
    parser.add_argument("--steps", type=positive, help="Langevin steps for an unseen image (default: the config's)")
    parser.add_argument("--by-langevin", action="store_true", help="of a VAE: infer unseen images by Langevin dynamics, not by its encoder")
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    device = runtime.start(args.device)
    from dgn import build

    trained = build.load_run(Path(args.run_folder), device)
    result = evaluate(trained, args.images, args.steps, args.by_langevin, args.format)
    print(f"result: {json.dumps(result)} ckpt={trained.checkpoint}")
    return 0


def evaluate(trained, images: Optional[str] = None, steps: Optional[int] = None, by_langevin: bool = False,
             layout: Optional[str] = None) -> Dict[str, Any]:
    """Computes all measures of a loaded run and returns them; those of the run's own images are written to metrics.json.

    by_langevin: unseen images are inferred by Langevin dynamics although the run has an encoder; nothing is written.
    layout: how the clips at `images` are stored.
    """
    from dgn import build
    from dgn.evaluation import report

    config, sources = trained.config, trained.open_sources()
    known = np.arange(min(len(trained.bank), MEASURED, max(MEASURED_VALUES // int(np.prod(sources.train.shape)), 1)))
    held_out = build.open_images(cfg.stored_as(config.data, layout), images) if images else sources.held_out
    new, new_latents = None, None
    if held_out is not None and len(held_out):
        new = held_out.read(np.arange(min(len(held_out), config.evaluation.images)))
        given = build.given_latents(trained.model, held_out)
        new_latents = trained.infer(new, steps, {name: z[:len(new)] for name, z in given.items()}, by_langevin=by_langevin)
    result = report.compute(trained.decode, sources.train.read(known), trained.bank.read(known), new, new_latents)
    if images or by_langevin:  # the run's own measures stay as they are
        return {**result, "images": images}
    if exchangeable(config):
        result["exchange"] = exchanged(trained, known)
    trained.folder.add_results(**result, checkpoint=trained.checkpoint.name, versions=runtime.versions())
    return result


PROBED = ("yaw", "pitch", "roll", "skin", "hair_colour", "background_light", "light")  # factors that a linear probe reads
PROBE_FACES = 600


def exchangeable(config: cfg.Config) -> bool:
    """Whether faces can be given each other's geometry, and what then shows be told: two neighbours are two people, and every
    factor varies, only among generated faces of the random population."""
    data = config.data
    return data.path is None and data.population == "random" and config.model.kind == "deformable" and not data.frames


def known_faces(data: cfg.Data, names: Sequence[str], faces: int, seed: int) -> Tuple[np.ndarray, np.ndarray]:
    """Generated faces as the config has them, of other people (n, C, H, W), and their named factors (n, k)."""
    from dgn import build

    source, everyone = build.make_faces(data, faces, seed), np.arange(faces)
    return source.read(everyone), source.factor_table(everyone, names)


def exchanged(trained, known: np.ndarray) -> Dict[str, Any]:
    """For generated faces: which donor's factors a picture with exchanged geometry shows."""
    from dgn import build
    from dgn.evaluation import exchange

    faces = build.make_faces(trained.config.data, len(trained.bank))
    data = trained.config.data
    predict = exchange.probe(*known_faces(data, PROBED, PROBE_FACES, data.seed + 1))
    return exchange.compute(trained.decode, predict, PROBED, faces.factor_table(known, PROBED), *trained.bank.read(known))


def summary(result: Dict[str, Any]) -> str:
    """The numbers for a person."""
    lines = [f"{result['train']['images']} training images  MSRE {result['train']['msre']:.1f}, PSNR {result['train']['psnr']:.1f} dB"]
    if "unseen" in result:
        lines.append(f"unseen images     MSRE {result['unseen']['msre']:.1f}, PSNR {result['unseen']['psnr']:.1f} dB")
    if "geometry" in result:
        lines.append(f"appearance        {result['appearance']['nyquist_ratio']:.2f} times the images' energy near the Nyquist frequency "
                     "(above 2: a checkerboard)")
        geometry = result["geometry"]
        lines.append(f"displacement      {geometry['displacement_rms']:.2f} pixels rms, neighbours differ by {geometry['stretch_rms']:.2f}, "
                     f"{100 * geometry['folded']:.1f}% folded")
    for name, donors in result.get("exchange", {}).items():
        lines.append(f"{name:17} follows the geometry donor {donors['geometry_donor']:+.2f}, the appearance donor "
                     f"{donors['appearance_donor']:+.2f} (own picture {donors['own']:+.2f})")
    return "\n".join(lines)
