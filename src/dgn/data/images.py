"""Folders of images, and the writing of image files."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from dgn.data.cut import Cut
from dgn.data.decoding import decode, quick_size
from dgn.data.find import find_files, matching, warn_of_splits
from dgn.data.folder import Folder, Inspected, Reading
from dgn.data.pixels import to_bytes
from dgn.errors import UserError
from dgn.files import disk_errors

log = logging.getLogger(__name__)

EXTENSIONS = (".bmp", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".ras", ".tif", ".tiff",
              ".webp")
IDENTITIES = ("identity.txt", "identity_CelebA.txt")  # files that name the person in each image


class ImageFolder(Folder):
    """The images below a folder, sorted by relative path.

    cut: crop and size of every sample. reading: see Reading. names: only these files, in this order. Raises UserError
    if the folder holds no images; `read` raises Unreadable for a file that cannot be used.
    """

    def __init__(self, folder: str | Path, cut: Cut, reading: Reading = Reading(),
                 names: list[str] | None = None) -> None:
        self._cut = cut
        folder = Path(folder)
        if names is None:
            names = matching(find_images(folder, reading.corrupt == "skip"), reading.pattern, folder)
            warn_of_splits(names, folder)
        super().__init__(folder, names, cut.shape, reading)

    def decode(self, name: str) -> np.ndarray:
        """(C, size, size) uint8."""
        return self._cut.apply(decode(self._folder / name))

    def inspect(self, name: str, decoded: bool) -> Inspected:
        return inspect_image(self._folder / name, self._cut, decoded)

    def people(self, names: Sequence[str] | None = None) -> list[str] | None:
        """The person in each image, if a file of identities names one for some of them; else None."""
        return people_of_identities(self._folder, self._names if names is None else names)


def inspect_image(path: Path, cut: Cut, decoded: bool) -> Inspected:
    """Checks one image file; see Folder.inspect."""
    size = None if decoded else quick_size(path)
    if size is not None and cut.fits(*size):
        return Inspected(cut.enlarges(*size), None)
    pixels = decode(path)
    return Inspected(cut.enlarges(*pixels.shape[:2]), cut.apply(pixels))


def people_of_identities(folder: Path, names: Sequence[str], whole: bool = False) -> list[str] | None:
    """The person in each image or clip of a folder, from its file of identities; a file that it does not name counts as
    a person of its own. None if it names none of them, or (whole) not all. See read_identities."""
    identities = read_identities(folder)
    people = [person_of(name, identities) for name in names]
    missing = people.count("")
    if missing == len(people):
        return None
    if missing:
        meaning = "people are taken from the names of all files" if whole else "each counts as another person"
        _warn_of_unnamed(folder, missing, len(people), names[people.index("")], meaning)
    return None if whole and missing else [person or as_person(name) for person, name in zip(people, names)]


def person_of(name: str, identities: Mapping[str, str]) -> str:
    """The person in a file: that of its path, or else of its name without folders; "" if unknown."""
    return identities.get(name) or identities.get(PurePosixPath(name).name, "")


def as_person(name: str) -> str:
    """The name of the person that stands for a file, in a form that a file of identities can hold."""
    return "_".join(name.split())


@cache  # only once for the same files
def _warn_of_unnamed(folder: Path, missing: int, count: int, first: str, meaning: str) -> None:
    log.warning("identity.txt of %s names no person for %d of %d files, such as %s: %s", folder, missing, count, first,
                meaning)


def read_identities(folder: Path) -> dict[str, str]:
    """{file name: person} from identity.txt, or CelebA's identity_CelebA.txt, in the folder or its parent: each line
    contains the name of a file or clip, and a person. Empty without such a file. Raises UserError for a line of another
    form."""
    candidates = (parent / name for parent in (folder, folder.resolve().parent) for name in IDENTITIES)
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        return {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    rows = [line.strip().rsplit(maxsplit=1) for line in lines if line.strip()]  # a file's name may have spaces
    for number, row in enumerate(rows, 1):
        if len(row) != 2:
            raise UserError(f"{path}, line {number}: must be a file's name and a person, such as 000001.jpg 2880")
    return {name: person for name, person in rows}


def find_images(folder: Path, skip_unnamed: bool = False) -> list[str]:
    """The image files below `folder`, as sorted relative paths; see find_files."""
    what = f"images in it or its subfolders; looked for {' '.join(EXTENSIONS)}"
    return find_files(folder, EXTENSIONS, what, skip_unnamed)


def write_image(path: Path, image: np.ndarray) -> None:
    """Writes an image (C, H, W) in [0, 1] as PNG and creates its folder. Raises RunFailed if it cannot be written."""
    pixels = to_bytes(image).transpose(1, 2, 0)
    pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.shape[2] == 3 else pixels
    data = cv2.imencode(".png", pixels)[1]
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.tobytes())
