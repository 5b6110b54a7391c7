"""Sharpness, Frechet distance and variety of images and Gaussians with known answers."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dgn.data.faces import FaceSource
from dgn.evaluation.sample_quality import (
    frechet_distance,
    gaussian_distance,
    gradient_energy,
    relative_sharpness,
    relative_variety,
)


def blur(images, sigma):
    return np.stack([[cv2.GaussianBlur(channel, (0, 0), sigma) for channel in image] for image in images])


def test_blur_lowers_sharpness_and_noise_raises_it(rng):
    faces = FaceSource(20, 32, 1).read(np.arange(20))
    noisy = faces + 0.1 * rng.standard_normal(faces.shape)
    assert relative_sharpness(faces, faces) == 1
    assert relative_sharpness(blur(faces, 1.5), faces) < 0.7 < 1.2 < relative_sharpness(noisy, faces)
    ramp = np.tile(np.arange(4) * 0.1, (1, 1, 3, 1))
    assert gradient_energy(ramp) == pytest.approx(0.01)


def test_measures_relative_to_constant_images_are_undefined(rng):
    assert relative_sharpness(rng.random((3, 1, 8, 8)), np.full((3, 1, 8, 8), 0.3)) is None
    equal = rng.random((1, 1, 8, 8), np.float32).repeat(1000, 0)  # their mean is rounded
    assert relative_variety(rng.random((3, 1, 8, 8)), equal) is None


def test_a_single_image_has_no_variety_and_no_distance(rng):
    one, some = rng.random((1, 3, 8, 8)), rng.random((9, 3, 8, 8))
    for measure in (relative_variety, frechet_distance):
        assert measure(one, some) is None and measure(some, one) is None


def test_variety_is_the_distance_of_pairs(rng):
    real = rng.random((60, 1, 4, 4))
    assert relative_variety(real, real) == 1
    assert relative_variety(0.5 * real + 0.2, real) == pytest.approx(0.5)
    assert relative_variety(real[:1].repeat(9, 0), real) == pytest.approx(0, abs=1e-7)
    pairs = [np.square(real[i] - real[j]).sum() for i in range(60) for j in range(i)]
    assert 2 * real.var(0, ddof=1).sum() == pytest.approx(np.mean(pairs))


def test_the_distance_of_gaussians_is_the_closed_form(rng):
    a = rng.standard_normal((50000, 3)) * [1, 2, 3]
    b = rng.standard_normal((50000, 3)) * [2, 2, 1] + [1, 0, 0]
    assert gaussian_distance(a, b) == pytest.approx(1 + 1 + 0 + 4, rel=0.03)  # |mean|^2 + sum (s - t)^2
    assert 0 <= gaussian_distance(a, a) < 1e-8


def test_blurred_and_darkened_faces_are_farther_from_faces_than_other_faces():
    faces, others = (FaceSource(300, 16, seed).read(np.arange(300)) for seed in (1, 2))
    assert 0 <= frechet_distance(others, faces) < 0.5 * frechet_distance(blur(others, 1.0), faces)
    darkened = np.repeat(faces[:150, :1], 2, 0) ** 3
    assert frechet_distance(faces[:, :1], others[:, :1]) < frechet_distance(darkened, others[:, :1])
