"""Official files of MNIST and CIFAR-10, written here as their pages describe them."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

from dgn import recipe
from dgn.config import Data
from dgn.data import formats
from dgn.data.open import open_sources
from dgn.errors import UserError
from dgn.inference.latents import given_latents
from dgn.nets.build import make_model


def write_mnist(folder, part: str, digits: np.ndarray, labels: np.ndarray, packed: bool) -> None:
    folder.mkdir(exist_ok=True)
    opened, end = (gzip.open, ".gz") if packed else (open, "")
    with opened(folder / f"{part}-images-idx3-ubyte{end}", "wb") as file:
        file.write(struct.pack(">iiii", 2051, *digits.shape) + digits.tobytes())
    with opened(folder / f"{part}-labels-idx1-ubyte{end}", "wb") as file:
        file.write(struct.pack(">ii", 2049, len(labels)) + labels.astype(np.uint8).tobytes())


@pytest.mark.parametrize("packed", [False, True])
def test_mnist(tmp_path, rng, packed):
    digits, labels = rng.integers(0, 256, (6, 28, 28)).astype(np.uint8), np.array([3, 1, 3, 0, 9, 3])
    write_mnist(tmp_path / "mnist", "t10k", digits, labels, packed)
    found = formats.open_set("mnist", str(tmp_path / "mnist"), "test", None, 32, grey=True)
    assert found.shape == (1, 32, 32) and len(found) == 6
    images = found.read(np.arange(6))
    np.testing.assert_array_equal(np.rint(255 * images[:, 0, 2:-2, 2:-2]), digits)
    assert images[:, :, :2].max() == 0 and found.labels(np.array([4, 0])).tolist() == [9, 3]
    threes = formats.open_set("mnist", str(tmp_path / "mnist"), "test", "3", 32, grey=True)
    np.testing.assert_array_equal(threes.read(np.arange(3)), images[[0, 2, 5]])


def test_cifar10(tmp_path, rng):
    pixels, labels = rng.integers(0, 256, (10_000, 3, 32, 32), np.uint8), np.full(10_000, 9, np.uint8)
    labels[:5] = 1, 0, 1, 9, 1
    rows = np.concatenate([labels[:, None], pixels.reshape(10_000, -1)], 1)
    (tmp_path / "data_batch_1.bin").write_bytes(rows.tobytes())
    found = formats.open_set("cifar10", str(tmp_path), "train", "automobile", 32, grey=False)
    assert found.labels(np.arange(3)).tolist() == [1, 1, 1]
    np.testing.assert_array_equal(np.rint(255 * found.read(np.arange(3))), pixels[[0, 2, 4]])


def test_mistakes_are_named(tmp_path, rng):
    with pytest.raises(UserError, match="no mnist files.*train-images-idx3-ubyte"):
        formats.open_set("mnist", str(tmp_path), "all", None, 32, True)
    with pytest.raises(UserError, match="data.category is 'car'; cifar10 has airplane, automobile"):
        formats.open_set("cifar10", str(tmp_path), "all", "car", 32, False)
    write_mnist(tmp_path / "short", "t10k", rng.integers(0, 256, (6, 28, 28)).astype(np.uint8), np.arange(6), False)
    images = tmp_path / "short" / "t10k-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:-100])
    with pytest.raises(UserError, match="short: mnist, split test, cannot be read: Invalid"):
        formats.open_set("mnist", str(tmp_path / "short"), "test", None, 32, True)
    (tmp_path / "bad").mkdir()
    for content in (b"no gzip", gzip.compress(b"\0\0\x08"), gzip.compress(bytes(5000))[:-20]):
        (tmp_path / "bad" / "t10k-images-idx3-ubyte.gz").write_bytes(content)
        with pytest.raises(UserError, match="cannot be unpacked"):
            formats.open_set("mnist", str(tmp_path / "bad"), "test", None, 32, True)


def test_a_packed_file_is_not_unpacked_beyond_the_size_in_its_header(tmp_path):
    name, header = "t10k-labels-idx1-ubyte", struct.pack(">ii", 2049, 6)
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(header + bytes(10_000_000)))
    (tmp_path / "scratch").mkdir()
    assert (formats._unpacked(tmp_path, tmp_path / "scratch") / name).read_bytes() == header + bytes(7)


def test_labels_are_the_given_appearance(tmp_path, rng):
    digits, labels = rng.integers(0, 256, (6, 28, 28)).astype(np.uint8), np.array([3, 1, 3, 0, 9, 3])
    write_mnist(tmp_path, "t10k", digits, labels, False)
    data = [f"data.path={tmp_path}", "data.format=mnist", "data.size=32", "data.grey=true", "data.held_out=2"]
    config = recipe.load(None, [*data, "model.appearance=label", "model.z_app=10", "model.width=8"])
    sources = open_sources(config.data)
    model = make_model(config)
    given = given_latents(model.groups, sources.held_out)["z_app"]
    np.testing.assert_array_equal(given, np.eye(10)[[9, 3]])
    for wrong in (5, 12):  # with more dimensions than labels, some would never be trained
        other = make_model(recipe.load(None, [*data, "model.appearance=label", f"model.z_app={wrong}"]))
        with pytest.raises(UserError, match=f"model.z_app is {wrong}; .* the number of labels, 10"):
            given_latents(other.groups, sources.held_out)
    with pytest.raises(UserError, match="no labels"):
        given_latents(model.groups, open_sources(Data(size=16)).train)
