"""Standard errors of measures by the bootstrap: how far a measure on other people, or other images, would differ.

The units that are drawn are independent of each other: people, where each has several images; clips, not their frames.
The model is given: the scatter over seeds of the training is not included, and is often larger.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from dgn.evaluation.ratios import number
from dgn.randomness import generator

REPLICATES = 200


def bootstrap_error(measure: Callable[[np.ndarray], float], count: int) -> float | None:
    """Standard deviation of a measure over REPLICATES samples of `count` units, drawn with replacement.

    measure: takes how often each unit is drawn, (count,) float. None for fewer than two units.
    """
    if count < 2:
        return None
    draws = generator(0, "bootstrap", count).multinomial(count, np.full(count, 1 / count), REPLICATES)
    return float(np.std([measure(weights) for weights in draws.astype(float)], ddof=1))


def mean_error(values: np.ndarray, units: np.ndarray | Sequence | None = None) -> float | None:
    """Standard error of the mean of values (n,).

    units: (n,), the person or clip of each value (default: each value is a unit of its own).
    """
    names, unit_of = np.unique(np.arange(len(values)) if units is None else np.asarray(units), return_inverse=True)
    sums, counts = (np.bincount(unit_of, weights, len(names)) for weights in (values, None))
    return bootstrap_error(lambda weights: float(weights @ sums / (weights @ counts)), len(names))


def plus_minus(value: float | None, error: float | None, form: str = ".2f", scale: float = 1) -> str:
    """A measure times `scale` with its standard error as text, such as "7.20 +- 0.11"; without one the measure alone;
    "-" if the measure is undefined."""
    if value is None:
        return number(None)
    return " +- ".join(format(scale * part, form.lstrip("+") if k else form)
                       for k, part in enumerate((value, error)) if part is not None)
