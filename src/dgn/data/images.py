"""Folders of images, and the decoding and writing of image files."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Dict, List, Optional, Union

import cv2
import numpy as np

from dgn.data.cut import Cut
from dgn.data.folder import Folder, Reading, find_files, matching
from dgn.errors import UserError
from dgn.files import disk_errors

EXTENSIONS = (".bmp", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".ras", ".tif", ".tiff",
              ".webp")

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"


class ImageFolder(Folder):
    """The images below a folder, sorted by relative path.

    cut: crop and size of every sample; reading: see Reading; names: these files in this order instead of all.
    Raises UserError if the folder holds no images; `read` raises it for a file that cannot be used.
    """

    def __init__(self, folder: Union[str, Path], cut: Cut, reading: Reading = Reading(),
                 names: Optional[List[str]] = None) -> None:
        self._cut = cut
        names = find_images(Path(folder)) if names is None else names
        super().__init__(Path(folder), matching(names, reading.pattern, Path(folder)), cut.shape, reading)

    def decode(self, name: str) -> np.ndarray:
        """(C, size, size) uint8."""
        return self._cut.apply(decode(self._folder / name))

    def people(self) -> Optional[List[str]]:
        """The person that each image shows, if a file of identities names one for every image; see read_identities."""
        known = read_identities(self._folder)
        people = [known.get(PurePosixPath(name).name) for name in self._names]
        return people if all(people) else None


def read_identities(folder: Path) -> Dict[str, str]:
    """{file name: person} from identity.txt in the folder or its parent, as CelebA has it: each line is a file name
    and a person. Empty without such a file. Raises UserError for a line of another form."""
    candidates = folder / "identity.txt", folder.resolve().parent / "identity.txt"
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        return {}
    try:
        rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    for number, row in enumerate(rows, 1):
        if len(row) != 2:
            raise UserError(f"{path}, line {number}: must be a file's name and a person, such as 000001.jpg 2880")
    return {name: person for name, person in rows}


def find_images(folder: Path) -> List[str]:
    """The image files below `folder` by extension, as sorted relative paths. Raises UserError if there are none."""
    return find_files(folder, is_image, f"images in it or its subfolders; looked for {' '.join(EXTENSIONS)}")


def is_image(name: str) -> bool:
    """Whether a file has the extension of an image that OpenCV may read."""
    return name.lower().endswith(EXTENSIONS)


def decode(path: Path) -> np.ndarray:
    """The pixels of an image file: (H, W) if it is grayscale, else (H, W, 3) RGB; uint8.

    16-bit channels are scaled to 8, a transparent image is laid on white, and an opaque one is turned upright by its
    EXIF orientation. Raises ValueError with the reason, without the name, if the file cannot be used.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    if not data:
        raise ValueError("the file is empty")
    # Older decoders fill what is missing with grey without an error. Bytes after the end are common and harmless.
    # In a JPEG the last end mark must follow the last start of scan: an embedded thumbnail has marks of its own.
    if (data.startswith(_JPEG) and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")
            or data.startswith(_PNG) and b"IEND" not in data):
        raise ValueError("the file is cut short")

    buffer = np.frombuffer(data, np.uint8)
    oriented = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH
    # OpenCV gives either alpha or orientation; only a JPEG is known beforehand to have no alpha.
    try:
        pixels = cv2.imdecode(buffer, oriented if data.startswith(_JPEG) else cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ValueError(f"OpenCV refuses to decode it ({error.err})") from None
    if pixels is None:
        raise ValueError("not an image that OpenCV can decode: damaged, or another kind of file under this name")
    transparent = pixels.ndim == 3 and pixels.shape[2] == 4
    if not transparent and (b"eXIf" in data or b"EXIF" in data) and not data.startswith(_JPEG):
        pixels = cv2.imdecode(buffer, oriented)

    if pixels.dtype == np.uint16:
        pixels = cv2.convertScaleAbs(pixels, alpha=1 / 257)
    if pixels.dtype != np.uint8:
        raise ValueError(f"its channels are {pixels.dtype}, where 8 or 16 bits are needed")
    if transparent:
        alpha = pixels[..., 3:].astype(np.float32) / 255
        pixels = np.rint(pixels[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def write_image(path: Path, image: np.ndarray) -> None:
    """Writes an image (C, H, W) in [0, 1] as PNG and makes its folder. Raises RunFailed if it cannot be written."""
    pixels = np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8).transpose(1, 2, 0)
    pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.shape[2] == 3 else pixels
    data = cv2.imencode(".png", pixels)[1]
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.tobytes())
