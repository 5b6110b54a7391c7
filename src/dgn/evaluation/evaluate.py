"""Evaluation of a run: all measures that need no labels, and for generated faces measures with known factors."""

from __future__ import annotations

import itertools
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np

from dgn.config import Config, Data
from dgn.data.face_paint import material_coordinates
from dgn.data.faces import FaceSource
from dgn.data.open import generated_faces
from dgn.data.source import Source
from dgn.errors import UserError, check_opened
from dgn.evaluation.chain_encoder import compare, table, unseen_samples
from dgn.evaluation.correspondence import endpoint_errors
from dgn.evaluation.exchange import Predict, exchange_correlations, probe
from dgn.evaluation.ratios import formatted
from dgn.evaluation.report import Sample, unlabelled_measures
from dgn.evaluation.uncertainty import clusters, plus_minus
from dgn.files import resolve_all
from dgn.provenance import origin
from dgn.run import Run
from dgn.training import checkpoint
from dgn.training.restore import training_files

log = logging.getLogger(__name__)

TRAINING_SAMPLES = 1000  # largest number of training samples that are measured
TRAINING_VALUES = 2 ** 26  # largest number of values in them, because spectra of the images are kept in memory
PROBED = ("yaw", "pitch", "roll", "skin", "hair_colour", "background_light", "light")  # factors that the probe predicts
PROBE_FACES = 600
DESCENT_STEPS = 100  # steps without noise before registration is measured


def evaluate(run: Run, images: Source | None = None, steps: int | None = None,
             use_encoder: bool = True) -> dict[str, Any]:
    """Measures a run and, with its own images and inference, writes the results to metrics.json of the run folder.

    run: a run on images or clips.
    images: unseen images instead of the run's held-out images, see unseen_samples; then nothing is written. If the
        training images are missing or have changed, their measures are omitted.
    steps: Langevin steps for unseen images (default: as in Run.infer).
    use_encoder: False infers by Langevin dynamics from the prior mean even if the run has an encoder; then nothing
        is written.
    Returns a dictionary:
        train: reconstruction errors of training samples, decoded from their chains, with standard errors.
        unseen: reconstruction errors of unseen samples after inference, with standard errors, and
            ChainSettings.recorded.
        appearance, geometry, canonical_frame: only for models with a warp; see report.
        exchange, exchange_unseen: only for generated faces: exchange of known factors among training faces, and among
            held-out faces; see exchange.
        encoder: only if `dgn encoder` initializes the chains: they are compared with chains from the prior mean; see
            chain_encoder.
        registration: only for generated faces: end-point errors of held-out faces after steps without noise; see
            correspondence.
    """
    check_opened(run)
    if images is not None and not isinstance(images, Source):
        raise UserError(f"images are {type(images).__name__}; dgn.images(path, like=run) opens the "
                        "images of a folder")
    started, config = time.monotonic(), run.config
    outdated = run.checkpoint is not None and is_outdated(run.checkpoint)
    if outdated:
        log.warning("%s was trained further since this Run was loaded; metrics.json is not written", run.folder.path)
    train, unseen = _training_sample(run, optional=images is not None), None
    source = unseen_samples(run, images)
    if source is not None:
        indices = source.indices()
        latents = run.infer(source, steps, use_encoder=use_encoder)
        unseen = Sample(source.read(indices), latents, source.mask(indices), clusters(source, indices))
    if images is not None:
        warn_of_training_images(run, images)
    result = unlabelled_measures(run.decode, train, unseen)
    if unseen is not None:
        result["unseen"].update(run.chain_settings(steps, use_encoder=use_encoder).recorded())
    if use_encoder and (compared := compare(run, source)):
        result["encoder"] = compared
    if images is not None or train is None or not use_encoder:
        return result
    if has_known_exchange(config):
        result.update(known_factor_measures(run, train, unseen))
    if outdated:
        return result
    run.folder.add_results(**result, checkpoint=run.checkpoint and run.checkpoint.name,
                           **origin(time.monotonic() - started))
    return result


def is_outdated(opened: Path) -> bool:
    """Whether there is a valid checkpoint beside this one that is newer."""
    newer = itertools.takewhile(lambda saved: saved != opened, checkpoint.all_checkpoints(opened.parent))
    return any(checkpoint.find_damage(saved) is None for saved in newer)


def warn_of_training_images(run: Run, images: Source) -> None:
    """Logs how many of the images the run was trained on, if that is known."""
    paths = images.paths(images.indices())
    try:
        known = training_files(run.config, run.folder.path) if paths else None
    except UserError:  # _training_sample says that the training images cannot be read
        return
    count = sum(path in known for path in resolve_all(paths)) if paths and known else 0
    if count:
        log.warning("%d of these %d images were trained on: the errors of unseen images would be larger", count,
                    len(images))


