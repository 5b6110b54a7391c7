"""Detects faces and eyes in photographs with OpenCV's Haar cascades or a YuNet model."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from dgn.data.align import align, similarity
from dgn.errors import UserError
from dgn.files import check_utf8

Detector = Callable[[np.ndarray], list[np.ndarray]]  # (H, W, 3) RGB uint8 -> faces, the largest first

SMALLEST = 0.125  # width of the smallest face that is found, as a fraction of the photograph's longer side
FACE = 50  # pixels: large photographs are reduced until the smallest face has this width
MIN_SIDE = 320  # pixels: small photographs are enlarged to this size
# OpenCV 5 moves the class of cascades, and their files, out of its main package
NO_CASCADES = "this OpenCV has no face cascades; give --detector YUNET.onnx, a YuNet model"
TILTS = (30, -30)  # degrees by which a picture is rotated if no upright face is found

# Eyes are searched in a patch as wide as the box of the face cascade. Lengths are fractions of this width.
PATCH = 160  # pixels
EYES = np.array([[0.315, 0.39], [0.685, 0.39]])  # usual positions in the box
EYE_SIZES = (0.15, 0.4)
REGION = (0.54, 0.14, 0.66)  # searched region: width from the margin of its side, top, bottom
SPREAD, KERNEL = 0.06, 0.03  # standard deviations of the prior around EYES, and of the kernel for detections
PRIOR_WEIGHT = 3.0  # the usual position has the weight of this number of detections
TILTED = np.tan(np.radians(5))  # if the eyes are tilted by more, the search is repeated on an upright patch


def _for_each_thread(make: Callable[[], Any]) -> Callable[[], Any]:
    """A function that returns a separate object to each thread, because a detection changes the state of OpenCV's
    detectors. The object of this thread is created now, so that errors appear at once."""
    local = threading.local()

    def of_this_thread() -> Any:
        if not hasattr(local, "made"):
            local.made = make()
        return local.made
    of_this_thread()
    return of_this_thread


def _load_cascade(file: str) -> cv2.CascadeClassifier:
    if not hasattr(cv2, "CascadeClassifier"):
        raise UserError(NO_CASCADES)
    cascade = cv2.CascadeClassifier()
    try:
        loaded = cascade.load(file)
    except cv2.error:
        loaded = False
    if not loaded:
        raise UserError(f"{file} is not a cascade that OpenCV can use; give a .xml cascade or a YuNet .onnx")
    return cascade


def _load_yunet(path: str) -> cv2.FaceDetectorYN:
    try:
        return cv2.FaceDetectorYN.create(path, "", (MIN_SIDE, MIN_SIDE))
    except cv2.error as error:
        raise UserError(f"{path} is not a YuNet model that OpenCV can use: {error.err}") from None


class _Cascade:
    """A cascade that several threads may use. Raises UserError if OpenCV cannot load the file."""

    def __init__(self, file: str) -> None:
        self._of_this_thread = _for_each_thread(functools.partial(_load_cascade, file))

    def __call__(self, grey: np.ndarray, step: float, neighbours: int, sizes: tuple[int, int]) -> np.ndarray:
        """(n, 4): left, top, width, height of detections of at least `neighbours` overlapping windows."""
        smallest, largest = ((size, size) for size in sizes)
        boxes = self._of_this_thread().detectMultiScale(grey, step, neighbours, minSize=smallest, maxSize=largest)
        return np.asarray(boxes, float).reshape(-1, 4)


def open_detector(path: str | None = None, smallest: float = SMALLEST) -> Detector:
    """A detector of faces as boxes (4,): left, top, width, height in pixels.

    path: a cascade (.xml) or a YuNet model (.onnx); None: OpenCV's frontal Haar cascade. smallest: see SMALLEST.
    Raises UserError if the file is missing or cannot be used.
    """
    if network := _network(path, smallest):
        return lambda picture: [row[:4] for row in network(picture)]
    cascade = _Cascade(path or _bundled("frontalface_default"))

    def detect(picture: np.ndarray) -> list[np.ndarray]:
        small = _reduce(picture, smallest)
        boxes = cascade(cv2.equalizeHist(small.grey), 1.1, 4, small.sizes)
        return [box / small.scale for box in _largest_first(boxes)]
    return detect


def open_eye_detector(path: str | None = None, smallest: float = SMALLEST) -> Detector:
    """A detector of faces as eyes (2, 2): x and y of the left and the right eye as seen in the picture, in pixels,
    pixel centres at integers.

    path: a YuNet model, or a face cascade, in whose boxes OpenCV's eye cascades search; None: OpenCV's face cascades.
    smallest: see SMALLEST. Raises UserError like open_detector.
    """
    if network := _network(path, smallest):
        return lambda picture: [row[4:8].reshape(2, 2) for row in network(picture)]
    # the first cascade is more accurate, the second one finds some more faces
    files = [path] if path else map(_bundled, ("frontalface_alt2", "frontalface_default"))
    faces = [_Cascade(file) for file in files]
    # centre of an eye as a fraction of a window's height; windows of the second kind include the brow
    eye, *sides = [(_Cascade(_bundled(name)), centre) for name, centre in (
        ("eye", 0.5), ("righteye_2splits", 0.67), ("lefteye_2splits", 0.67))]

    def refine(picture: np.ndarray, eyes: np.ndarray) -> np.ndarray:
        positions = EYES * PATCH - 0.5
        patch = align(picture, eyes, positions, PATCH)
        sought = np.stack([_find_eye(patch, side, (eye, sides[side])) for side in (0, 1)]) * PATCH - 0.5
        back = similarity(positions, eyes)
        return sought @ back[:, :2].T + back[:, 2]

    def detect(picture: np.ndarray) -> list[np.ndarray]:
        small, result = _reduce(picture, smallest), []
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        for usual in _usual_eyes(small, faces):
            eyes = refine(grey, (usual + 0.5) / small.scale - 0.5)
            (dx, dy) = eyes[1] - eyes[0]
            result.append(refine(grey, eyes) if abs(dy) > TILTED * abs(dx) else eyes)
        return result
    return detect


def _usual_eyes(small: _Reduced, cascades: Sequence[_Cascade]) -> list[np.ndarray]:
    """Usual positions of the eyes (2, 2) of the faces in a reduced picture, the largest face first.

    The first cascade searches the picture, then the rotated picture; then the other cascades search. The first search
    that finds a face is used.
    """
    centre = (small.grey.shape[1] - 1) / 2, (small.grey.shape[0] - 1) / 2
    first, *others = cascades
    searches = [(first, 0, 3), *((first, tilt, 6) for tilt in TILTS), *((other, 0, 3) for other in others)]
    for cascade, tilt, neighbours in searches:
        turn = cv2.getRotationMatrix2D(centre, tilt, 1.0)
        turned = small.grey
        if tilt:
            turned = cv2.warpAffine(turned, turn, turned.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
        boxes = _largest_first(cascade(turned, 1.1, neighbours, small.sizes))
        if boxes:
            back = cv2.invertAffineTransform(turn)
            return [(box[:2] + EYES * box[2] - 0.5) @ back[:, :2].T + back[:, 2] for box in boxes]
    return []


def _find_eye(patch: np.ndarray, side: int, cascades: tuple[tuple[_Cascade, float], ...]) -> np.ndarray:
    """The position (2,) of an eye in a patch, as fractions of it: the peak of a kernel density of detections,
    weighted by closeness to the usual position. side: 0 left, 1 right."""
    width, top, bottom = (int(share * PATCH) for share in REGION)
    left = int(0.04 * PATCH) if side == 0 else PATCH - int(0.04 * PATCH) - width
    detections, region = [EYES[side][None]], patch[top:bottom, left:left + width]
    for cascade, centre in cascades:
        windows = cascade(region, 1.05, 0, (int(EYE_SIZES[0] * PATCH), int(EYE_SIZES[1] * PATCH)))
        detections.append((windows[:, :2] + windows[:, 2:] * (0.5, centre) + (left, top)) / PATCH)
    points = np.concatenate(detections)
    weights = _bell(points - EYES[side], SPREAD)
    weights[0] = PRIOR_WEIGHT
    eye = points[np.argmax(_bell(points[:, None] - points, KERNEL) @ weights)]
    for _ in range(10):  # mean shift
        near = weights * _bell(points - eye, KERNEL)
        eye = near @ points / near.sum()
    return eye


def _bell(distance: np.ndarray, deviation: float) -> np.ndarray:
    """The Gaussian function of vectors (..., 2), 1 at 0."""
    return np.exp(-(distance ** 2).sum(-1) / (2 * deviation ** 2))


class _Reduced(NamedTuple):
    grey: np.ndarray
    scale: float  # pixels of the reduced picture for one pixel of the picture
    sizes: tuple[int, int]  # pixels of the smallest and the largest face


def _reduce(picture: np.ndarray, smallest: float) -> _Reduced:
    """A greyscale picture, enlarged or reduced for a detector."""
    height, width = picture.shape[:2]
    scale = min(max(1.0, MIN_SIDE / min(height, width)), FACE / smallest / max(height, width))
    small = cv2.resize(picture, None, fx=scale, fy=scale,
                       interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    sides = small.shape[:2]
    return _Reduced(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), scale, (round(smallest * max(sides)), min(sides)))


class _YuNet:
    """Rows (15,) of a YuNet model for each face in a picture, the largest first: box, five landmarks, score. Several
    threads may use it. Raises UserError if OpenCV cannot use the file."""

    def __init__(self, path: str, smallest: float) -> None:
        self._side, self._of_this_thread = 2 * FACE / smallest, _for_each_thread(functools.partial(_load_yunet, path))

    def __call__(self, picture: np.ndarray) -> list[np.ndarray]:
        height, width = picture.shape[:2]
        scale = min(1.0, self._side / max(height, width))
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        network = self._of_this_thread()
        network.setInputSize((small.shape[1], small.shape[0]))
        _, faces = network.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        return [] if faces is None else _largest_first(faces.astype(float) / scale)


def _network(path: str | None, smallest: float) -> _YuNet | None:
    """The YuNet model in a detector's file; None for a cascade. Raises UserError if the file is missing, or if
    `smallest` is out of range."""
    if not 0.02 <= smallest <= 0.9:
        raise UserError(f"the smallest face is {smallest:g} of the photograph's side; it must be from 0.02 to 0.9")
    if path is None:
        return None
    check_utf8(path)  # OpenCV aborts the process
    if not Path(path).is_file():
        raise UserError(f"no detector file {path}")
    return _YuNet(path, smallest) if path.endswith(".onnx") else None


def _bundled(name: str) -> str:
    """The file of a cascade in OpenCV's package. Raises UserError if it holds none."""
    try:
        from cv2.data import haarcascades
    except ImportError:
        raise UserError(NO_CASCADES) from None
    path = Path(haarcascades) / f"haarcascade_{name}.xml"
    if not path.is_file():
        raise UserError(NO_CASCADES)
    return str(path)


def _largest_first(boxes: np.ndarray) -> list[np.ndarray]:
    """Rows that start with left, top, width, height, sorted by area, the largest first."""
    return sorted(boxes, key=lambda box: -box[2] * box[3])
