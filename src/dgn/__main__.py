"""python -m dgn <command>: parsing, wiring, exit codes."""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from typing import List, Optional

from dgn import __version__, runtime
from dgn.errors import RunFailed, UserError

COMMANDS = {
    "train": "learn a model from images (or generated faces) into a run folder",
    "evaluate": "measure a run: reconstruction of training and unseen images, checkerboard, displacement",
    "infer": "infer the latents of new images with a run's model",
    "figures": "draw a run's pictures: canonical faces, bases, recombination, samples",
    "experiment": "the paper's experiments: baselines, views, transfer, landmarks, balance ...",
    "export": "a run's model as MindIR or ONNX files for other programs",
    "infer310": "arrays for the C++ program of ascend310_infer, and the check of what it wrote",
    "bench": "time the sampler and its parts on this machine",
    "data": "make or prepare images and clips: generated faces, face crops, MindRecord",
    "doctor": "what this machine has, and what would not work here",
}


def parser(command: Optional[str] = None) -> argparse.ArgumentParser:
    """The command line; only the chosen command's module is imported."""
    top = argparse.ArgumentParser(prog="dgn", description="Deformable generator networks: appearance and geometry "
                                  "of images, disentangled without labels.")
    top.add_argument("--version", action="version", version=f"dgn {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="command")
    for name, text in COMMANDS.items():
        sub = commands.add_parser(name, help=text, formatter_class=argparse.RawDescriptionHelpFormatter)
        if name == command:
            module = importlib.import_module(f"dgn.cli.{name}")
            sub.description = module.__doc__
            module.add_arguments(sub)
            sub.set_defaults(run=module.run)
    return top


def main(argv: Optional[List[str]] = None) -> int:
    """Runs a command; 0 done, 1 the run failed, 2 the user's input is wrong, 130 interrupted."""
    argv = sys.argv[1:] if argv is None else argv
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.INFO)
    try:
        runtime.check_versions()
        runtime.set_environment()
        args = parser(next((a for a in argv if a in COMMANDS), None)).parse_args(argv)
        return args.run(args) or 0
    except (UserError, RunFailed) as error:
        print(f"dgn: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("dgn: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 141


if __name__ == "__main__":
    sys.exit(main())
