"""Before and after the C++ program of ascend310_infer (scripts/run_infer_310.sh calls both).

  dgn infer310 prepare MINDIR DATA OUT    arrays for the program, in the new folder OUT
  dgn infer310 check MINDIR OUT           the program's results compared with Python's; OUT/check.json and
                                          OUT/overview.png

MINDIR is the folder that `dgn export` wrote, or its decoder.mindir. DATA is a folder of images, cropped as the run's
config says; or of latents: the output of `dgn infer` (latents.npz), or subfolders z_app and z_geo (a plain model: z)
with .npy or .bin files of float32.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from dgn import device
from dgn.cli import above_zero, add_device, natural, user_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    steps = parser.add_subparsers(dest="step", required=True)
    prepare = steps.add_parser("prepare", help="arrays for the program")
    check = steps.add_parser("check", help="the program's results compared with Python's")
    for sub in (prepare, check):
        sub.add_argument("mindir", metavar="MINDIR", type=user_path, help="export folder, or its decoder.mindir")
    prepare.add_argument("data", metavar="DATA", type=user_path, help="folder of images or of latents")
    prepare.add_argument("output", metavar="OUT", type=user_path, help="new folder for the arrays")
    check.add_argument("output", metavar="OUT", type=user_path, help="folder with the program's results")
    check.add_argument("--precision", choices=["float32", "float16"], default="float32", help="precision in which "
                       "the program's device multiplies; it decides the accepted difference from Python (default "
                       "%(default)s)")
    check.add_argument("--descent-steps", type=natural, default=300, metavar="N",
                       help="steps without noise with which the program inferred (default %(default)s)")
    check.add_argument("--gamma", type=above_zero, default=3.0, help="range of the traversals (default %(default)s)")
    for sub in (prepare, check):
        add_device(sub)


def run(args: argparse.Namespace) -> int:
    device.start(args.device)
    from dgn.export import cpp_program
    from dgn.export.cpp_files import open_exported

    exported, output = open_exported(Path(args.mindir)), Path(args.output)
    if args.step == "prepare":
        print(f"{cpp_program.prepare(exported, Path(args.data), output)}; written to {output}")
        return 0
    result = cpp_program.check(exported, output, args.descent_steps, args.gamma)
    print(summary(result))
    print(f"picture           {output / 'overview.png'}")
    cpp_program.judge(result, args.precision, output)
    return 0


def summary(result: dict[str, Any]) -> str:
    """The differences as text."""
    lines = [f"{result['samples']} samples; largest difference of the program to Python:"]
    lines += [f"  {part:24} {error:.1e}" for part, error in result["difference"].items()]
    lines.append(f"  {'PNG files':24} {result['grey_levels']} of 255 grey levels")
    if "latents" in result:
        once, all_calls = result["latents"].values()
        program, python = result["reconstruction"], result["reconstruction_by_python"]
        lines.append(f"  {'inferred latents':24} {once:.1e} after the first call, {all_calls:.1e} after all (of the "
                     "median sample)")
        lines.append(f"MSRE {program['msre']:.1f}, PSNR {program['psnr']:.1f} dB of the images; from Python's latents "
                     f"{python['msre']:.1f}, {python['psnr']:.1f} dB")
    return "\n".join(lines)
