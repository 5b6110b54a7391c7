"""End-point error of the displacement against the true motion between two images.

Pixel p of image i shows the canonical point p + d_i(p). If the geometry is right, two pixels of two images show the
same canonical point if and only if they show the same point of the head. Each pixel of i is mapped to the pixel of j
with the same canonical point. The end-point error is the distance of that pixel from the pixel that truly shows the
same point of the head, in pixels of the image. It does not depend on position, scale or shape of the canonical frame.
"""

from __future__ import annotations

import numpy as np

from dgn.evaluation.ratios import ratio

NEIGHBOURS = 6
STRIDE = 2  # every second pixel of an image is mapped


def endpoint_errors(displacement: np.ndarray, material: np.ndarray, mask: np.ndarray,
                    tolerance: float = 2.0) -> dict[str, float | None]:
    """End-point errors over the pairs (image, next image).

    displacement: (n, 2, H, W) in pixels; n at least 2.
    material: (n, H, W, 3), coordinates of the point of the head that a pixel shows; an image is 2 units wide.
    mask: (n, H, W), true for pixels on the head.
    tolerance: in pixels; a point of the head counts as hidden in the other image, and is ignored, if that image
        shows no point within this distance.
    Returns a dictionary:
        endpoint_error: mean end-point error, in pixels.
        without_displacement: the same for zero displacement, which is the size of the true motion.
        endpoint_ratio: endpoint_error / without_displacement; 1: no better than zero displacement. None without motion.
        counted: fraction of the head's pixels that are visible in both images.
    Raises ValueError if no point of the head is visible in two images.
    """
    count, _, height, width = displacement.shape
    pixels, canonical = canonical_points(displacement)
    points, inside = material.reshape(count, -1, 3), mask.reshape(count, -1)
    chosen = ((pixels % STRIDE) == 0).all(1)
    errors, motions, shares = [], [], []
    for i in range(count):
        j = (i + 1) % count
        start = chosen & inside[i]
        distance, place = interpolate_scattered(points[j][inside[j]], pixels[inside[j]], points[i][start])
        visible = distance < tolerance * 2 / width
        truth = place[visible]
        shares.append(visible.mean())
        if not visible.any():
            continue
        _, mapped = interpolate_scattered(canonical[j], pixels, canonical[i][start][visible])
        errors.append(np.linalg.norm(mapped - truth, axis=1))
        motions.append(np.linalg.norm(pixels[start][visible] - truth, axis=1))
    if not errors:
        raise ValueError("no point of the head is visible in two images")
    error, motion = float(np.concatenate(errors).mean()), float(np.concatenate(motions).mean())
    return {"endpoint_error": error, "without_displacement": motion, "endpoint_ratio": ratio(error, motion),
            "counted": float(np.mean(shares))}


def canonical_points(displacement: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pixels (H W, 2) as x and y, and the canonical point that each pixel of each image shows, (n, H W, 2).

    displacement: (n, 2, H, W).
    """
    count, _, height, width = displacement.shape
    pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).reshape(-1, 2).astype(np.float64)
    return pixels, pixels + displacement.transpose(0, 2, 3, 1).reshape(count, -1, 2)


def interpolate_scattered(keys: np.ndarray, places: np.ndarray,
                          queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of queries, interpolated between scattered keys with known places.

    An affine map is fitted to the nearest keys and their places; its result is limited to one pixel around the place
    of the nearest key.

    keys: (n, k); places: (n, 2); queries: (m, k).
    Returns the distance of each query from the nearest key, (m,), and its place, (m, 2).
    """
    from sklearn.neighbors import KDTree  # the import takes half a second, and most commands do not need it

    distance, index = KDTree(keys).query(queries, k=NEIGHBOURS)
    near, where = keys[index], places[index]
    middle, centre = near.mean(1, keepdims=True), where.mean(1, keepdims=True)
    linear = np.linalg.pinv(near - middle, rcond=0.1) @ (where - centre)
    place = (centre + (queries[:, None] - middle) @ linear)[:, 0]
    return distance[:, 0], where[:, 0] + np.clip(place - where[:, 0], -1, 1)
