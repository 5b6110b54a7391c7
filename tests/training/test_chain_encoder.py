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
from dgn.inference.energy import Energy
from dgn.nets.build import make_chain_encoder, make_model
from dgn.run_folder import RunFolder
from dgn.run_training import fit_encoder
from dgn.training import chain_encoder
from dgn.training.chain_encoder import (
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

    def __init__(self, groups) -> None:
        super().__init__()
        self.weights = ms.ParameterTuple([ms.Parameter(ms.Tensor(np.zeros((SIDE ** 2, g.shape[0]), np.float32)), g.name)
                                          for g in groups])

    @property
    def networks(self):
        return self

    def construct(self, x):
        flat = x.reshape(-1, SIDE ** 2)
        return ms.ops.matmul(flat, self.weights[0]), ms.ops.matmul(flat, self.weights[1])

    def refinements(self, x):
        return (self.construct(x),)


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
