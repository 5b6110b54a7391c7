"""Opens the images that a config describes."""

from __future__ import annotations

from pathlib import Path
from typing import Optional, Protocol, Union

import numpy as np

from dgn.config import Config, Data
from dgn.data import formats
from dgn.data.clips import ClipFolder
from dgn.data.cut import cut_of
from dgn.data.face_clips import CLIPS, FaceClips
from dgn.data.faces import FaceSource
from dgn.data.folder import reading_of
from dgn.data.images import ImageFolder
from dgn.data.records import RecordImages
from dgn.data.source import Source, Sources, Subset
from dgn.errors import UserError

FACES = 1000  # generated training faces without data.limit



class HasConfig(Protocol):
    """A run, as far as `images` needs it."""

    @property
    def config(self) -> Config:
        """The settings of the run."""


def open_sources(data: Data) -> Sources:
    """Training and held-out samples of a config. Raises UserError if there are too few."""
    if data.path is not None:
        return split(open_images(data, data.path), data)
    if data.frames:
        return split(generated_clips(data, (data.limit or CLIPS) + data.held_out), data)
    return split(generated_faces(data, (data.limit or FACES) + data.held_out), data)


def generated_faces(data: Data, count: int, seed: Optional[int] = None) -> FaceSource:
    """`count` generated faces of the config's population; another seed gives other people."""
    seed = data.seed if seed is None else seed
    return FaceSource(count, data.size, seed, grey=data.grey, population=data.population)


def generated_clips(data: Data, count: int, seed: Optional[int] = None) -> FaceClips:
    """`count` generated clips; another seed gives other people."""
    return FaceClips(count, data.frames, data.size, data.seed if seed is None else seed, data.grey)


def open_images(data: Data, path: str) -> Source:
    """All images of a folder, MindRecord file or official set, or all clips of a folder, cropped as the config says."""
    if data.frames:
        return ClipFolder(path, data.format, data.frames, cut_of(data), reading_of(data), data.resample)
    packed = path.endswith(".mindrecord")
    if data.pattern is not None and (packed or data.format != "images"):
        raise UserError(f"data.pattern selects files of a folder, and {path} is none")
    if data.format == "images" and (data.category is not None or data.split != "all"):
        raise UserError("data.category and data.split are for data.format mnist and cifar10")
    if data.format != "images":
        return formats.open_set(data.format, path, data.split, data.category, data.size, data.grey)
    if not packed:
        return ImageFolder(path, cut_of(data), reading_of(data))
    records = RecordImages(path)
    if records.shape != cut_of(data).shape:
        raise UserError(f"{path} holds images of {records.shape} (channels, height, width), the config asks for "
                        f"{cut_of(data).shape}; pack them again, or change data.size and data.grey")
    return records


def split(whole: Source, data: Data) -> Sources:
    """The last `held_out` samples for evaluation, the first `limit` of the others for training.

    If the source knows the people that its samples show, training samples of held-out people are dropped, so that
    unseen images show unseen people.
    """
    free = len(whole) - data.held_out
    if free < 1:
        raise UserError(f"{len(whole)} images with data.held_out = {data.held_out} leave none to train on")
    indices, people = np.arange(free), whole.people()
    if people is not None:
        held_out = set(people[free:])
        indices = np.array([index for index in indices if people[index] not in held_out], int)
        if not len(indices):
            raise UserError(f"data.held_out = {data.held_out}: the people of the held-out images are those of all "
                            "other images, so none are left to train on")
    train = Subset(whole, indices[:data.limit])
    return Sources(train, Subset(whole, np.arange(free, len(whole))) if data.held_out else None)


def images(path: Union[str, Path], like: HasConfig) -> Source:
    """The images (or clips) at `path`, cropped and resized as those of a run.

    path: a folder, MindRecord file or official set; like: a Run. `source.read(numpy.arange(n))` gives the first n as
    (n, C, H, W) float32 in [0, 1]. Raises UserError if there is nothing to read.
    """
    return open_images(like.config.data, str(Path(path).expanduser()))
