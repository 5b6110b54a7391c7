"""Evaluation of a run: all measures that need no labels, and on generated faces the exchange of known factors."""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple

import numpy as np

from dgn import device
from dgn.config import Config, Data
from dgn.data.open import generated_faces
from dgn.data.source import Source, Subset
from dgn.evaluation import exchange, report
from dgn.run import Run

TRAINING_SAMPLES = 1000  # at most
TRAINING_VALUES = 2 ** 26  # and values in them: the images' spectra are held in memory
PROBED = ("yaw", "pitch", "roll", "skin", "hair_colour", "background_light", "light")  # factors read by a linear probe
PROBE_FACES = 600


def evaluate(run: Run, images: Optional[Source] = None, steps: Optional[int] = None,
             use_encoder: bool = True) -> Dict[str, Any]:
    """Reconstruction of training images from their chains and of unseen images after inference; the appearance's energy near
    the Nyquist frequency; size and smoothness of the displacement; for generated faces the exchange of known factors.

    images: unseen images in place of the run's held-out ones; steps: Langevin steps for an unseen image (default:
    evaluation.steps); use_encoder: False infers by Langevin dynamics although the run has an encoder.
    Measures of the run's own images by its own inference are also written to metrics.json of the run folder.
    """
    config, train = run.config, run.sources.train
    count = min(len(run.bank), TRAINING_SAMPLES, max(TRAINING_VALUES // int(np.prod(train.shape)), 1))
    training = np.arange(count)
    held_out = run.sources.held_out if images is None else images
    unseen: Optional[report.Sample] = None
    if held_out is not None and len(held_out):
        few = Subset(held_out, np.arange(min(len(held_out), config.evaluation.images)))
        latents = run.infer(few, steps, use_encoder=use_encoder)
        unseen = report.Sample(few.read(np.arange(len(few))), latents, few.mask(np.arange(len(few))))
    trained = report.Sample(train.read(training), run.bank.read(training), train.mask(training))
    result = report.compute(run.decode, trained, unseen)
    if images is not None or not use_encoder:
        return result
    if has_known_exchange(config):
        result["exchange"] = exchange_of_factors(run, training)
    run.folder.add_results(**result, checkpoint=run.checkpoint and run.checkpoint.name, versions=device.versions())
    return result


def has_known_exchange(config: Config) -> bool:
    """Whether the exchange measure applies: neighbouring samples are different people, and every factor varies, only among
    generated faces of the random population."""
    data = config.data
    return data.path is None and data.population == "random" and config.model.kind == "deformable" and not data.frames


def known_faces(data: Data, names: Tuple[str, ...], count: int, seed: int) -> Tuple[np.ndarray, np.ndarray]:
    """Generated faces of other people (n, C, H, W), and their named factors (n, k)."""
    source, everyone = generated_faces(data, count, seed), np.arange(count)
    return source.read(everyone), source.factor_table(everyone, names)


def exchange_of_factors(run: Run, indices: np.ndarray) -> Dict[str, Any]:
    """Which donor's factors a decoded image with exchanged geometry shows, for training faces."""
    data = run.config.data
    faces = generated_faces(data, len(run.bank))
    predict = exchange.probe(*known_faces(data, PROBED, PROBE_FACES, data.seed + 1))
    return exchange.compute(run.decode, predict, PROBED, faces.factor_table(indices, PROBED), *run.bank.read(indices))


def summary(result: Dict[str, Any]) -> str:
    """The measures as lines of text."""
    lines = [f"{result['train']['images']} training images  MSRE {result['train']['msre']:.1f}, PSNR {result['train']['psnr']:.1f} dB"]
    if "unseen" in result:
        lines.append(f"unseen images     MSRE {result['unseen']['msre']:.1f}, PSNR {result['unseen']['psnr']:.1f} dB")
    if "geometry" in result:
        geometry = result["geometry"]
        lines.append(f"appearance        {result['appearance']['nyquist_ratio']:.2f} times the images' energy near the Nyquist "
                     "frequency (above 2: a checkerboard)")
        lines.append(f"displacement      {geometry['displacement_rms']:.2f} pixels rms, neighbours differ by "
                     f"{geometry['stretch_rms']:.2f}, {100 * geometry['folded']:.1f}% folded")
    for name, donors in result.get("exchange", {}).items():
        lines.append(f"{name:17} follows the geometry donor {donors['geometry_donor']:+.2f}, the appearance donor "
                     f"{donors['appearance_donor']:+.2f} (own picture {donors['own']:+.2f})")
    return "\n".join(lines)
