"""Opens the images that a config describes."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from dgn.config import CLIP_FORMATS, Data
from dgn.data import formats
from dgn.data.clips import ClipFolder
from dgn.data.cut import cut_of
from dgn.data.decoding import quick_size
from dgn.data.face_clips import CLIPS, FaceClips
from dgn.data.face_factors import EXPRESSIONS
from dgn.data.faces import FACES_OF_A_PERSON, FaceSource
from dgn.data.folder import Folder, Reading, reading_of
from dgn.data.images import ImageFolder
from dgn.data.records import RecordImages
from dgn.data.source import Mirrored, Source, Sources, Subset, originals, same_samples
from dgn.errors import UserError, listed
from dgn.files import check_outside, check_utf8

log = logging.getLogger(__name__)

FACES = 1000  # generated training faces without data.limit
SMALL_CROP = 0.15  # share of an image below which a crop may be meant for smaller images


def open_sources(data: Data, held_out: Sequence[str] | None = None, trained: Sequence[str] | None = None,
                 identity: Callable[[], str | None] | None = None) -> Sources:
    """Training and held-out samples of a config.

    held_out, trained: names of the files of an existing run, as far as it has recorded them. Held-out files may be
    missing, and other files are not used: the training samples are the same. identity: of an existing run, returns the
    recorded identity of its training samples; see split. Raises UserError if there are too few samples, or a file that
    was trained on is missing.
    """
    if data.path is not None:
        check_utf8(data.path)
        if not Path(data.path).exists():
            raise UserError(f"data.path is {data.path}: no such folder or file; if it was moved, give its new path "
                            "with --data")
        return split(open_images(data, data.path, _recorded(data, held_out, trained)), data, held_out, trained,
                     identity)
    for key, used in (("pattern", data.pattern is not None), ("mirror", data.mirror), ("crop", data.crop is not None),
                      ("category", data.category is not None), ("split", data.split != "all"),
                      ("format", data.format != "images")):
        if used:
            raise UserError(f"data.{key} is {getattr(data, key)}, which is for files, and data.path is not set; give "
                            "them with --data")
    if data.frames:
        return split(generated_clips(data, whole_people(data.limit or CLIPS, len(EXPRESSIONS)) + data.held_out), data)
    each = FACES_OF_A_PERSON if data.population == "expressions" else 1
    return split(generated_faces(data, whole_people(data.limit or FACES, each) + data.held_out), data)


def _recorded(data: Data, held_out: Sequence[str] | None, trained: Sequence[str] | None) -> Reading:
    """How the files of a run are read. With data.corrupt=skip, recorded files alone are opened, and of these only the
    held-out files are decoded: it would take minutes for all files of a large folder."""
    reading = reading_of(data)
    if data.corrupt == "error" or trained is None or held_out is None and data.held_out:
        return reading
    return dataclasses.replace(reading, only_names=frozenset([*trained, *(held_out or ())]),
                               known_usable=frozenset(trained))


def whole_people(count: int, each: int) -> int:
    """`count` rounded up to complete people with `each` samples, so that held-out samples are of other people."""
    return -(-count // each) * each


def check_output(output: Path, data: Data) -> None:
    """Raises UserError if an output folder lies in the folder of images or clips of a config; see check_outside."""
    if data.format in ("images", *CLIP_FORMATS):
        check_outside(output, data.path)


def check_sources(sources: Sources, data: Data) -> None:
    """Checks all files of a training before it starts: held-out samples are decoded; for training samples at least the
    headers are read. Warns of images that are enlarged, and of a crop that takes little of the first image; logs if
    data.limit leaves images out.

    Raises UserError, which names files, if some cannot be used.
    """
    checks = [sources.train.check(sources.train.indices(), False)]
    if sources.held_out is not None:
        checks.append(sources.held_out.check(sources.held_out.indices(), True))
    train = originals(sources.train)  # counts each file once
    total = len(train) + len(sources.held_out or ())
    unusable = [file for check in checks for file in check.unusable]
    _refuse(unusable, total, "Replace or remove them, or leave such files out with data.corrupt=skip"
            if data.corrupt == "error" else "Restore them: the run was trained on them")
    small = sum(check.small for check in checks)
    if small:
        log.warning("%d of %d images are smaller than %d x %d pixels and are enlarged", small, total,
                    *sources.train.shape[-2:])
    _warn_of_small_crop(train, data)
    available = len(train.source) if data.path and isinstance(train, Subset) else 0
    if data.limit == len(train) < available - len(sources.held_out or ()):
        log.info("data.limit: the first %s of %s samples are used; null takes all", f"{data.limit:,}", f"{available:,}")


def _warn_of_small_crop(source: Source, data: Data) -> None:
    """Warns if data.crop takes so little of the first image that it may be meant for smaller images."""
    paths = source.paths(source.indices(1))
    if data.crop is None or data.frames or not paths or (size := quick_size(paths[0])) is None:
        return
    (left, top, right, bottom), (height, width) = data.crop, size
    share = (right - left) * (bottom - top) / (height * width)
    if share < SMALL_CROP:
        log.warning("data.crop takes %.0f %% of an image of %d x %d pixels (width x height): is it for images of "
                    "another size? figures/data.png shows the crops", 100 * share, width, height)


def _refuse(unusable: Sequence[tuple[str, str]], total: int, advice: str) -> None:
    """Raises UserError naming files that cannot be used, if there are any. advice: what to do, for the message."""
    if not unusable:
        return
    if len(unusable) == total:
        raise UserError("none of the {} files can be used; the first one, {}: {}".format(total, *unusable[0]))
    reasons = listed([f"{path}: {reason}" for path, reason in unusable], "; ", "; and ")
    raise UserError(f"{len(unusable)} of {total} files cannot be used: {reasons}. {advice}")


def described(data: Data, sources: Sources) -> str:
    """Number, size and origin of the samples, the number of held-out samples, and the part that fits into the cache if
    not all do, as text."""
    kind = "clips" if data.frames else "images" if data.path else "faces"
    shape, people = sources.train.shape, sources.train.people()
    size = f"{shape[-1]} x {shape[-2]} pixels, {'greyscale' if shape[-3] == 1 else 'colour'}"
    size += f", {data.frames} frames" if data.frames else ""
    kind += " (half of them mirrored)" if data.mirror else ""
    known = f", {count:,} {'person' if count == 1 else 'people'}" if (count := len(set(people or ()))) else ""
    return (f"{len(sources.train):,} {kind} to train on{known}, {len(sources.held_out or ()):,} held out, "
            f"{f'from {data.path}' if data.path else 'generated'}; {size}{_cached_part(sources)}")


def _cached_part(sources: Sources) -> str:
    """The part of a folder's samples that the cache holds, as text; empty if it holds all."""
    train = originals(sources.train)
    folder = train.source if isinstance(train, Subset) else train
    if not isinstance(folder, Folder):
        return ""
    needed = (len(train) + len(sources.held_out or ())) * folder.sample_bytes
    if needed <= folder.cache_bytes:
        return ""
    kind = "clips" if len(folder.shape) == 4 else "images"
    return (f"; {100 * folder.cache_bytes / needed:.0f} % of the {kind} fit into data.cache_mb; all need "
            f"{math.ceil(needed / 2 ** 20):,}")


