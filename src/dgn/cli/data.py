"""Make or prepare images and clips.

  dgn data faces OUT --count 1000 --size 64               generated faces with labels.csv (factors, landmarks)
  dgn data faces OUT --kind views --count 100             each subject at -30, -15, 0, 15, 30 degrees
  dgn data crop PHOTOS OUT --size 64                      the largest face of each photograph, cut out and resized
  dgn data crop CLIPS OUT --size 64 --format videos       the face of each clip, as a folder of numbered frames
  dgn data clips OUT --count 24 --frames 16 --size 64     generated clips as folders of numbered frames
  dgn data pack IMAGES OUT.mindrecord --set data.size=64  a folder as one MindRecord file
"""

from __future__ import annotations

import argparse
from pathlib import Path

from dgn import config as cfg
from dgn import recipe
from dgn.cli import natural, positive, user_path
from dgn.errors import UserError
from dgn.files import check_outside


def add_arguments(parser: argparse.ArgumentParser) -> None:
    jobs = parser.add_subparsers(dest="job", required=True, metavar="job")
    faces = jobs.add_parser("faces", help="write generated faces")
    faces.add_argument("out", type=user_path, help="new folder")
    faces.add_argument("--count", type=positive, default=1000, help="faces, or subjects (default %(default)s)")
    faces.add_argument("--size", type=positive, default=64, help="pixels (default %(default)s)")
    faces.add_argument("--kind", choices=["random", "views", "expressions"], default="random")
    faces.add_argument("--grey", action="store_true")
    faces.add_argument("--seed", type=natural, default=1)
    faces.add_argument("--sheet", metavar="PNG", type=user_path, help="also draw the first 30 on one sheet")
    faces.set_defaults(job_run=_faces)

    crop = jobs.add_parser("crop", help="cut faces out of photographs or clips")
    crop.add_argument("source", type=user_path, help="folder of photographs or clips")
    crop.add_argument("out", type=user_path, help="new folder")
    crop.add_argument("--size", type=positive, default=64, help="pixels (default %(default)s)")
    crop.add_argument("--margin", type=float, default=0.0, help="widen the square by this share of it on each side")
    crop.add_argument("--detector", metavar="FILE", type=user_path,
                      help="cascade (.xml) or YuNet model (.onnx); default OpenCV's Haar cascade")
    crop.add_argument("--format", choices=["images", *cfg.CLIP_FORMATS], default="images",
                      help="images: photographs; else the format of clips, as in data.format: one square for all "
                           "frames of a clip")
    crop.set_defaults(job_run=_crop)

    clips = jobs.add_parser("clips", help="write generated clips")
    clips.add_argument("out", type=user_path, help="new folder")
    clips.add_argument("--count", type=positive, default=24, help="clips, six for each person (default %(default)s)")
    clips.add_argument("--frames", type=positive, default=16, help="of each clip (default %(default)s)")
    clips.add_argument("--size", type=positive, default=64, help="pixels (default %(default)s)")
    clips.add_argument("--grey", action="store_true")
    clips.add_argument("--seed", type=natural, default=1)
    clips.set_defaults(job_run=_clips)

    pack = jobs.add_parser("pack", help="write a folder of images as a MindRecord file")
    pack.add_argument("images", type=user_path, help="folder of images")
    pack.add_argument("out", type=user_path, help="file, ending in .mindrecord")
    pack.add_argument("--config", metavar="YAML", type=user_path, help="crop and resize the images as this recipe says")
    pack.add_argument("--set", metavar="SECTION.KEY=VALUE", action="append", default=[], dest="settings",
                      help="change one value, such as data.size=128; may be repeated")
    pack.set_defaults(job_run=_pack)


def run(args: argparse.Namespace) -> int:
    return args.job_run(args)


def _faces(args: argparse.Namespace) -> int:
    import numpy as np

    from dgn.data.cut import Cut
    from dgn.data.faces import write_folder
    from dgn.data.images import ImageFolder
    from dgn.figures.sheet import save_sheet

    written = write_folder(Path(args.out), args.kind, args.count, args.size, args.seed, args.grey)
    print(f"{written} faces of {args.size}x{args.size} pixels and labels.csv written to {args.out}")
    if args.sheet:
        shown = ImageFolder(args.out, Cut(args.size, grey=args.grey)).read(np.arange(min(written, 30)))
        rows = [list(shown[k:k + 10]) for k in range(0, len(shown), 10)]
        save_sheet(Path(args.sheet), rows, "Generated faces", [""] * len(rows))
    return 0


def _crop(args: argparse.Namespace) -> int:
    from dgn.data.prepare import crop_clips, crop_faces, open_detector

    source, out, detect = Path(args.source), Path(args.out), open_detector(args.detector)
    check_outside(out, source)
    if args.format == "images":
        kind, report = "photographs", crop_faces(source, out, args.size, detect, args.margin)
    else:
        kind, report = "clips", crop_clips(source, args.format, out, args.size, detect, args.margin)
    total = len(report.found) + len(report.not_found) + len(report.unreadable)
    print(f"{len(report.found)} of {total} {kind}: face found, written to {args.out}")
    for name in report.not_found:
        print(f"no face found: {name}")
    for name, reason in report.unreadable:
        print(f"cannot be read: {name}: {reason}")
    if not report.found:
        raise UserError(f"no face found in any of {total} {kind} in {args.source}")
    return 0


def _clips(args: argparse.Namespace) -> int:
    from dgn.data.face_clips import write_clips

    write_clips(Path(args.out), args.count, args.frames, args.size, args.seed, args.grey)
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
