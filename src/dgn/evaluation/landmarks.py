"""Error of predicted landmarks (5.5, Table 2)."""

from __future__ import annotations

from typing import Dict

import numpy as np

EYES = (0, 1)  # indices of the two eyes among the landmarks


def error(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Mean distance of landmarks (n, p, 2) from the true ones, in per cent of each image's inter-ocular distance."""
    eyes = np.linalg.norm(truth[:, EYES[0]] - truth[:, EYES[1]], axis=1)
    distance = np.linalg.norm(predicted - truth, axis=2).mean(1)
    return float(100 * (distance / eyes).mean())


def compute(predicted: Dict[str, np.ndarray], truth: np.ndarray) -> Dict[str, float]:
    """The error of each prediction (n, p, 2), by name."""
    return {name: error(points, truth) for name, points in predicted.items()}
