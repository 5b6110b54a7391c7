"""Faces turned, scaled and cut by their eyes, as the paper cuts them with OpenFace (5.1).

Eyes are (2, 2): x, y of the one at the left and the one at the right of the picture; pixel centres at integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

import cv2
import numpy as np

from dgn.data.cut import resize

EYES = (0.325, 0.36)  # shares of the side, from the left and the top: those of CelebA's faces in config/celeba64.yaml
WITHIN = 0.1  # of the distance between the eyes: error that `compare` counts as right
QUANTILES = (0.5, 0.85, 0.95)
_FINE = 8  # samples of a pixel along each axis, at most


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The map (2, 3) of two points to two others by a rotation, a scale and a shift."""
    (ax, ay), (bx, by) = source[1] - source[0], target[1] - target[0]
    turn = complex(bx, by) / complex(ax, ay)
    linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return np.column_stack([linear, target[0] - linear @ source[0]])


def align(picture: np.ndarray, eyes: np.ndarray, places: np.ndarray, size: int) -> np.ndarray:
    """A picture (H, W) or (H, W, 3) turned, scaled and cut to size x size pixels with the eyes at `places`, (2, 2) in
    pixels. Outside of the picture its border is repeated. A pixel is the mean over its area."""
    reduction = np.linalg.norm(eyes[1] - eyes[0]) / np.linalg.norm(places[1] - places[0])
    fine = min(max(ceil(reduction), 1), _FINE)
    matrix = similarity(eyes, (places + 0.5) * fine - 0.5)
    turned = cv2.warpAffine(picture, matrix, (size * fine,) * 2, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return resize(turned, size)


def eye_places(size: int, eyes: Sequence[float] = EYES, margin: float = 0.0) -> np.ndarray:
    """Pixels (2, 2) of the eyes in a cut of size x size pixels. eyes: the left one's shares of the side from the left
    and the top; margin: the square is widened by this share of it on each side."""
    x, y = eyes
    return (np.array([[x, y], [1 - x, y]]) + margin) / (1 + 2 * margin) * size - 0.5


def compare(detected: Mapping[str, list[np.ndarray]], labelled: Mapping[str, list[np.ndarray]]) -> dict[str, Any]:
    """The accuracy of detected eyes on the labelled photographs.

    detected, labelled: by photograph the eyes of its faces.
    Returns "photographs" (labelled), "found" (the share with a detected face), and of these, for the detected face that
    is nearest to a labelled one, as shares of the distance between the labelled eyes: "mean" and "worse", the error's
    QUANTILES of the mean of both eyes and of the worse eye, and "mean_within" and "worse_within", the shares of
    photographs whose error is below WITHIN.
    """
    errors = []
    for name, truth in labelled.items():
        pairs = [np.linalg.norm(eyes - true, axis=1) / np.linalg.norm(true[1] - true[0])
                 for eyes in detected.get(name, ()) for true in truth]
        errors += [min(pairs, key=max)] if pairs else []
    result: dict[str, Any] = {"photographs": len(labelled), "found": len(errors) / max(len(labelled), 1)}
    for key, error in (("mean", np.mean(errors, 1)), ("worse", np.max(errors, 1))) if errors else ():
        result |= {key: np.quantile(error, QUANTILES).tolist(), f"{key}_within": float(np.mean(error < WITHIN))}
    return result
