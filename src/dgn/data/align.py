"""Rotates, scales and crops faces by their eyes. (The paper crops faces with OpenFace, 5.1.)

Eyes are (2, 2): x and y of the eye at the left of the picture and of the eye at the right; pixel centres at integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

import cv2
import numpy as np

from dgn.data.cut import resize

EYES = (0.325, 0.36)  # left eye, as fractions of the side from left and top, as for CelebA in config/celeba64.yaml
WITHIN = 0.1  # `compare` counts smaller errors, relative to the distance between the eyes, as correct
QUANTILES = (0.5, 0.85, 0.95)
_FINE = 8  # largest number of samples of a pixel along each axis


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The similarity transform (2, 3) that maps points `source` (2, 2) to `target` (2, 2)."""
    (ax, ay), (bx, by) = source[1] - source[0], target[1] - target[0]
    turn = complex(bx, by) / complex(ax, ay)
    linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return np.column_stack([linear, target[0] - linear @ source[0]])


def align(picture: np.ndarray, eyes: np.ndarray, positions: np.ndarray, size: int) -> np.ndarray:
    """Rotates, scales and crops a picture (H, W) or (H, W, 3) to size x size pixels, with the eyes at `positions` (2,
    2), in pixels. The border is repeated outside of the picture. Each pixel is the mean over its area."""
    reduction = np.linalg.norm(eyes[1] - eyes[0]) / np.linalg.norm(positions[1] - positions[0])
    fine = min(max(ceil(reduction), 1), _FINE)
    matrix = similarity(eyes, (positions + 0.5) * fine - 0.5)
    turned = cv2.warpAffine(picture, matrix, (size * fine,) * 2, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return resize(turned, size)


def eye_positions(size: int, eyes: Sequence[float] = EYES, margin: float = 0.0) -> np.ndarray:
    """Pixel positions (2, 2) of the eyes in a crop of size x size pixels.

    eyes: position of the left eye, as fractions of the side from left and top. margin: the square is widened by this
    fraction on each side.
    """
    x, y = eyes
    return (np.array([[x, y], [1 - x, y]]) + margin) / (1 + 2 * margin) * size - 0.5


def compare(detected: Mapping[str, list[np.ndarray]], labelled: Mapping[str, list[np.ndarray]]) -> dict[str, Any]:
    """The accuracy of detected eyes on the labelled photographs.

    detected, labelled: the eyes of the faces in each photograph, by its name.

    Returns "photographs", the number of labelled photographs, and "found", the fraction with a detected face. For
    those, the error is measured for the detected face that is nearest to a labelled face, relative to the distance
    between the labelled eyes: "mean" and "worse" are QUANTILES of the error, averaged over both eyes and of the worse
    eye; "mean_within" and "worse_within" are the fractions of photographs with an error below WITHIN.
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
