"""Sharpness, Frechet distance and variety on pictures and Gaussians whose answers are known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dgn.data.faces import FaceSource
from dgn.evaluation import frechet, sharpness, variety


def test_blur_lowers_sharpness_and_noise_raises_it(rng):
    faces = FaceSource(20, 32, 1).read(np.arange(20))
    blurred = np.stack([[cv2.GaussianBlur(channel, (0, 0), 1.5) for channel in face] for face in faces])
    assert sharpness.compute(faces, faces) == 1
    assert sharpness.compute(blurred, faces) < 0.7 < 1.2 < sharpness.compute(faces + 0.1 * rng.standard_normal(faces.shape), faces)
    ramp = np.tile(np.arange(4) * 0.1, (1, 1, 3, 1))
    assert sharpness.gradient_energy(ramp) == pytest.approx(0.01)


def test_variety_is_the_distance_of_pairs(rng):
    real = rng.random((60, 1, 4, 4))
    assert variety.compute(real, real) == 1
    assert variety.compute(0.5 * real + 0.2, real) == pytest.approx(0.5)
    assert variety.compute(real[:1].repeat(9, 0), real) == pytest.approx(0, abs=1e-7)
    pairs = [np.square(real[i] - real[j]).sum() for i in range(60) for j in range(i)]
    assert 2 * real.var(0, ddof=1).sum() == pytest.approx(np.mean(pairs))


def test_the_distance_of_gaussians_is_the_closed_form(rng):
    a = rng.standard_normal((50000, 3)) * [1, 2, 3]
    b = rng.standard_normal((50000, 3)) * [2, 2, 1] + [1, 0, 0]
    assert frechet.distance(a, b) == pytest.approx(1 + 1 + 0 + 4, rel=0.03)  # |mean|^2 + sum (s - t)^2
    assert frechet.distance(a, a) == pytest.approx(0, abs=1e-8)


def test_it_tells_faces_from_blurred_and_from_other_faces(rng):
    faces, others = (FaceSource(300, 32, seed).read(np.arange(300)) for seed in (1, 2))
    blurred = np.stack([[cv2.GaussianBlur(channel, (0, 0), 1.5) for channel in face] for face in others])
    alike, unlike = frechet.compute(others, faces), frechet.compute(blurred, faces)
    assert 0 <= alike < 0.5 * unlike
    assert frechet.compute(faces[:, :1], others[:, :1]) < frechet.compute(np.repeat(faces[:150, :1], 2, 0) ** 3, others[:, :1])
