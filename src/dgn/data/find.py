"""Finds the files of a dataset in a folder and its subfolders."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from dgn.errors import NAMED, UserError, listed
from dgn.files import check_utf8, escaped, is_utf8

log = logging.getLogger(__name__)

# files that often accompany images and are not counted as left out
_COMPANIONS = (".csv", ".db", ".html", ".json", ".log", ".mat", ".md", ".npy", ".npz", ".pts", ".py", ".tsv", ".txt",
               ".xml", ".yaml", ".yml")
_SPLITS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval"}


def find_files(folder: Path, extensions: Sequence[str], what: str, skip_unnamed: bool = False) -> list[str]:
    """The files below a folder with one of `extensions`, as sorted relative paths with forward slashes.

    Links to folders are followed, each folder once; names that start with a dot are ignored. The number of files with
    other extensions is logged. Names must be UTF-8; with skip_unnamed other names are left out and logged. Raises
    UserError if there are no files ("no `what`"), or if a name is not UTF-8.
    """
    check_utf8(folder)
    if not folder.exists():
        raise UserError(f"{folder}: no such folder")
    if not folder.is_dir():
        raise UserError(f"{folder} is a file, not a folder")
    files = [prefix + name for prefix, names in _walk(folder) for name in names if not name.startswith(".")]
    wanted = [name for name in files if name.lower().endswith(tuple(extensions))]
    others = Counter(PurePosixPath(name).suffix.lower() for name in set(files) - set(wanted))
    for companion in _COMPANIONS:
        others.pop(companion, None)
    if unnamed := [name for name in wanted if not is_utf8(name)]:
        examples = listed([escaped(name) for name in unnamed])
        if not skip_unnamed:
            raise UserError(f"{folder}: {examples}: the name is not UTF-8; rename it, or leave such files out of a "
                            "training with data.corrupt=skip")
        log.warning("left out: %s: %s: the name is not UTF-8", folder, examples)
    names = sorted(set(wanted) - set(unnamed))
    if not names:
        raise UserError(f"{folder}: no {what}" + (f"; left out: {_kinds(others)}" if others else ""))
    if others:
        count = sum(others.values())
        left_out = "1 file of another kind" if count == 1 else f"{count} files of other kinds"
        log.warning("%s: %s left out: %s", folder, left_out, _kinds(others))
    return names


def matching(names: list[str], pattern: str | None, folder: Path) -> list[str]:
    """The names whose path, or its last part, matches the pattern; None selects all. Raises UserError if none match."""
    if pattern is None:
        return names
    matches = [name for name in names if PurePosixPath(name).match(pattern)]
    if not matches:
        raise UserError(f"{folder}: none of its {len(names)} images or clips matches data.pattern = {pattern!r}")
    return matches


def warn_of_splits(names: list[str], folder: Path) -> None:
    """Warns that parts of the folder, such as train/ and test/, are used as one dataset, if there are several parts."""
    folders = (part.lower() for name in names for part in PurePosixPath(name).parts[:-1])
    parts = Counter(part for part in folders if part in _SPLITS)
    if len(parts) > 1:
        counts = ", ".join(f"{part}/ ({count})" for part, count in sorted(parts.items()))
        log.warning("%s: its folders %s are used as one set; data.pattern, or the path of one of them, selects one",
                    folder, counts)


def _walk(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """("" or "subfolder/", names of its files) for every folder below. Linked folders come last; folders that were
    already read, or that contain `folder`, are skipped."""
    visited = {str(parent) for parent in folder.resolve().parents}
    pending, repeated = [str(folder)], []
    for start in pending:  # it grows when links are found
        for parent, folders, files in os.walk(start, onerror=_warn_of_error):
            real = os.path.realpath(parent)
            if real in visited:
                repeated.append(parent)
                folders.clear()
                continue
            visited.add(real)
            visible = [name for name in folders if not name.startswith(".")]
            links = [name for name in visible if os.path.islink(os.path.join(parent, name))]
            pending += [os.path.join(parent, name) for name in sorted(links)]
            folders[:] = sorted(set(visible) - set(links))
            prefix = Path(parent).relative_to(folder).as_posix() + "/"
            yield "" if prefix == "./" else prefix, files
    if repeated:
        log.warning("%s: links to folders that are read already are not followed: %d, such as %s", folder,
                    len(repeated), escaped(repeated[0]))


def _warn_of_error(error: OSError) -> None:
    log.warning("%s cannot be read and is left out: %s", escaped(str(error.filename)), error.strerror)


def _kinds(counts: dict[str, int]) -> str:
    """The kinds of files, most frequent first, ".heic (3), .gif (2)"; a single kind without its count."""
    if len(counts) == 1:
        return next(iter(counts)) or "without an extension"
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    texts = [f"{kind or 'without an extension'} ({count})" for kind, count in ordered[:NAMED]]
    return ", ".join(texts + ["..."] * (len(ordered) > NAMED))
