"""The gradient written by hand is the one that MindSpore differentiates."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import ops

from dgn import build
from dgn import config as cfg
from dgn.export import cells
from dgn.export.adjoint import AdjointLangevin, WarpAdjoint
from dgn.inference import langevin
from dgn.nets.warp import ReferenceWarp
from dgn.randomness import generator

TINY = ["data.size=16", "model.z_app=4", "model.z_geo=3", "model.width=8", "model.alpha=1"]
MODELS = {
    "all additions": ["model.smooth_appearance=true", "model.control_grid=8", "model.refine=true", "inference.smoothness=0.3"],
    "table5, scaled, labels": ["model.network=table5", "model.scaling=he", "model.appearance=label"],
    "plain": ["model.kind=plain"],
    "simultaneous": ["inference.order=simultaneous"],
}


def randomised(model):
    """The model with every weight that is 0 at first drawn anew: a gradient of 0 would prove nothing."""
    for index, parameter in enumerate(model.get_parameters()):
        if not np.any(parameter.asnumpy()):
            parameter.set_data(ms.Tensor(0.1 * generator(index, "test").standard_normal(parameter.shape, np.float32)))
    return model


@pytest.mark.parametrize("settings", MODELS.values(), ids=MODELS)
def test_langevin_by_hand(settings, rng):
    """And, of given labels, that the exported sampler wants no noise for them either."""
    config = cells.portable(cfg.load(settings=TINY + settings))
    energy = build.make_energy(randomised(build.make_model(config, "CPU")), config)
    images = rng.random((2, 3, 16, 16), np.float32)
    start = [z[0] for z in langevin.draw_noise(energy.model, 1, 2, 0, "start")]
    noise = langevin.draw_noise(energy.model, 2, 2, 1, "noise")
    wanted, told = langevin.run(langevin.Langevin(energy, 0.1, 2, config.inference.order), images, tuple(start), noise, 0.5)
    assert told.gradient.min() > 1e-3
    cells.fold(energy.model)
    sampled = [own for own, group in zip(noise, energy.model.groups) if group.sampled]
    exported = [AdjointLangevin(energy, 0.5, 0.1, 2, config.inference.order)]
    if len(sampled) < len(noise):
        exported.append(cells.Inference(langevin.Langevin(energy, 0.1, 2, config.inference.order), 0.5))
    for cell in exported:
        for found, own in zip(cell(*map(ms.Tensor, (images, *start, *sampled))), wanted):
            np.testing.assert_allclose(found.asnumpy(), own, atol=2e-6)


def test_warp_adjoint_with_clamped_borders(rng):
    warp = ReferenceWarp(6, 6)
    image, dout = (ms.Tensor(rng.random((2, 3, 6, 6), np.float32)) for _ in range(2))
    displacement = ms.Tensor(rng.uniform(-5, 5, (2, 2, 6, 6)).astype(np.float32))  # a third of the pixels leave the image

    def weighted(image, displacement):
        return ops.reduce_sum(warp(image, displacement) * dout)

    wanted = ms.grad(weighted, (0, 1))(image, displacement)
    adjoint = WarpAdjoint(warp)
    found = adjoint.to_image(displacement, dout), adjoint.to_displacement(image, displacement, dout)
    for a, b in zip(found, wanted):
        np.testing.assert_allclose(a.asnumpy(), b.asnumpy(), atol=1e-5)
