"""How near the learned displacement comes to the true motion between two images.

A pixel p of image i shows the canonical point p + d_i(p). Where a model's geometry is right, two pixels of two images
show the same canonical point if, and only if, they show the same point of the head. So a pixel of i is carried over to
the pixel of j with the same canonical point, and its distance to the pixel that truly shows the same point of the head is
the end-point error, in pixels of the image. Neither place, size nor bend of the canonical frame matters.
"""

from __future__ import annotations

from typing import Dict

import numpy as np
from sklearn.neighbors import KDTree

NEIGHBOURS = 6
STRIDE = 2  # every second pixel of an image is carried over


def compute(displacement: np.ndarray, material: np.ndarray, mask: np.ndarray, tolerance: float = 2.0) -> Dict[str, float]:
    """End-point errors over the pairs (image, next image).

    displacement: (n, 2, H, W) in pixels; material: (n, H, W, 3), which point of the head a pixel shows; mask: (n, H, W),
    pixels on the head; tolerance: in pixels (a picture is 2 units of `material` wide): nearer than this is the same point,
    else it is hidden in the other image and not counted.

    endpoint_error: mean, in pixels; without_displacement: the same if nothing were displaced, which is the size of the
    true motion; endpoint_ratio: of the two (1: no better than nothing); counted: share of the head's pixels that are seen
    in both images.
    """
    count, _, height, width = displacement.shape
    pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).reshape(-1, 2).astype(np.float64)
    canonical = pixels + displacement.transpose(0, 2, 3, 1).reshape(count, -1, 2)
    points, inside = material.reshape(count, -1, 3), mask.reshape(count, -1)
    chosen = ((pixels % STRIDE) == 0).all(1)
    errors, motions, shares = [], [], []
    for i in range(count):
        j = (i + 1) % count
        start = chosen & inside[i]
        distance, place = _carried(points[j][inside[j]], pixels[inside[j]], points[i][start])
        seen = distance < tolerance * 2 / width
        truth = place[seen]
        shares.append(seen.mean())
        if not seen.any():
            continue
        _, found = _carried(canonical[j], pixels, canonical[i][start][seen])
        errors.append(np.linalg.norm(found - truth, axis=1))
        motions.append(np.linalg.norm(pixels[start][seen] - truth, axis=1))
    if not errors:
        raise ValueError("no point of the head is seen in two images")
    error, motion = float(np.concatenate(errors).mean()), float(np.concatenate(motions).mean())
    return {"endpoint_error": error, "without_displacement": motion, "endpoint_ratio": error / max(motion, 1e-12),
            "counted": float(np.mean(shares))}


def _carried(keys: np.ndarray, places: np.ndarray, wanted: np.ndarray):
    """For each of `wanted` (m, k) the distance to the nearest of `keys` (n, k), and its place (m, 2): an affine map is fitted
    to the nearest keys and their places, and trusted up to a pixel from the nearest place."""
    distance, index = KDTree(keys).query(wanted, k=NEIGHBOURS)
    near, where = keys[index], places[index]
    middle, centre = near.mean(1, keepdims=True), where.mean(1, keepdims=True)
    slope = np.linalg.pinv(near - middle, rcond=0.1) @ (where - centre)
    place = (centre + (wanted[:, None] - middle) @ slope)[:, 0]
    return distance[:, 0], where[:, 0] + np.clip(place - where[:, 0], -1, 1)
