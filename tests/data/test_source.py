"""Order and batches: every sample is used, the next batch is prefetched, errors are raised with their batch."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from dgn import recipe
from dgn.data.arrays import checked_images
from dgn.data.source import Check, Mirrored, Source, Subset
from dgn.distributed import ProcessGroup
from dgn.errors import UserError
from dgn.evaluation.uncertainty import clusters
from dgn.nets.model import LatentGroup
from dgn.randomness import generator
from dgn.training.batches import batches, epoch_order, order_of_epoch, prefetch
from dgn.training.build import TrainingState
from dgn.training.checkpoint import Position


def draw(*shard: int) -> np.random.Generator:
    return generator(1, "order", 0, *shard)


class Numbers(Source):
    shape = (1,)

    def __init__(self, count):
        self.count, self.asked = count, []

    def __len__(self):
        return self.count

    def read(self, indices):
        self.asked.append(list(indices))
        if 13 in indices:
            raise UserError("13 is corrupt")
        return np.asarray(indices, np.float32)[:, None]


@pytest.mark.parametrize("count, size", [(12, 4), (10, 4), (3, 3), (7, 5)])
def test_every_sample_is_in_batches_of_one_size(count, size):
    order = epoch_order(count, size, draw)
    assert all(len(batch) == size for batch in order) and len(order) == -(-count // size)
    assert set(np.concatenate(order)) == set(range(count))
    again = epoch_order(count, size, draw)
    assert all((a == b).all() for a, b in zip(order, again))


def test_batches_come_in_order_with_the_next_one_read_ahead():
    source = Numbers(9)
    order = [np.array([3, 1]), np.array([0, 8]), np.array([5, 5])]
    seen = []
    for number, x in prefetch(lambda number, indices: (number, source.read(indices)), order):
        assert number == len(seen)
        seen.append(x[:, 0].tolist())
    assert seen == [[3, 1], [0, 8], [5, 5]] == source.asked


def test_a_batch_has_the_sigma_the_learning_rate_and_the_noise_of_its_place():
    config = recipe.load(None, ["inference.sigma=[[0, 2.0], [3, 1.0]]", "training.learning_rate=[[0, 0.1], [3, 0.01]]",
                                "training.batch_size=2"])
    trainer = SimpleNamespace(model=SimpleNamespace(groups=(LatentGroup("z", (3,)),)), draws=1)
    state, noise, orders = TrainingState(trainer, None, Numbers(8), ProcessGroup()), set(), set()
    for epoch, sigma, rate in ((2, 2.0, 0.1), (3, 1.0, 0.01)):
        order = order_of_epoch(config.training, state, epoch)
        given = [batch for _, batch in batches(config, state, order, Position(epoch, 1))]  # the first batch is done
        assert [batch.x[:, 0].tolist() for batch in given] == order[1:].tolist()
        assert {(batch.sigma, batch.learning_rate) for batch in given} == {(sigma, rate)}
        assert [batch.iteration for batch in given] == [4 * epoch + step for step in (1, 2, 3)]
        noise.update(value for batch in given for value in batch.noise[0].ravel().tolist())
        orders.add(tuple(order.ravel()))
    assert len(noise) == 2 * 3 * 2 * 3 and len(orders) == 2  # of epochs, batches, samples, dimensions


def test_an_error_arrives_with_its_batch():
    source = Numbers(20)
    stream = prefetch(lambda _, indices: source.read(indices), [np.array([1]), np.array([13])])
    assert next(stream) == 1
    with pytest.raises(UserError, match="13 is corrupt"):
        next(stream)


def test_a_subset_reads_its_own_indices():
    subset = Subset(Numbers(10), [7, 2, 9])
    assert len(subset) == 3 and subset.read(np.array([2, 0]))[:, 0].tolist() == [9, 7]


class Clips(Source):
    """Two clips of 3 and 1 frames, of images of 2 x 3 pixels."""

    shape = (3, 1, 2, 3)
    values = np.arange(36, dtype=np.float32).reshape(2, 3, 1, 2, 3)

    def __len__(self):
        return 2

    def read(self, indices):
        return self.values[indices]

    def mask(self, indices):
        return np.array([[1, 1, 1], [1, 0, 0]], np.float32)[indices]

    def name(self, index):
        return f"clip {index}"

    def identity(self):
        return "two clips"

    def files(self, indices):
        return [self.name(int(index)) for index in indices]

    def check(self, indices, decode):
        return Check([(self.name(int(index)), "unusable") for index in indices], len(indices))

    def labels(self, indices):
        return np.array([7, 8])[indices]

    def people(self, names=None):
        return ["Ann", "Bob"] if names is None else [f"person of {name}" for name in names]


def test_clusters_are_people_or_samples(monkeypatch):
    mirrored = Mirrored(Clips())
    assert clusters(Clips(), np.array([1])).tolist() == ["Bob"]
    assert clusters(mirrored, np.arange(4)).tolist() == ["Ann", "Bob"] * 2
    monkeypatch.setattr(Clips, "people", Source.people)  # not known
    assert clusters(Clips(), np.array([1])).tolist() == [1]
    assert clusters(mirrored, np.arange(4)).tolist() == [0, 1, 0, 1]  # twins depend on each other


def test_mirror_images_follow_the_samples():
    source, mirrored = Clips(), Mirrored(Clips())
    everyone = mirrored.indices()
    assert (len(mirrored), mirrored.shape) == (4, source.shape) and everyone.tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(mirrored.read(everyone), np.concatenate([source.values, np.flip(source.values, -1)]))
    np.testing.assert_array_equal(mirrored.read(np.array([3, 0]))[0, 0, 0], [[20, 19, 18], [23, 22, 21]])
    np.testing.assert_array_equal(mirrored.mask(np.array([3, 2])), [[1, 0, 0], [1, 1, 1]])
    assert mirrored.labels(everyone).tolist() == [7, 8, 7, 8] and mirrored.people() == ["Ann", "Bob"] * 2
    assert mirrored.people(["x"]) == ["person of x"]
    assert [mirrored.name(k) for k in (1, 3)] == ["clip 1", "clip 1, mirrored"]
    assert mirrored.files(np.array([1, 3])) == ["clip 1", "clip 1"] and mirrored.identity() != source.identity()
    assert mirrored.check(everyone, True) == Check([("clip 0", "unusable"), ("clip 1", "unusable")], 2)  # once each


def test_random_numbers_depend_on_purpose_and_place_only():
    def draw(*key):
        return generator(*key).standard_normal(3)
    np.testing.assert_array_equal(draw(1, "noise", 3, 0), draw(1, "noise", 3, 0))
    keys = [(1, "noise", 3, 0), (1, "noise", 0, 3), (1, "order", 3, 0), (2, "noise", 3, 0), (1, "noise", 3)]
    assert len({tuple(draw(*key)) for key in keys}) == len(keys)


def test_clips_of_another_length_are_sent_to_what_opens_them():
    with pytest.raises(UserError, match=r"must be an array \(N, 16, 3, 8, 8\).* opens a folder of clips, also shorter"):
        checked_images(np.zeros((2, 8, 3, 8, 8), np.float32), (16, 3, 8, 8))
