"""Landmarks carried by the displacement, and the error of predicted landmarks (5.5, Table 2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dgn.evaluation.correspondence import canonical_points, interpolate_scattered
from dgn.evaluation.ratios import ratio
from dgn.evaluation.uncertainty import mean_error

EYES = (0, 1)  # indices of the two eyes among the landmarks
MEAN_SHAPE = "mean_shape"  # the prediction that ignores the image


def canonical_landmarks(displacement: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """The canonical positions p + d(p) of landmarks p (n, p, 2) of images with displacements d (n, 2, H, W), (n, p, 2).

    If the geometry is right, those of one landmark are the same in all images.
    """
    pixels, canonical = canonical_points(displacement)
    return np.stack([interpolate_scattered(pixels, points, own)[1] for points, own in zip(canonical, landmarks)])


def carried_landmarks(displacement: np.ndarray, canonical: np.ndarray) -> np.ndarray:
    """The positions (n, p, 2) at which images with displacements (n, 2, H, W) show the canonical points (p, 2)."""
    pixels, points = canonical_points(displacement)
    return np.stack([interpolate_scattered(own, pixels, canonical)[1] for own in points])


def landmark_distances(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Mean distance of each image's landmarks (n, p, 2) from the true ones, in per cent of its inter-ocular distance,
    (n,)."""
    eyes = np.linalg.norm(truth[:, EYES[0]] - truth[:, EYES[1]], axis=1)
    distance = np.linalg.norm(predicted - truth, axis=2).mean(1)
    return 100 * distance / eyes


def landmark_errors(predicted: dict[str, np.ndarray], truth: np.ndarray, people: Sequence[str]) -> dict[str, Any]:
    """The error of each prediction (n, p, 2), by name, one of them MEAN_SHAPE: the mean landmarks of the training
    images.

    people: the person on each image, (n,).
    standard_errors: of these errors over people, by name.
    relative_to_mean_shape: the errors of the others relative to that one, by name. How much landmarks vary, and so the
    error in per cent, depends on the images and their crop; 1 means no better than the mean shape on any of them.
    """
    distances = {name: landmark_distances(points, truth) for name, points in predicted.items()}
    errors = {name: float(values.mean()) for name, values in distances.items()}
    relative = {name: ratio(value, errors[MEAN_SHAPE]) for name, value in errors.items() if name != MEAN_SHAPE}
    return {**errors, "standard_errors": {name: mean_error(values, people) for name, values in distances.items()},
            "relative_to_mean_shape": relative}
