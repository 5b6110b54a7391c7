"""Make or prepare images and clips.

  dgn data faces OUT --count 1000 --size 64               generated faces with labels.csv (factors, landmarks)
  dgn data faces OUT --kind views --count 100             each subject at -30, -15, 0, 15, 30 degrees
  dgn data crop PHOTOS OUT --size 64                      the largest face of each photograph, cut out and resized
  dgn data crop PHOTOS OUT --align --sheet cuts.png       turned and scaled by the eyes
  dgn data crop CLIPS OUT --size 64 --format videos       the face of each clip, as a folder of numbered frames
  dgn data crop VIDEOS OUT --format videos --window 48    long recordings, cut into clips of 48 frames
  dgn data clips OUT --count 24 --frames 16 --size 64     generated clips as folders of numbered frames
  dgn data pack IMAGES OUT.mindrecord --set data.size=64  a folder as one MindRecord file
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dgn import config as cfg
from dgn import console, recipe
from dgn.cli import above_zero, add_config, natural, pair, positive, user_path
from dgn.errors import RunFailed, UserError
from dgn.files import check_outside

if TYPE_CHECKING:
    from dgn.data.prepare import Cutter

# options of `crop` on which its crops depend; they must not change when it is continued
_DETERMINING = ("format", "size", "margin", "align", "eyes", "detector", "labels", "min_face", "all", "window")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    jobs = parser.add_subparsers(dest="job", required=True, metavar="job")
    faces = jobs.add_parser("faces", help="write generated faces")
    _add_drawn(faces, 1000, "faces, or subjects")
    faces.add_argument("--kind", choices=["random", "views", "expressions"], default="random",
                       help="population of the faces (default %(default)s)")
    faces.add_argument("--sheet", metavar="PNG", type=user_path, help="also save a contact sheet of the first 30")
    faces.set_defaults(job_run=_faces)

    crop = jobs.add_parser("crop", help="cut faces out of photographs or clips")
    crop.add_argument("source", type=user_path, help="folder of photographs or clips")
    crop.add_argument("out", type=user_path, help="new folder")
    crop.add_argument("--size", type=positive, default=64, help="side in pixels (default %(default)s)")
    crop.add_argument("--margin", type=float, default=0.0,
                      help="enlarge the square on each side by this fraction of its side")
    places = crop.add_mutually_exclusive_group()
    places.add_argument("--detector", metavar="FILE", type=user_path,
                        help="cascade (.xml) of faces or YuNet model (.onnx); default OpenCV's Haar cascades")
    places.add_argument("--labels", metavar="FILE", type=user_path,
                        help="with --align: eyes from labels.csv, crops.csv or MTFL's index.tsv instead of a detector")
    crop.add_argument("--align", action="store_true", help="turn, scale and cut by the eyes")
    crop.add_argument("--eyes", type=pair, metavar="X,Y",
                      help="with --align: position of the left eye, as fractions of the side from the left and the "
                           "top; the right eye mirrors it (default 0.325,0.36, as in CelebA's faces)")
    crop.add_argument("--check", metavar="FILE", type=user_path,
                      help="with --align: also print the error of the detected eyes relative to these labels (same "
                           "formats as --labels)")
    crop.add_argument("--min-face", type=above_zero, default=0.125, metavar="FRACTION",
                      help="minimum face width, as a fraction of the longer image side; smaller values take longer "
                           "(default %(default)s)")
    crop.add_argument("--all", action="store_true", help="cut every face of a photograph, not only the largest")
    crop.add_argument("--sheet", metavar="PNG", type=user_path,
                      help="also save a contact sheet of up to 60 crops")
    crop.add_argument("--format", choices=["images", *cfg.CLIP_FORMATS], default="images",
                      help="file format: images for photographs, else that of the clips, as in data.format, with one "
                           "square for all frames of a clip (default %(default)s)")
    crop.add_argument("--window", type=positive, metavar="FRAMES",
                      help="with clips: cut each into clips of this number of frames, for long recordings")
    crop.add_argument("--resume", action="store_true",
                      help="continue an interrupted crop in OUT, with the same source and options")
    crop.set_defaults(job_run=_crop)

    clips = jobs.add_parser("clips", help="write generated clips")
    _add_drawn(clips, 24, "clips, six for each person")
    clips.add_argument("--frames", type=positive, default=16, help="frames per clip (default %(default)s)")
    clips.add_argument("--changing-light", action="store_true",
                       help="the light of each clip moves from side to side (data.changing_light)")
    clips.set_defaults(job_run=_clips)

    pack = jobs.add_parser("pack", help="write a folder of images as a MindRecord file")
    pack.add_argument("images", type=user_path, help="folder of images")
    pack.add_argument("out", type=user_path, help="file, ending in .mindrecord")
    add_config(pack, "crop and resize the images as this recipe says")
    pack.set_defaults(job_run=_pack)


def _add_drawn(parser: argparse.ArgumentParser, count: int, what: str) -> None:
    """Arguments of jobs that draw."""
    parser.add_argument("out", type=user_path, help="new folder")
    parser.add_argument("--count", type=positive, default=count, help=f"{what} (default %(default)s)")
    parser.add_argument("--size", type=positive, default=64, help="side in pixels (default %(default)s)")
    parser.add_argument("--grey", action="store_true", help="greyscale")
    parser.add_argument("--seed", type=natural, default=1, help="random seed (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    return args.job_run(args)


def _faces(args: argparse.Namespace) -> int:
    from dgn.data.cut import Cut
    from dgn.data.faces import write_folder
    from dgn.data.images import ImageFolder
    from dgn.figures.sheet import save_images

    written = write_folder(Path(args.out), args.kind, args.count, args.size, args.seed, args.grey)
    print(f"{written} faces of {args.size}x{args.size} pixels and labels.csv written to {args.out}")
    if args.sheet:
        images = ImageFolder(args.out, Cut(args.size, grey=args.grey))
        save_images(Path(args.sheet), images.read(images.indices(30)), 10, "Generated faces")
    return 0


def _crop(args: argparse.Namespace) -> int:
    from dgn.data.align import compare
    from dgn.data.crops import OPTIONS
    from dgn.data.labels import read_eyes
    from dgn.data.prepare import crop_clips, crop_faces

    source, out, images = Path(args.source), Path(args.out), args.format == "images"
    check_outside(out, source)
    cutter = _cutter(args)
    truth = read_eyes(Path(args.check), source) if args.check else {}
    kind = "photographs" if images else "clips"
    options = {"source": str(source.resolve()), **{key: getattr(args, key) for key in _DETERMINING}}
    try:
        if images:
            report = crop_faces(source, out, cutter, args.all, args.resume, options)
        else:
            report = crop_clips(source, args.format, out, cutter, args.window, args.resume, options)
    except (KeyboardInterrupt, RunFailed):
        if (out / OPTIONS).exists():
            console.say(f"dgn: {out} is not complete: the same command with --resume continues it", sys.stderr)
        raise
    total = len(report.found) + len(report.not_found) + len(report.unreadable)
    print(f"{len(report.found)} of {total} {kind}: face found, written to {args.out}")
    for name in report.not_found:
        console.say(f"no face found: {name}")
    for name, reason in report.unreadable:
        console.say(f"left out: {name}: {reason}")
    if not report.found:
        what = "no face found in any" if report.not_found else "none can be used"
        raise UserError(f"{what} of {total} {kind} in {args.source}")
    if truth:
        _print_errors(compare(read_eyes(out / "crops.csv", source), truth))
    if args.sheet:
        _draw_sheet(out, Path(args.sheet), args.size)
    return 0


def _cutter(args: argparse.Namespace) -> Cutter:
    """How `crop` finds and cuts faces."""
    from dgn.data import prepare
    from dgn.data.align import EYES
    from dgn.data.detect import open_detector, open_eye_detector
    from dgn.data.labels import read_eyes

    for option in ("labels", "eyes", "check"):
        if getattr(args, option) and not args.align:
            raise UserError(f"--{option} is about the eyes, which only --align uses; add --align")
    if args.labels and args.check:
        raise UserError("--check compares detected eyes with labels; with --labels nothing is detected")
    for option in ("labels", "check", "all"):
        if getattr(args, option) and args.format != "images":
            raise UserError(f"--{option} is for photographs, not for --format {args.format}")
    if args.window and args.format == "images":
        raise UserError("--window is for clips; add --format videos, frames or strips")
    if not args.align:
        return prepare.by_squares(open_detector(args.detector, args.min_face), args.size, args.margin)
    if args.labels:
        find = prepare.labelled(read_eyes(Path(args.labels), Path(args.source)))
    else:
        detect = open_eye_detector(args.detector, args.min_face)
        find = lambda picture, name: detect(picture)  # noqa: E731
    return prepare.by_eyes(find, args.size, args.eyes or EYES, args.margin)


def _print_errors(result: dict[str, Any]) -> None:
    """The result of dgn.data.align.compare."""
    from dgn.data.align import QUANTILES, WITHIN

    print(f"{result['photographs']} labelled photographs: face found in {100 * result['found']:.1f} %")
    for key, name in (("mean", "mean of both eyes"), ("worse", "worse eye")):
        if key in result:
            quantiles = ", ".join(f"{100 * fraction:.0f} %: {100 * value:.1f}"
                                  for fraction, value in zip(QUANTILES, result[key]))
            print(f"error in % of the distance between the eyes, {name}: below {100 * WITHIN:.0f} in "
                  f"{100 * result[key + '_within']:.1f} %; quantiles {quantiles}")


def _draw_sheet(folder: Path, path: Path, size: int) -> None:
    """Evenly spaced images of a folder on one sheet."""
    from dgn.data.cut import Cut
    from dgn.data.images import ImageFolder
    from dgn.figures.sheet import save_images
    from dgn.indices import evenly_spaced

    images = ImageFolder(folder, Cut(size))
    shown = images.read(evenly_spaced(len(images), 60))
    save_images(path, shown, 12, f"{len(shown)} of {len(images)} images")


def _clips(args: argparse.Namespace) -> int:
    from dgn.data.face_clips import FaceClips, write_clips

    write_clips(Path(args.out), FaceClips(args.count, args.frames, args.size, args.seed, args.grey,
                                          args.changing_light))
    print(f"{args.count} clips of {args.frames} frames of {args.size}x{args.size} pixels and labels.csv written to "
          f"{args.out}")
    return 0


def _pack(args: argparse.Namespace) -> int:
    from dgn.data.open import open_images
    from dgn.data.records import pack

    data = recipe.load(args.config, args.settings).data
    if data.frames:
        raise UserError("MindRecord files hold images; clips (data.frames) are read from their folders")
    check_outside(Path(args.out), args.images)
    source = open_images(data, args.images)
    written = pack(source, Path(args.out))
    print(f"{written} images of {'x'.join(map(str, source.shape))} written to {args.out}")
    return 0
