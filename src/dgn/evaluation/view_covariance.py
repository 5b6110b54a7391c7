"""How each latent dimension varies with the viewing angle: Eq. 21, Fig. 6 and 7."""

from __future__ import annotations

from typing import Any, Dict, Sequence

import numpy as np


def unit(views: Sequence[float]) -> np.ndarray:
    """theta of Eq. 21: V angles as a vector of unit norm. Centred first, or views that do not lie evenly around 0 would make
    a latent of constant mean covary with them; the paper's views are centred."""
    theta = np.asarray(views, np.float64)
    theta = theta - theta.mean()
    return theta / np.linalg.norm(theta)


def responses(means: np.ndarray, views: Sequence[float]) -> np.ndarray:
    """R_i = |Z(i) . theta| of Eq. 21 for every dimension, (d,).

    means: (V, d), the latents of each view averaged over its images; views: V different angles.
    """
    return np.abs(unit(views) @ means)


def compute(latents: Dict[str, np.ndarray], views: Sequence[float]) -> Dict[str, Any]:
    """For latents (V, n, d) of each group, n images of each of V views:

    means: (V, d) of each group, as lists; r: R of each dimension; largest: the largest R of each group, with its
    dimension; noise: the largest R to be expected of d dimensions that do not depend on the view at all: each person's
    own Z . theta scatters, their mean over n people has a standard error of std / sqrt(n), and the largest of d such values
    is about sqrt(2 log d) times that. (The same people are in every view, so what differs between people cancels.)
    """
    result: Dict[str, Any] = {"views": list(map(float, views)), "groups": {}}
    for name, z in latents.items():
        means = z.astype(np.float64).mean(1)
        r = responses(means, views)
        own = np.tensordot(unit(views), z.astype(np.float64), 1)  # (n, d)
        error = np.sqrt(own.var(0).mean() / z.shape[1])
        result["groups"][name] = {"means": means.tolist(), "r": r.tolist(), "largest": float(r.max()), "dimension": int(r.argmax()),
                                  "noise": float(error * np.sqrt(2 * np.log(max(z.shape[2], 2))))}
    if {"z_app", "z_geo"} <= set(latents):
        groups = result["groups"]
        result["ratio"] = groups["z_geo"]["largest"] / max(groups["z_app"]["largest"], 1e-12)
    return result
