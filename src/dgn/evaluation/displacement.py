"""Size and smoothness of the displacement."""

from __future__ import annotations

from typing import Dict

import numpy as np


def compute(displacement: np.ndarray) -> Dict[str, float]:
    """For displacements (N, 2, H, W) in pixels.

    displacement_rms: root mean square length of what differs from the mean field, in pixels: what the samples do, not
      where the canonical frame was put;
    mean_field_rms: the same of the mean field;
    stretch_rms: root mean square difference between neighbouring pixels' displacements, of one component in one direction,
      in pixels a pixel: well below 1 is smooth;
    folded: share of pixels where the map turns over (a negative Jacobian determinant).
    """
    field = displacement.astype(np.float64)
    mean = field.mean(0, keepdims=True)
    across, down = np.diff(field, axis=3), np.diff(field, axis=2)
    jacobian = (1 + across[:, 0, :-1]) * (1 + down[:, 1, :, :-1]) - across[:, 1, :-1] * down[:, 0, :, :-1]

    def rms(vectors: np.ndarray) -> float:
        return float(np.sqrt(np.square(vectors).sum(1).mean()))

    return {"displacement_rms": rms(field - mean), "mean_field_rms": rms(mean),
            "stretch_rms": float(np.sqrt((np.square(across).mean() + np.square(down).mean()) / 2)),
            "folded": float((jacobian < 0).mean())}
