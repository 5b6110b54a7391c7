"""MindRecord files: many images in few files, for large datasets and shared file systems."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import mindspore as ms
import mindspore.dataset as ds
import numpy as np
from mindspore import mindrecord

from dgn import console
from dgn.data.folder import digest
from dgn.data.pixels import to_bytes, to_unit
from dgn.data.source import Source
from dgn.errors import RunFailed, Unreadable, UserError, dataset_cause, first_line
from dgn.files import apply_umask, check_utf8

_SCHEMA = {"image": {"type": "bytes"}, "shape": {"type": "int32", "shape": [-1]}, "name": {"type": "string"}}
_INDEXED = ["name", "person"]  # fields that the index holds, too, if the people are known
_REFUSED = "\\:*?\"<>|`&;'"  # forbidden in file names
_CHUNK = 256  # number of images that are written together


def pack(source: Source, path: Path) -> int:
    """Writes every image of `source` to the MindRecord file `path` (and path.db, its index); returns their number.

    Pixels are stored as uint8 (C, H, W), so that exactly the same images are read, with the people if the source knows
    them. The files are written to a temporary folder, then renamed. Raises UserError if `path` exists or does not end
    in .mindrecord, RunFailed if it cannot be written.
    """
    if path.suffix != ".mindrecord":
        raise UserError(f"{path}: the name of a MindRecord file must end in .mindrecord")
    refused = sorted(set(path.name) & set(_REFUSED))
    if refused:
        raise UserError(f"{path}: MindRecord forbids {' '.join(refused)} in file names; choose another name")
    if path.exists():
        raise UserError(f"{path} already exists; choose another name")
    check_utf8(path)
    _check_space(path.parent, len(source) * int(np.prod(source.shape)))
    # in a temporary folder, but with the final name, because the index contains the name of its file
    temporary = path.parent / f".unfinished-{path.name}"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        writer = mindrecord.FileWriter(str(temporary / path.name), shard_num=1)
        people = source.people()
        if people is None:
            writer.add_schema(_SCHEMA, "images of dgn")
        else:
            writer.add_schema({**_SCHEMA, "person": {"type": "string"}}, "images of dgn")
            writer.add_index(_INDEXED)
        for start in console.progress(range(0, len(source), _CHUNK), unit=f"{_CHUNK} images"):
            indices = np.arange(start, min(start + _CHUNK, len(source)))
            pixels = to_bytes(source.read(indices))
            writer.write_raw_data([{"image": image.tobytes(), "shape": np.array(image.shape, np.int32),
                                    "name": source.name(int(index)), **({"person": people[index]} if people else {})}
                                   for index, image in zip(indices, pixels)])
        writer.commit()
        for name in (f"{path.name}.db", path.name):
            apply_umask(temporary / name)
            os.replace(temporary / name, path.with_name(name))
    except (OSError, RuntimeError) as error:
        raise RunFailed(f"cannot write {path}: {first_line(error)}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return len(source)


class RecordImages(Source):
    """The images of a MindRecord file; `read` reads only the rows that it needs.

    Raises UserError if the file is missing or was not written by `pack`; `read` and `name` raise it if it is damaged.
    """

    def __init__(self, path: str) -> None:
        if not Path(path).is_file():
            raise UserError(f"no MindRecord file {path}")
        self.path = str(path)
        self._check_index()
        try:
            self.count = ds.MindDataset(self.path, num_parallel_workers=1).get_dataset_size()
            first = next(_rows(self.path, ["image", "shape", "name"], [0]))
        except (RuntimeError, ValueError, StopIteration) as error:
            raise UserError(f"{path} is not a MindRecord file of images written by `dgn data pack`, or it is damaged: "
                            f"{dataset_cause(error) if str(error) else 'it is empty'}") from None
        self.shape: tuple[int, ...] = tuple(int(extent) for extent in first["shape"])

    def _check_index(self) -> None:
        """Raises UserError if the index next to the file is missing, or belongs to a file with another name."""
        name, index = Path(self.path).name, f"{self.path}.db"
        if not Path(index).is_file():
            raise UserError(f"{self.path} is not a MindRecord file of images written by `dgn data pack`, or its index "
                            f"{name}.db is missing, which must be in the same folder; move or rename both together")
        packed = next(self._query("SELECT NAME FROM SHARD_NAME"), name)
        if packed != name:
            raise UserError(f"{self.path} was packed as {packed} and then renamed, which MindSpore does not allow: "
                            f"rename it, and its index, back to {packed} and {packed}.db")

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        """The name of the image in the source that was packed."""
        for name in self._names("WHERE ROW_ID = ?", int(index)):
            return name
        raise IndexError(f"{self.path} has images 0 to {self.count - 1}")

    @property
    def names(self) -> list[str]:
        """The names of all images, in order."""
        return list(self._names("ORDER BY ROW_ID"))

    def people(self, names: Sequence[str] | None = None) -> list[str] | None:
        """The person in each image, if they were known when it was packed; else None."""
        columns = self._query("SELECT name FROM pragma_table_info('INDEXES')")
        if names is not None or "person_0" not in list(columns):
            return None
        return list(self._query("SELECT person_0 FROM INDEXES ORDER BY ROW_ID"))

    def identity(self) -> str:
        """A digest of the images' names, in order."""
        return self._identity

    @functools.cached_property
    def _identity(self) -> str:
        return self.identity_of(self.indices())

    def identity_of(self, indices: np.ndarray) -> str:
        """A digest of the names of the images at `indices`, in the order of the file."""
        names = self.names
        return f"records {digest([names[k] for k in np.unique(indices)])}"

    def stored(self, indices: np.ndarray) -> list[Path]:
        return [Path(self.path)]

    def _names(self, condition: str, *values: int) -> Iterator[str]:
        """Names of the images, read one by one."""
        return self._query(f"SELECT name_0 FROM INDEXES {condition}", *values)

    def _query(self, query: str, *values: int) -> Iterator[str]:
        """The first column of a query to the file's index, an SQLite database with one row for each image."""
        address = f"{Path(self.path + '.db').absolute().as_uri()}?mode=ro"
        try:
            with contextlib.closing(sqlite3.connect(address, uri=True)) as index:
                for row in index.execute(query, values):
                    yield str(row[0])
        except sqlite3.Error as error:
            if str(error).startswith(("no such table", "no such column")):
                raise Unreadable(f"the index {self.path}.db is not as MindSpore {ms.__version__} writes it ({error}): "
                                 "another version wrote it; pack the images again with this one") from None
            raise Unreadable(f"the index {self.path}.db is damaged ({error}); pack the images again") from None

    def read(self, indices: np.ndarray) -> np.ndarray:
        if any(not 0 <= index < self.count for index in indices):  # MindSpore would return another row
            raise IndexError(f"{self.path} has images 0 to {self.count - 1}")
        try:
            pixels = [row["image"].view(np.uint8).reshape(self.shape) for row in _rows(self.path, ["image"], indices)]
        except (RuntimeError, ValueError) as error:  # ValueError: a row of another size
            raise Unreadable(f"{self.path} is damaged ({dataset_cause(error)}); pack it again") from None
        return to_unit(np.stack(pixels))


def _check_space(folder: Path, needed: int) -> None:
    """Raises RunFailed if the disk has fewer free bytes, because MindSpore's message does not name this reason."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise RunFailed(f"no space left on the disk of {folder}: the images need {needed / 2 ** 20:.0f} MB, "
                        f"{free / 2 ** 20:.0f} MB are free")


def _rows(path: str, fields: list[str], indices: Iterable[int]) -> Iterator[dict]:
    """The rows at `indices`."""
    sampler = ds.SubsetSampler([int(index) for index in indices])
    rows = ds.MindDataset(path, columns_list=fields, num_parallel_workers=1, sampler=sampler)
    return rows.create_dict_iterator(num_epochs=1, output_numpy=True)
