"""Covariance of each latent dimension with the viewing angle: Eq. 21, Fig. 6 and 7."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dgn.evaluation.ratios import ratio
from dgn.evaluation.uncertainty import bootstrap_standard_error


def unit(views: Sequence[float]) -> np.ndarray:
    """theta of Eq. 21: V angles, centred and scaled to unit norm.

    The paper's views are centred. Without centring, a latent whose mean does not depend on the view would covary with
    views that are not symmetric about 0.
    """
    theta = np.asarray(views, np.float64)
    theta = theta - theta.mean()
    return theta / np.linalg.norm(theta)


def responses(means: np.ndarray, views: Sequence[float]) -> np.ndarray:
    """R_i = |Z(i) . theta| of Eq. 21 for every dimension, (d,).

    means: (V, d), mean latents of each view's images; views: V different angles.
    """
    return np.abs(unit(views) @ means)


def view_covariance(latents: dict[str, np.ndarray], views: Sequence[float]) -> dict[str, Any]:
    """R of Eq. 21 for each latent group.

    latents: (V, n, d) by group name ("z_app", "z_geo"): the same n people at each of V views. views: V different angles
    in degrees.
    Returns a dictionary:
        views: the angles.
        groups: by group name:
            means: (V, d) as lists, the mean latents of each view.
            r: R of each dimension.
            largest, dimension: the largest R and its dimension.
            noise: expected value, approximately, of the largest R of d dimensions that do not depend on the view. (It
                is not a significance threshold, which would be about a quarter higher.) Z . theta varies over people
                with standard deviation std; its mean over n people has the standard error std / sqrt(n), and the
                largest of d such values is at most about sqrt(2 log d) times as large. Differences between people
                cancel, because every person is in every view.
        ratio: largest R of z_geo divided by the largest R of z_app, if both groups are given; None if the latter is 0.
        ratio_stderr: standard error of the ratio over people; None if any bootstrap sample has no appearance
            covariance.
    """
    result: dict[str, Any] = {"views": list(map(float, views)), "groups": {}}
    for name, z in latents.items():
        means = z.astype(np.float64).mean(1)
        r = responses(means, views)
        along = np.tensordot(unit(views), z.astype(np.float64), 1)  # Z . theta of each person, (n, d)
        error = np.sqrt(along.var(0, ddof=min(1, len(along) - 1)).mean() / z.shape[1])
        result["groups"][name] = {
            "means": means.tolist(), "r": r.tolist(), "largest": float(r.max()), "dimension": int(r.argmax()),
            "noise": float(error * np.sqrt(2 * np.log(max(z.shape[2], 2))))}
    if {"z_app", "z_geo"} <= set(latents):
        groups = result["groups"]
        result["ratio"] = ratio(groups["z_geo"]["largest"], groups["z_app"]["largest"])
        geometry, appearance = (latents[name].astype(np.float64) for name in ("z_geo", "z_app"))

        def ratio_of(drawn: np.ndarray) -> float:
            largest = [responses(np.tensordot(drawn / drawn.sum(), z, (0, 1)), views).max()
                       for z in (geometry, appearance)]
            value = ratio(*largest)
            return np.nan if value is None else value
        error = None if result["ratio"] is None else bootstrap_standard_error(ratio_of, geometry.shape[1])
        result["ratio_stderr"] = error if error is not None and np.isfinite(error) else None
    return result
