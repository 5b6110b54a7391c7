"""The encoder beside the chains, on a linear model, whose posterior is known in closed form."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from dgn import config as cfg
from dgn.checks.linear import LinearModel, linear_posterior
from dgn.data.source import Source
from dgn.errors import UserError
from dgn.inference.chains import as_tensors
from dgn.inference.energy import Energy
from dgn.nets.build import make_chain_encoder, make_model
from dgn.nets.encoder import ERROR_GAIN, ChainEncoder
from dgn.run_folder import RunFolder
from dgn.run_training import fit_encoder
from dgn.training import chain_encoder
from dgn.training.chain_encoder import (
    EncoderLoss,
    EncoderOptions,
    Pairs,
    augmented,
    load_chain_encoder,
    save_chain_encoder,
    train_encoder,
)

SIDE, SIGMA = 4, 0.5


class LinearImages(LinearModel):
    """The linear model with images (N, 1, 4, 4)."""

    def compose(self, outputs):
        return super().compose(outputs).reshape(-1, 1, SIDE, SIDE)

    def construct(self, *latents):
        return self.compose(tuple(self.branches[g](latents[g]) for g in range(2)))


class LinearEncoder(nn.Cell):
    """Images -> latents of both groups, by one matrix each."""

    def __init__(self, groups, channels: int = 1) -> None:
        super().__init__()
        self.inputs = channels * SIDE ** 2
        self.weights = ms.ParameterTuple([
            ms.Parameter(ms.Tensor(np.zeros((self.inputs, g.shape[0]), np.float32)), g.name) for g in groups])

    def set_maps(self, maps) -> None:
        """Sets the matrices of both groups, side by side in `maps`."""
        for weight, values in zip(self.weights, np.split(maps.astype(np.float32), [self.weights[0].shape[1]], 1)):
            weight.set_data(ms.Tensor(values))

    @property
    def networks(self):
        return self

    def construct(self, x):
        flat = x.reshape(-1, self.inputs)
        return ms.ops.matmul(flat, self.weights[0]), ms.ops.matmul(flat, self.weights[1])

    def refinements(self, x):
        return (self.construct(x),)


class Warped(LinearModel):
    """As a model with a warp: images, and as their appearances the output of the first branch."""

    branch_names = ("appearance", "geometry")

    def construct(self, z_app, z_geo):
        appearance, shape = self.branches[0](z_app), (-1, 1, SIDE, SIDE)
        return (appearance + self.branches[1](z_geo)).reshape(shape), appearance.reshape(shape)


class Images(Source):
    def __init__(self, images: np.ndarray) -> None:
        self.images, self.shape = images, images.shape[1:]

    def __len__(self) -> int:
        return len(self.images)

    def read(self, indices: np.ndarray) -> np.ndarray:
        return self.images[indices]


def test_the_encoder_comes_to_give_the_mean_of_the_posterior(rng, monkeypatch):
    # these images have no colors, and are not moved
    monkeypatch.setattr(chain_encoder, "augmented", lambda images, rng: images)
    a, b = 0.4 * rng.standard_normal((2, SIDE ** 2)), 0.4 * rng.standard_normal((1, SIDE ** 2))
    model = LinearImages(a, b)
    images = (rng.standard_normal((80, 3)) @ np.concatenate([a, b]) + SIGMA * rng.standard_normal((80, SIDE ** 2)))
    mean, covariance = linear_posterior(a, b, images.T, SIGMA)
    images, mean = images.reshape(-1, 1, SIDE, SIDE).astype(np.float32), mean.T.astype(np.float32)
    encoder, energies = LinearEncoder(model.groups), []
    pairs = Pairs(images[:60], (mean[:60, :2], mean[:60, 2:]))
    train_encoder(encoder, Energy(model), SIGMA, Images(images[:60]), pairs, EncoderOptions(steps=500, batch_size=40,
                  learning_rate=0.02), lambda step, energy: energies.append(energy))
    assert len(energies) == 500 and energies[-1] < 0.7 * energies[0]
    encoded = np.concatenate([z.asnumpy() for z in encoder(ms.Tensor(images[60:]))], 1)
    error = np.square(encoded - mean[60:]).mean() / np.square(mean[60:]).mean()
    assert error < 0.02 < 0.3 * covariance.trace()  # far below the posterior's own spread


def test_the_loss_is_that_of_known_latents_and_of_the_energy(rng):
    """The first two of three images have known latents; the targets of the third do not count."""
    a, b, x = 0.4 * rng.standard_normal((2, SIDE ** 2)), 0.4 * rng.standard_normal((1, SIDE ** 2)), rng.random((3, 16))
    model, known, maps = LinearImages(a, b), np.array([1, 1, 0]), 0.3 * rng.standard_normal((SIDE ** 2, 3))
    encoder, targets = LinearEncoder(model.groups), rng.standard_normal((3, 3))
    encoder.set_maps(maps)
    inputs = x.reshape(-1, 1, SIDE, SIDE), SIGMA, [0.7, 0.2], known, targets[:, :2], targets[:, 2:]
    loss, energies, errors = (value.asnumpy() for value in EncoderLoss(encoder, Energy(model), 3)(
        *as_tensors([np.float32(value) for value in inputs])))
    z = x @ maps
    energy = np.square(x - z @ np.concatenate([a, b])).sum(1) / (2 * SIGMA ** 2) + np.square(z).sum(1) / 2
    squared = np.square(z - targets).sum(1)
    np.testing.assert_allclose(energies, energy, rtol=1e-4)
    np.testing.assert_allclose(errors, squared, rtol=1e-4)
    assert loss == pytest.approx(0.7 * (known * squared).mean() + 0.2 * energy.mean(), rel=1e-4)


def test_latents_are_refined_by_the_error_and_the_appearance(rng):
    a, b, x = 0.4 * rng.standard_normal((2, SIDE ** 2)), 0.4 * rng.standard_normal((1, SIDE ** 2)), rng.random((3, 16))
    model, maps = Warped(a, b), [0.3 * rng.standard_normal((channels * SIDE ** 2, 3)) for channels in (1, 3)]
    networks = [LinearEncoder(model.groups, channels) for channels in (1, 3)]
    for network, own in zip(networks, maps):
        network.set_maps(own)
    found = ChainEncoder(model, networks, 1)(ms.Tensor(np.float32(x.reshape(-1, 1, SIDE, SIDE))))
    z = x @ maps[0]
    z = z + np.concatenate([x, ERROR_GAIN * (x - z @ np.concatenate([a, b])), z[:, :2] @ a], 1) @ maps[1]
    np.testing.assert_allclose(np.concatenate([part.asnumpy() for part in found], 1), z, rtol=1e-3, atol=1e-4)


def test_generated_images_have_the_residuals_of_training_images(rng):
    a, b, z = 0.4 * rng.standard_normal((2, SIDE ** 2)), 0.4 * rng.standard_normal((1, SIDE ** 2)), rng.random((6, 3))
    images = rng.random((6, SIDE ** 2))
    pairs = Pairs(np.float32(images.reshape(-1, 1, SIDE, SIDE)), (np.float32(z[:, :2]), np.float32(z[:, 2:])))
    batches = chain_encoder._batches(LinearImages(a, b), Images(pairs.images), pairs, 8, EncoderOptions(steps=2))
    for x, known, latents in batches:
        assert known.tolist() == [1] * 6 + [0] * 2  # four are generated, two of the pairs
        added = x.reshape(8, -1)[:4] - np.concatenate(latents, 1)[:4] @ np.concatenate([a, b])
        distances = np.abs(added[:, None] - (images - z @ np.concatenate([a, b]))).max(2)
        np.testing.assert_allclose(distances.min(1), 0, atol=1e-5)


def test_images_are_changed_by_little(rng):
    images = np.zeros((200, 3, 64, 64), np.float32)
    images[:, :, 20, 40] = 0.5
    result = augmented(images, rng)
    samples, channels, rows, columns = np.nonzero(result)
    assert np.abs(rows - 20).max() == chain_encoder.SHIFT
    mirrored = columns < 32
    assert np.abs(np.where(mirrored, 63 - columns, columns) - 40).max() == chain_encoder.SHIFT
    assert 0.4 < mirrored.mean() < 0.6
    peaks = result.max((2, 3))
    assert 0.5 * (1 - chain_encoder.GAIN) <= peaks.min() < 0.47 and 0.53 < peaks.max() <= 0.5 * (1 + chain_encoder.GAIN)


def test_an_encoder_is_kept_for_its_weights_alone(tmp_path, caplog):
    config = cfg.changed(cfg.Config(), data={"size": 16}, model={"width": 8, "z_app": 4, "z_geo": 3})
    folder, model = RunFolder.create(tmp_path / "run", config), make_model(config)
    saved = folder.checkpoints / "epoch_00001"
    saved.mkdir(parents=True)
    (saved / "manifest.json").write_text('{"weights.ckpt": "one"}')
    assert load_chain_encoder(folder, model, saved) is None
    encoder = make_chain_encoder(cfg.changed(config, training={"seed": 9}), model)
    save_chain_encoder(folder.path, saved, encoder, {"steps": 5})
    loaded = load_chain_encoder(folder, model, saved)
    for own, again in zip(encoder.networks.get_parameters(), loaded.networks.get_parameters()):
        np.testing.assert_array_equal(own.asnumpy(), again.asnumpy())
    assert [[tuple(head.bias.shape) for head in network.heads] for network in loaded.networks] == 2 * [[(4,), (3,)]]
    assert not caplog.text
    whole = (folder.path / chain_encoder.FOLDER / chain_encoder.FILE).stat().st_size
    half = save_chain_encoder(folder.path, saved, encoder, {}, half=True)  # as it is packaged
    assert half.stat().st_size < 0.6 * whole
    loaded = load_chain_encoder(folder, model, saved)
    for own, again in zip(encoder.networks.get_parameters(), loaded.networks.get_parameters()):
        np.testing.assert_allclose(own.asnumpy(), again.asnumpy(), rtol=1e-3, atol=1e-6)
    for manifest in ('{"weights.ckpt": "another"}', '{"weights.ckpt": "one", "axes.npz": "made later"}'):
        (saved / "manifest.json").write_text(manifest)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert load_chain_encoder(folder, model, saved) is None
        assert "dgn encoder" in caplog.text and "other weights" in caplog.text


@pytest.mark.parametrize("frames, encoder, checkpoint, output, message", [
    (3, None, "c", "run", "run on clips"), (0, object(), "c", "run", "VAE"), (0, None, None, "run", "checkpoint"),
    (0, None, "c", "elsewhere", "packaged")])
def test_runs_that_take_no_encoder_are_named(frames, encoder, checkpoint, output, message):
    run = SimpleNamespace(config=cfg.changed(cfg.Config(), data={"frames": frames}), encoder=encoder,
                          checkpoint=checkpoint, folder=SimpleNamespace(path="run", output=output))
    with pytest.raises(UserError, match=message):
        fit_encoder(run)
