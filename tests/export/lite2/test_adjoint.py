"""The gradient that is written out equals MindSpore's own differentiation."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import ops

from dgn import recipe
from dgn.export import cells
from dgn.export.lite2.adjoint import AdjointLangevin, WarpAdjoint
from dgn.inference.chains import draw_noise, run_arrays
from dgn.inference.energy import make_energy
from dgn.inference.langevin import make_sampler
from dgn.nets.build import make_model
from dgn.nets.warp import ReferenceWarp
from tests.training.saved import randomised

pytestmark = pytest.mark.slow

TINY = ["data.size=16", "model.z_app=4", "model.z_geo=3", "model.width=8", "model.alpha=1"]
MODELS = {
    "all additions": ["model.smooth_appearance=true", "model.control_grid=8", "model.refine=true",
                      "inference.smoothness=[[0, 0.1], [5, 0.3]]"],
    "monotone": ["model.field=monotone", "model.control_grid=8", "inference.smoothness=0.3"],
    "table5, scaled, labels": ["model.network=table5", "model.scaling=he", "model.appearance=label"],
    "plain": ["model.kind=plain"],
    "simultaneous, preconditioned": ["inference.order=simultaneous", "inference.preconditioner=gauss_newton"],
}


@pytest.mark.parametrize("settings", MODELS.values(), ids=MODELS)
def test_langevin_with_the_gradient_written_out(settings, rng):
    """With given labels, both exported samplers need no noise for them."""
    config = cells.portable(recipe.load(settings=TINY + settings))
    sampler = make_sampler(make_energy(randomised(make_model(config)), config), config, 2)
    model = sampler.energy.model
    if sampler.preconditioner is not None:
        bases = [rng.standard_normal((group.shape[0], group.shape[0])) for group in model.groups]
        sampler.preconditioner.update([base @ base.T for base in bases], [0.5] * len(bases))
    images = rng.random((2, 3, 16, 16), np.float32)
    start = tuple(z[0] for z in draw_noise(model, 1, 2, 0, "start"))
    noise = draw_noise(model, 2, 2, 1, "noise")
    expected, diagnostics = run_arrays(sampler, images, None, 0.5, start, noise)
    assert diagnostics.gradient.min() > 1e-3
    cells.fold(model)
    sampled = [own for own, group in zip(noise, model.groups) if group.sampled]
    exported = [AdjointLangevin(sampler, 0.5)]
    if len(sampled) < len(noise):
        exported.append(cells.Inference(make_sampler(make_energy(model, config), config, 2), 0.5))
    for cell in exported:
        for latents, own in zip(cell(*map(ms.Tensor, (images, *start, *sampled))), expected):
            np.testing.assert_allclose(latents.asnumpy(), own, atol=2e-6)


def test_warp_adjoint_with_clamped_borders(rng):
    warp = ReferenceWarp(6, 6)
    image, dout = (ms.Tensor(rng.random((2, 3, 6, 6), np.float32)) for _ in range(2))
    # a third of the pixels are sampled outside the image
    displacement = ms.Tensor(rng.uniform(-5, 5, (2, 2, 6, 6)).astype(np.float32))

    def weighted(image, displacement):
        return ops.reduce_sum(warp(image, displacement) * dout)

    expected = ms.grad(weighted, (0, 1))(image, displacement)
    adjoint = WarpAdjoint(warp)
    gradients = adjoint.to_image(displacement, dout), adjoint.to_displacement(image, displacement, dout)
    for a, b in zip(gradients, expected):
        np.testing.assert_allclose(a.asnumpy(), b.asnumpy(), atol=1e-5)
