"""Principal axes are the directions of a known linear map, whatever rotation its latents have; rotated to them, a model
stays the same model."""

from __future__ import annotations

import numpy as np
import pytest
from mindspore import Tensor

from dgn.config import Config, changed
from dgn.inference.axes import along_axes, group_axes, principal_axes, rotate
from dgn.inference.energy import make_energy
from dgn.inference.langevin import make_sampler
from dgn.inference.preconditioner import Preconditioner
from dgn.nets.build import make_model
from dgn.nets.model import LatentGroup, decode

STRENGTHS = np.array([3.0, 2.0, 0.5])


def test_axes_are_those_of_a_linear_map_rotated_at_random(rng):
    rotation = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    outputs = rotation @ np.diag(STRENGTHS) @ np.linalg.qr(rng.standard_normal((8, 8)))[0][:3]
    axes = group_axes(lambda z: z @ outputs, rng.standard_normal((20, 3)))
    np.testing.assert_allclose(np.abs(axes.directions.T @ rotation), np.eye(3), atol=1e-4)
    np.testing.assert_allclose(axes.share, STRENGTHS ** 2 / 13.25, rtol=1e-4)
    assert (axes.directions.max(0) == np.abs(axes.directions).max(0)).all()  # the largest component is positive
    np.testing.assert_allclose(np.linalg.norm(axes.directions.T @ outputs, axis=1), STRENGTHS, rtol=1e-4)


@pytest.fixture(scope="module")
def config():
    return changed(Config(), data={"size": 16}, model={"width": 8, "z_app": 5, "z_geo": 4},
                   inference={"preconditioner": "gauss_newton", "step_size": 0.5, "steps": 2})


@pytest.mark.parametrize("field", ["pixels", "monotone"])
def test_a_model_rotated_to_its_axes_is_the_same_model_with_the_strongest_dimension_first(config, rng, field):
    model = make_model(changed(config, model={"field": field}))
    latents = [rng.standard_normal((12, size)).astype(np.float32) for size in (5, 4)]
    before, axes = decode(model, *latents), principal_axes(model, latents)
    coordinates = [z @ own.directions for z, own in zip(latents, axes)]
    by_function = along_axes(lambda *z: decode(model, *z), axes)(*coordinates)
    rotate(model, {group.name: own.directions for group, own in zip(model.groups, axes)})
    after = decode(model, *coordinates)
    for of_axes, own, first in zip(by_function, after, before):
        np.testing.assert_allclose(own, first, atol=1e-5)
        np.testing.assert_allclose(of_axes, first, atol=1e-5)
    for own, now in zip(axes, principal_axes(model, coordinates)):
        assert (np.diff(own.share) < 0).all()
        np.testing.assert_allclose(np.abs(now.directions), np.eye(len(own.share)), atol=0.05)  # of differences
        np.testing.assert_allclose(now.share, own.share, rtol=0.02)


def test_a_preconditioned_step_commutes_with_the_rotation(config, rng):
    model = make_model(config)
    sampler = make_sampler(make_energy(model, config), config)
    for matrix in (*sampler.preconditioner.inverses, *sampler.preconditioner.roots):
        half = rng.standard_normal(matrix.shape).astype(np.float32)
        matrix.set_data(Tensor(half @ half.T))
    rotations = {group.name: np.linalg.qr(rng.standard_normal((group.shape[0],) * 2))[0].astype(np.float32)
                 for group in model.groups}
    gradients = [rng.standard_normal((3, group.shape[0])).astype(np.float32) for group in model.groups]

    def steps(own):
        return [sampler.preconditioner(g, Tensor(z), Tensor(z)) for g, z in enumerate(own)]
    before = [[part.asnumpy() for part in step] for step in steps(gradients)]
    rotate(model, rotations)
    sampler.preconditioner.rotate(rotations)
    turned = [z @ rotations[group.name] for group, z in zip(model.groups, gradients)]
    for group, first, now in zip(model.groups, before, steps(turned)):
        for a, b in zip(first, now):
            np.testing.assert_allclose(b.asnumpy(), a @ rotations[group.name], rtol=1e-3, atol=1e-3)


def test_a_rotated_preconditioner_is_adapted_as_that_of_the_rotated_latents(rng):
    groups, half = (LatentGroup("z_app", (3,)),), rng.standard_normal((3, 3))
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0].astype(np.float32)
    rotated, expected = Preconditioner(groups), Preconditioner(groups)
    rotated.update([half @ half.T], [0.5])
    rotated.rotate({"z_app": turn})
    rotated.adapt([0.2])
    expected.update([turn.T @ half @ half.T @ turn], [0.2])
    for own, wanted in zip((*rotated.inverses, *rotated.roots), (*expected.inverses, *expected.roots)):
        np.testing.assert_allclose(own.asnumpy(), wanted.asnumpy(), rtol=1e-3, atol=1e-5)