def _training_sample(run: Run, optional: bool) -> Sample | None:
    """The first training samples with their latents; None if they cannot be opened and are optional."""
    try:
        source = run.sources.train
    except UserError as error:
        if not optional:
            raise
        log.warning("the measures of training images are omitted: %s", error)
        return None
    count = min(len(run.bank), TRAINING_SAMPLES, max(TRAINING_VALUES // int(np.prod(source.shape)), 1))
    chosen = np.arange(count)
    return Sample(source.read(chosen), run.bank.read(chosen), source.mask(chosen), clusters(source, chosen))


def has_known_exchange(config: Config) -> bool:
    """Whether the measures with known factors apply. Only in generated faces of the random population are all samples
    different people, and do all factors vary."""
    data = config.data
    return data.path is None and data.population == "random" and config.model.kind == "deformable" and not data.frames


def known_factor_measures(run: Run, train: Sample, unseen: Sample | None) -> dict[str, Any]:
    """Exchange and registration on the run's generated faces, whose factors are known; see `evaluate`.

    train: the first training faces. unseen: the first held-out faces. The exchange needs at least two faces.
    """
    data, trained_on = run.config.data, len(run.bank)
    predict = probe(*known_faces(data, PROBED, PROBE_FACES, data.seed + 1))
    faces = generated_faces(data, trained_on + data.held_out)
    result: dict[str, Any] = {}
    if len(train.images) > 1:
        result["exchange"] = _exchange(run, predict, faces, np.arange(len(train.images)), train)
    if unseen is not None and len(unseen.images) > 1:
        indices = trained_on + np.arange(len(unseen.images))  # held-out faces follow the training faces
        result["exchange_unseen"] = _exchange(run, predict, faces, indices, unseen)
        inferred = {group.name: z for group, z in zip(run.model.groups, unseen.latents)}
        chains = run.chain_settings(0, DESCENT_STEPS, use_encoder=False)
        modes = run.infer_batch(unseen.images, chains, given=inferred)
        _, displacement = run.decode(*modes).warp_inputs
        result["registration"] = endpoint_errors(displacement, *true_correspondence(faces, indices))
    return result


def known_faces(data: Data, names: tuple[str, ...], count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Generated faces: images (n, C, H, W) and the named factors (n, k). Another seed than data.seed: other people."""
    source, indices = generated_faces(data, count, seed), np.arange(count)
    return source.read(indices), source.factor_table(indices, names)


def true_correspondence(faces: FaceSource, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The point of the head that each pixel shows, (n, H, W, 3), and the mask of pixels on the head, (n, H, W)."""
    coordinates, masks = zip(*(material_coordinates(faces.factors(int(k)), faces.size) for k in indices))
    return np.stack(coordinates), np.stack(masks)


def _exchange(run: Run, predict: Predict, faces: FaceSource, indices: np.ndarray, sample: Sample) -> dict[str, Any]:
    return exchange_correlations(run.decode, predict, PROBED, faces.factor_table(indices, PROBED), *sample.latents)


def summary(result: dict[str, Any]) -> str:
    """The measures as lines of text; an undefined measure is a dash."""
    lines = []
    for key, title in (("train", "training images"), ("unseen", "unseen images")):
        if errors := result.get(key):
            msre = plus_minus(errors["msre"], errors["msre_stderr"], ".1f")
            lines.append(f"{title:17} MSRE {msre}, PSNR {errors['psnr']:.1f} dB ({errors['images']})")
    if "encoder" in result:
        lines.append(table(result["encoder"]))
    if "geometry" in result:
        geometry, frame = result["geometry"], result["canonical_frame"]
        lines.append(f"appearance        {formatted(result['appearance']['nyquist_ratio'])} times the images' energy "
                     "near the Nyquist frequency (above 2: a checkerboard)")
        lines.append(f"displacement      {geometry['displacement_rms']:.2f} pixels rms, neighbours differ by "
                     f"{geometry['stretch_rms']:.2f}, {100 * geometry['folded']:.1f}% folded")
        lines.append(f"canonical frame   displaced by {frame['mean_displacement']:.2f} pixels on average, "
                     f"{100 * frame['outside']:.1f}% of the pixels sampled outside the canvas")
    if "registration" in result:
        registration = result["registration"]
        lines.append(f"registration      {registration['endpoint_error']:.2f} pixels between true and mapped points of "
                     f"unseen faces, {formatted(registration['endpoint_ratio'])} times that of no displacement")
    exchanged = {title: result[key] for key, title in (("exchange", "training"), ("exchange_unseen", "unseen"))
                 if key in result}
    if exchanged:
        lines.append("exchange          correlation with the geometry donor / the appearance donor: "
                     f"{', '.join(exchanged)} faces")
        for name in next(iter(exchanged.values())):
            donors = [" / ".join(plus_minus(faces[name][donor], faces[name][f"{donor}_stderr"], "+.2f")
                                 for donor in ("geometry_donor", "appearance_donor")) for faces in exchanged.values()]
            lines.append(f"  {name:16} {', '.join(donors)}")
    return "\n".join(lines)
