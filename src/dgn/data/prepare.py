"""Face crops from photographs and clips, as the paper makes them with OpenFace before training."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Callable, List, NamedTuple, Optional, Tuple

import cv2
import cv2.data
import numpy as np
from tqdm import tqdm

from dgn.data.clips import find_clips
from dgn.data.cut import in_colour, resize
from dgn.data.decoding import decode
from dgn.data.folder import quiet_opencv
from dgn.data.frames import Clip, spread
from dgn.data.images import find_images, write_image
from dgn.errors import UserError
from dgn.files import check_utf8, disk_errors, new_folder, png_name

Box = Tuple[int, int, int, int]  # left, top, width, height in pixels
Detector = Callable[[np.ndarray], List[Box]]  # (H, W, 3) RGB uint8 -> boxes of faces

SAMPLED_FRAMES = 9  # frames of a clip in which its face is detected
MIN_SIDE = 320  # pixels: smaller pictures are enlarged to this before a cascade is applied


class Report(NamedTuple):
    """The result for each photograph or clip, by name."""

    found: List[str]
    not_found: List[str]
    unreadable: List[Tuple[str, str]]  # name, reason


def open_detector(path: Optional[str] = None) -> Detector:
    """A face detector: OpenCV's own frontal Haar cascade, another cascade (.xml), or a YuNet model (.onnx) by path.

    Raises UserError if the file is missing or cannot be used.
    """
    if path is not None:
        check_utf8(path)  # OpenCV aborts the process
        if not Path(path).is_file():
            raise UserError(f"no detector file {path}")
    if path is not None and path.endswith(".onnx"):
        return _yunet(path)
    cascade = cv2.CascadeClassifier()
    file = path or str(Path(cv2.data.haarcascades) / "haarcascade_frontalface_default.xml")
    try:
        loaded = cascade.load(file)
    except cv2.error:
        loaded = False
    if not loaded:
        raise UserError(f"{file} is not a cascade that OpenCV can use; give a .xml cascade or a YuNet .onnx")

    def detect(picture: np.ndarray) -> List[Box]:
        scale = max(1.0, MIN_SIDE / min(picture.shape[:2]))
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        grey = cv2.equalizeHist(cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC))
        boxes = cascade.detectMultiScale(grey, scaleFactor=1.1, minNeighbors=4, minSize=(MIN_SIDE // 6,) * 2)
        return [_whole(box / scale) for box in boxes]
    return detect


def _yunet(path: str) -> Detector:
    try:
        network = cv2.FaceDetectorYN.create(path, "", (MIN_SIDE, MIN_SIDE))
    except cv2.error as error:
        raise UserError(f"{path} is not a YuNet model that OpenCV can use: {error.err}") from None

    def detect(picture: np.ndarray) -> List[Box]:
        network.setInputSize((picture.shape[1], picture.shape[0]))
        _, faces = network.detect(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        return [] if faces is None else [_whole(face) for face in faces]
    return detect


def _whole(box: np.ndarray) -> Box:
    """The first four numbers of a row, rounded."""
    left, top, width, height = (int(round(float(value))) for value in box[:4])
    return left, top, width, height


def square(box: Box, margin: float) -> Tuple[int, int, int]:
    """(left, top, side) of the square around a box, enlarged by `margin` times its size on every side."""
    left, top, width, height = box
    side = int(round(max(width, height) * (1 + 2 * margin)))
    return left + width // 2 - side // 2, top + height // 2 - side // 2, side


def cut_square(picture: np.ndarray, left: int, top: int, side: int) -> np.ndarray:
    """A square of a picture (H, W, 3); outside of the picture its border is repeated."""
    rows = np.clip(np.arange(top, top + side), 0, picture.shape[0] - 1)
    columns = np.clip(np.arange(left, left + side), 0, picture.shape[1] - 1)
    return picture[rows][:, columns]


def crop_faces(source: Path, target: Path, size: int, detect: Detector, margin: float = 0.0) -> Report:
    """Crops the largest face of every photograph below `source` into `target`, as PNG of size x size pixels.

    Names are kept. `target`/crops.csv has the square of each photograph.
    Raises UserError if `source` holds no images, `target` holds files, or the margin is out of range.
    """
    _check_margin(margin)
    names = find_images(source)
    new_folder(target)
    report = Report([], [], [])
    with disk_errors(target / "crops.csv"), open(target / "crops.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["file", "found", "left", "top", "side"])
        for name in tqdm(names, unit="photo", disable=not sys.stderr.isatty()):
            try:
                picture = in_colour(decode(source / name))
            except ValueError as reason:
                report.unreadable.append((name, str(reason)))
                table.writerow([name, 0, "", "", ""])
                continue
            boxes = detect(picture)
            if not boxes:
                report.not_found.append(name)
                table.writerow([name, 0, "", "", ""])
                continue
            left, top, side = square(largest(boxes), margin)
            face = resize(cut_square(picture, left, top, side), size)
            write_image(target / png_name(name), face.transpose(2, 0, 1) / np.float32(255))
            report.found.append(name)
            table.writerow([name, 1, left, top, side])
    return report


def crop_clips(source: Path, layout: str, target: Path, size: int, detect: Detector, margin: float = 0.0) -> Report:
    """Crops the face of every clip below `source`: its frames as `target`/<clip>/000001.png ..., size x size pixels.

    layout: one of CLIP_FORMATS. One square is used for a whole clip, the median of the largest faces in some of its
    frames: a crop that followed the face would remove its motion. Raises UserError as crop_faces does.
    """
    _check_margin(margin)
    clips = find_clips(source, layout)
    new_folder(target)
    report = Report([], [], [])
    for name, clip in tqdm(clips.items(), unit="clip", disable=not sys.stderr.isatty()):
        try:
            with quiet_opencv():
                has_face = _crop_clip(clip, target / name, size, detect, margin)
        except ValueError as reason:
            for frame in (target / name).glob("*.png"):  # half a clip would be taken for a whole one
                frame.unlink()
            report.unreadable.append((name, str(reason)))
            continue
        (report.found if has_face else report.not_found).append(name)
    return report


def _crop_clip(clip: Clip, target: Path, size: int, detect: Detector, margin: float) -> bool:
    """Writes the frames of one clip; False if no face was found. ValueError if it cannot be read to its end."""
    sampled = set(spread([frame.seconds for frame in clip.frames(lambda index: False)], SAMPLED_FRAMES).tolist())
    pictures = (frame.pixels for frame in clip.frames(sampled.__contains__) if frame.pixels is not None)
    faces = [detect(in_colour(picture)) for picture in pictures]
    boxes = [largest(detected) for detected in faces if detected]
    if boxes:
        left, top, width, height = (int(value) for value in np.median(boxes, 0))
        left, top, side = square((left, top, width, height), margin)
        for frame in clip.frames(lambda number: True):
            assert frame.pixels is not None
            face = resize(cut_square(in_colour(frame.pixels), left, top, side), size)
            write_image(target / f"{frame.number + 1:06d}.png", face.transpose(2, 0, 1) / np.float32(255))
    return bool(boxes)


def largest(boxes: List[Box]) -> Box:
    """The box of the largest area."""
    return max(boxes, key=lambda box: box[2] * box[3])


def _check_margin(margin: float) -> None:
    if not -0.4 <= margin <= 10:
        raise UserError(f"margin is {margin}; it must be from -0.4 (less than the face) to 10 (much around it)")
