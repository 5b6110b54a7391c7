"""Landmarks carried by the displacement, and the error of predicted landmarks (5.5, Table 2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dgn.evaluation.correspondence import canonical_points, interpolate_scattered
from dgn.evaluation.ratios import ratio
from dgn.evaluation.uncertainty import standard_error_of_mean

EYES = (0, 1)  # indices of the two eyes among the landmarks
MEAN_SHAPE = "mean_shape"  # the prediction that ignores the image


def canonical_landmarks(displacement: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Canonical positions x + d(x), (n, p, 2), of landmarks x (n, p, 2) in images with displacements d (n, 2, H, W).

    If the geometry is right, each landmark has the same canonical position in all images.
    """
    pixels, canonical = canonical_points(displacement)
    return np.stack([interpolate_scattered(pixels, points, marks)[1] for points, marks in zip(canonical, landmarks)])


def carried_landmarks(displacement: np.ndarray, canonical: np.ndarray) -> np.ndarray:
    """The positions (n, p, 2) at which images with displacements (n, 2, H, W) show the canonical points (p, 2)."""
    pixels, points = canonical_points(displacement)
    return np.stack([interpolate_scattered(image, pixels, canonical)[1] for image in points])


def landmark_distances(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Mean distance of each image's landmarks (n, p, 2) from the true landmarks, in per cent of the inter-ocular
    distance, (n,)."""
    eyes = np.linalg.norm(truth[:, EYES[0]] - truth[:, EYES[1]], axis=1)
    distance = np.linalg.norm(predicted - truth, axis=2).mean(1)
    return 100 * distance / eyes


def landmark_errors(predicted: dict[str, np.ndarray], truth: np.ndarray, people: Sequence[str]) -> dict[str, Any]:
    """The mean error of each prediction, by its name.

    predicted: landmarks (n, p, 2) by name; MEAN_SHAPE, the mean landmarks of the training images, is one of the names.
    people: (n,), the person in each image.

    Returns also "standard_errors", the standard errors of these means over people, by name; and
    "relative_to_mean_shape", the error of every other prediction divided by the error of MEAN_SHAPE, by name. The
    errors in per cent depend on how much landmarks vary in the images, and on their crop; a relative error of 1 always
    means no better than the mean shape.
    """
    distances = {name: landmark_distances(points, truth) for name, points in predicted.items()}
    errors = {name: float(values.mean()) for name, values in distances.items()}
    relative = {name: ratio(value, errors[MEAN_SHAPE]) for name, value in errors.items() if name != MEAN_SHAPE}
    spread = {name: standard_error_of_mean(values, people) for name, values in distances.items()}
    return {**errors, "standard_errors": spread,
            "relative_to_mean_shape": relative}
