"""Exchange of appearance and geometry between two clips (5.6, Fig. 15 and 16).

  dgn experiment recombination runs/clips
  dgn experiment recombination runs/clips --clips 0 7
  dgn experiment recombination runs/clips --clips anger/S010_004 joy/S022_001

Two training clips are decoded with each other's geometry: one person's colours with the other's shape and motion. For
generated clips, whose factors are known, the exchange is also measured: each of up to 200 clips takes the geometry of a
clip with another person and class; probes, fitted to clips of other people, predict landmarks and factors from the
decoded frames; these are correlated with the true values of both donors. For all clips, the fraction of the motion that
reconstructions show is measured by class. For a plain model (MoCoGAN's generator) content and motion are exchanged.

Written to the run folder: section "recombination" of metrics.json, figures/recombination.png, .gif, .mp4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dgn.data.open import generated_clips
from dgn.data.source import clip_lengths
from dgn.errors import UserError
from dgn.evaluation.exchange import correlation
from dgn.experiments.clip_common import (
    COLOUR,
    MOTION,
    check_clips,
    classes_of,
    clip_indices,
    exchange_partners,
    explained_motion,
    fit_probe,
    motion,
    over_time,
    reconstructed,
)
from dgn.experiments.common import table
from dgn.figures import clip_pictures
from dgn.indices import evenly_spaced
from dgn.run import Run

MEASURED = 200  # largest number of clips that are measured
Values = dict[str, np.ndarray]  # (n, F, k) of the clips "exchanged", "own", and of the donors "geometry", "appearance"


def recombination(run: Run, *, clips: Sequence[int | str] | None = None) -> dict[str, Any]:
    """Draws two training clips with their geometries exchanged, and measures exchange and reconstructed motion.

    clips: indices or names of two clips (default: the first clip, and a clip with another person and class).
    Returns explained_motion: fraction by class; correlations (only for generated clips): see clip_correlations;
    pictures: paths of figures/recombination.png, .gif and .mp4. All but the pictures, and their origin, are written to
    the section recombination of metrics.json. Raises UserError for a run on images, or a clip that does not exist.
    """
    check_clips(run)
    source = run.sources.train
    names = source.names
    partner = exchange_partners(names, source.people())
    pair = clip_indices(names, (0, partner[0] or min(1, len(source) - 1)) if clips is None else clips)
    if len(pair) != 2:
        raise UserError(f"clips are {list(clips or ())}; two are exchanged")
    result: dict[str, Any] = {}
    if run.config.data.path is None and (partner != np.arange(len(source))).any():
        result["correlations"] = clip_correlations(run, partner)
    measured = evenly_spaced(len(source), MEASURED)
    classes = classes_of([names[k] for k in measured])
    result["explained_motion"] = explained_motion(reconstructed(run, measured), classes)
    result = run.folder.add_section("recombination", result)

    z_app, z_geo = run.bank.read(pair)
    exchanged = run.decode(z_app, z_geo[::-1]).image
    length = int(clip_lengths(source, pair).min())
    result["pictures"] = clip_pictures.recombination(
        run.folder.figures / "recombination.png", source.read(pair), length, exchanged, [names[k] for k in pair])
    return result


def summary(result: dict[str, Any]) -> str:
    """The result as text."""
    lines = ["motion that reconstructions show: " + ", ".join(
        f"{name} {share:.2f}" for name, share in result["explained_motion"].items())]
    if "correlations" in result:
        columns = {"geometry donor": "geometry_donor", "appearance donor": "appearance_donor", "own clip": "own",
                   "between donors": "donors"}
        rows: dict[str, Sequence[str]] = {name: [f"{values[key]:+.2f}" for key in columns.values()]
                                          for name, values in result["correlations"].items()}
        lines.insert(0, table("correlation with", list(columns), rows))
    return "\n".join(lines)


def clip_correlations(run: Run, partner: np.ndarray) -> dict[str, dict[str, float]]:
    """Correlations of the probes' predictions for exchanged generated clips with the true values of both donors.

    partner: for each clip the index of the clip whose geometry it takes; clips that are their own partner are omitted.
    Returns for landmark motion, landmark position, each factor and a light that changes over time: geometry_donor and
    appearance_donor; own, for the reconstruction and its clip; donors, for the true values of the two donors, which
    correlate if expressions open the mouth at about the same time.
    """
    paired = np.flatnonzero(partner != np.arange(len(partner)))
    indices = paired[evenly_spaced(len(paired), MEASURED)]
    donors = partner[indices]
    source = generated_clips(run.config.data, len(run.bank))
    z_app, z_geo = run.bank.read(indices)
    exchanged = run.decode(z_app, run.bank.read(donors)[1]).image
    own = run.decode(z_app, z_geo).image
    probe, names = fit_probe(run.config.data), (*MOTION, *COLOUR)

    def true_landmarks(who: np.ndarray) -> np.ndarray:
        return source.landmarks(who).reshape(len(who), exchanged.shape[1], -1)

    def correlations(values: Values, of: Callable[[np.ndarray], np.ndarray]) -> dict[str, float]:
        pairs = {"geometry_donor": ("exchanged", "geometry"), "appearance_donor": ("exchanged", "appearance"),
                 "own": ("own", "appearance"), "donors": ("geometry", "appearance")}
        return {key: correlation(of(values[a]).ravel(), of(values[b]).ravel()) for key, (a, b) in pairs.items()}

    landmarks: Values = {"exchanged": over_time(probe.landmarks, exchanged), "own": over_time(probe.landmarks, own),
                 "geometry": true_landmarks(donors), "appearance": true_landmarks(indices)}
    factors: Values = {"exchanged": over_time(probe.factors, exchanged), "own": over_time(probe.factors, own),
               "geometry": source.factor_table(donors, names), "appearance": source.factor_table(indices, names)}
    result = {"landmark motion": correlations(landmarks, motion),
              "landmark position": correlations(landmarks, lambda values: values - values.mean((0, 1)))}
    for k, name in enumerate(names):
        result[name] = correlations(factors, course(k) if name in MOTION else mean_over_time(k))
        if name in COLOUR and np.ptp(factors["appearance"][..., k], 1).max() > 0:  # the light of data.changing_light
            result[f"{name} over time"] = correlations(factors, course(k))
    return result


def course(k: int) -> Callable[[np.ndarray], np.ndarray]:
    """(n, F, 6) factors -> the course of factor k over time, less its mean."""
    return lambda values: motion(values)[..., k]


def mean_over_time(k: int) -> Callable[[np.ndarray], np.ndarray]:
    """(n, F, 6) factors -> the mean of factor k over time."""
    return lambda values: values[..., k].mean(1)