def generated_faces(data: Data, count: int, seed: int | None = None) -> FaceSource:
    """`count` generated faces of the config's population. seed: another seed gives other people."""
    seed = data.seed if seed is None else seed
    return FaceSource(count, data.size, seed, grey=data.grey, population=data.population)


def generated_clips(data: Data, count: int, seed: int | None = None, chosen: np.ndarray | None = None) -> FaceClips:
    """`count` generated clips; another seed gives other people. chosen: only these frames of each clip."""
    return FaceClips(count, data.frames, data.size, data.seed if seed is None else seed, data.grey,
                     data.changing_light, chosen)


def open_images(data: Data, path: str, reading: Reading | None = None) -> Source:
    """All images of a folder, MindRecord file or official dataset, or all clips of a folder, with the config's crop.
    reading: of a folder (default: as in the config)."""
    reading = reading or reading_of(data)
    if data.frames:
        return ClipFolder(path, data.format, data.frames, cut_of(data), reading, data.resample)
    packed = path.endswith(".mindrecord")
    if data.pattern is not None and (packed or data.format != "images"):
        raise UserError(f"data.pattern selects files of a folder, but {path} is no folder of images")
    if data.format == "images" and (data.category is not None or data.split != "all"):
        raise UserError("data.category and data.split are for data.format mnist and cifar10")
    if data.format != "images":
        if data.crop is not None:
            raise UserError(f"data.crop is {list(data.crop)}, but images of {data.format} are not cropped")
        return formats.open_set(data.format, path, data.split, data.category, data.size, data.grey)
    if not packed:
        return ImageFolder(path, cut_of(data), reading)
    records = RecordImages(path)
    if records.shape != cut_of(data).shape:
        raise UserError(f"{path} holds images of {records.shape} (channels, height, width), but the config has "
                        f"{cut_of(data).shape}; pack them again, or change data.size and data.grey")
    return records


