"""Standard errors of metrics by the cluster bootstrap.

Resampling is over independent units: people (if a person has several images), clips (not their frames), or images. The
trained model is fixed: the variation over training seeds is not included, and is often larger.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from dgn.data.source import Source, Subset
from dgn.evaluation.ratios import formatted
from dgn.randomness import generator

REPLICATES = 200


def bootstrap_standard_error(measure: Callable[[np.ndarray], float], count: int) -> float | None:
    """Standard deviation of a measure over REPLICATES samples of `count` units, drawn with replacement; None for fewer
    than two units.

    measure: a function of the number of times that each unit is drawn, (count,) float.
    """
    if count < 2:
        return None
    draws = generator(0, "bootstrap", count).multinomial(count, np.full(count, 1 / count), REPLICATES)
    return float(np.std([measure(weights) for weights in draws.astype(float)], ddof=1))


def standard_error_of_mean(values: np.ndarray, units: np.ndarray | Sequence | None = None) -> float | None:
    """Standard error of the mean of values (n,).

    units: (n,), the person or clip that each value belongs to (default: each value is a separate unit).
    """
    names, unit_of = np.unique(np.arange(len(values)) if units is None else np.asarray(units), return_inverse=True)
    sums, counts = (np.bincount(unit_of, weights, len(names)) for weights in (values, None))
    return bootstrap_standard_error(lambda weights: float(weights @ sums / (weights @ counts)), len(names))


def clusters(source: Source, indices: np.ndarray) -> np.ndarray:
    """The cluster (unit) of each sample at `indices` for standard errors, (n,): the person in it, or if people are
    unknown the sample itself; a mirror image belongs to the same cluster as its original."""
    people = source.people()
    if people:
        return np.array(people)[indices]
    return source.in_source[indices] if isinstance(source, Subset) else np.asarray(indices)


def plus_minus(value: float | None, error: float | None, form: str = ".2f", scale: float = 1) -> str:
    """A measure and its standard error, both times `scale`, as text such as "7.20 +- 0.11"; only the measure if the
    error is None; "-" if the measure is undefined."""
    if value is None:
        return formatted(None)
    return " +- ".join(format(scale * part, form.lstrip("+") if k else form)
                       for k, part in enumerate((value, error)) if part is not None)