def open_new_images(data: Data, path: str, corrupt: str = "error") -> Source:
    """All images or clips at `path`, which are not data of the run: `open_images` without data.pattern, which selects
    files in the folder of the training, and with another data.corrupt."""
    return open_images(dataclasses.replace(data, pattern=None, corrupt=corrupt), path)


def check_new_images(source: Source) -> None:
    """Decodes all images of `open_new_images`. Raises UserError, which names files that cannot be used."""
    _refuse(source.check(source.indices(), True).unusable, len(source),
            'Replace or remove them, or leave such files out with --corrupt skip (dgn.images: corrupt="skip")')


def split(whole: Source, data: Data, held_out: Sequence[str] | None = None,
          trained: Sequence[str] | None = None, identity: Callable[[], str | None] | None = None) -> Sources:
    """Splits samples: the last `data.held_out` (or the samples named `held_out`) are for evaluation, the first
    `data.limit` of the others (or the samples named `trained`) for training.

    If the source knows the people in its samples, training samples of held-out people are dropped, so that unseen
    images show unseen people. A run trained before its people were known keeps its samples; identity() returns the
    identity that it recorded. With data.mirror, mirror images of the training samples are added at the end.
    """
    samples, names = whole.indices(), set(held_out or ())
    files = whole.files(samples)
    if held_out is None or files is None:
        unseen = samples >= len(whole) - data.held_out
    else:
        unseen = np.array([file in names for file in files])
    if trained is not None and files is not None:
        indices = _indices(trained, files, dict(whole.skipped) if isinstance(whole, Folder) else {}, data.path)
        unseen[indices] = False
        return _sources(whole, indices, unseen, data)
    if unseen.all():
        raise UserError(f"{len(whole)} {'clips' if data.frames else 'images'}, and data.held_out = {data.held_out} of "
                        "them are held out for evaluation: none are left for training; lower data.held_out (0: no "
                        "evaluation)")
    indices, people = samples[~unseen], whole.people()
    if people is not None:
        other_people = {people[index] for index in samples[unseen]} | set(whole.people(list(names)) or ())
        everyone, indices = indices, np.array([index for index in indices if people[index] not in other_people], int)
        if identity and len(indices) < len(everyone) and (recorded := identity()) is not None:
            sources = _sources(whole, everyone[:data.limit], unseen, data)
            if same_samples(sources.train, recorded):
                log.warning("%d of the samples that the run was trained on show people of held-out samples, whom it "
                            "did not know as such: it keeps its samples", len(everyone) - len(indices))
                return sources
        if not len(indices):
            raise UserError(f"data.held_out = {data.held_out}: every other image shows a person of the held-out "
                            "images, so no training image is left; people come from identity.txt, or for clips from "
                            "names class/person_...")
        if len(indices) < len(everyone):
            log.info("%d of %d samples show people of held-out samples and are not used for training",
                     len(everyone) - len(indices), len(samples))
    if held_out is None and files is not None:
        _say_unseen_folders([files[k] for k in indices[:data.limit]], [files[k] for k in samples[unseen]])
    return _sources(whole, indices[:data.limit], unseen, data)


def _sources(whole: Source, trained: np.ndarray, unseen: np.ndarray, data: Data) -> Sources:
    train, held_out = Subset(whole, trained), np.flatnonzero(unseen)
    return Sources(Mirrored(train) if data.mirror else train, Subset(whole, held_out) if len(held_out) else None)


def _indices(trained: Sequence[str], files: Sequence[str], skipped: Mapping[str, str],
             path: str | None) -> np.ndarray:
    """Indices of the files that a run was trained on. skipped: reasons why files were left out, by name. Raises
    UserError if some files are missing, or were left out."""
    index_of = {file: index for index, file in enumerate(files)}
    missing = [file for file in trained if file not in index_of]
    unreadable = [f"{file} ({skipped[file]})" for file in missing if file in skipped]
    if unreadable:
        raise UserError(f"{len(unreadable)} of the {len(trained)} files in {path} that the run was trained on cannot "
                        f"be read: {listed(unreadable)}; restore them, or put readable files under these names")
    if missing:
        raise UserError(f"{len(missing)} of the {len(trained)} files that the run was trained on are not in {path}: "
                        f"{listed(missing)}; restore them, or train a new run")
    return np.array([index_of[file] for file in trained], np.int64)


def _say_unseen_folders(trained: Sequence[str], held_out: Sequence[str]) -> None:
    """Logs the folders whose files are all held out. Held-out files are the last by name; with one folder per class,
    whole classes may be held out."""
    of_trained, of_held_out = ({str(PurePosixPath(name).parent) for name in names} for names in (trained, held_out))
    unseen = sorted(of_held_out - of_trained)
    if unseen:
        log.info("all samples in %s are held out, none is trained on", listed(unseen))
