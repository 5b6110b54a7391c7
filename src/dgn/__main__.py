"""python -m dgn <command>: parsing, dispatch, exit codes."""

from __future__ import annotations

import argparse
import logging
import sys
from typing import List, Optional

from dgn import __version__, console, device
from dgn.cli import bench, data, doctor, evaluate, experiment, export, figures, infer, infer310, results, train
from dgn.errors import RunFailed, UserError

# name: (module, help). The modules import MindSpore only when a command runs, so that --help is fast.
COMMANDS = {
    "train": (train, "train a model on images (or generated faces) into a run folder"),
    "evaluate": (evaluate, "evaluate a run: reconstruction of training and unseen images, checkerboard, displacement"),
    "infer": (infer, "infer the latents of new images with a run's model"),
    "figures": (figures, "draw a run's pictures: canonical faces, bases, recombination, samples"),
    "results": (results, "print the measures of several runs as a Markdown table"),
    "experiment": (experiment, "the paper's experiments: baselines, views, transfer, landmarks, balance ..."),
    "export": (export, "export a run's model as MindIR or ONNX"),
    "infer310": (infer310, "arrays for the C++ program of ascend310_infer, and the check of its results"),
    "bench": (bench, "time the sampler and its parts on this machine"),
    "data": (data, "make or prepare images and clips: generated faces, face crops, MindRecord"),
    "doctor": (doctor, "report what this machine has, and what would not work here"),
}

WITHOUT_MINDSPORE = ("doctor", "results")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="dgn", description="Deformable generator networks: unsupervised disentanglement "
                                                          "of "
                                  "appearance and geometry.")
    top.add_argument("--version", action="version", version=f"dgn {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="command")
    for name, (module, text) in COMMANDS.items():
        sub = commands.add_parser(name, help=text, description=module.__doc__,
                                  formatter_class=argparse.RawDescriptionHelpFormatter)
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    return top


def main(argv: Optional[List[str]] = None) -> int:
    """Runs a command. Returns 0 if it succeeded, 1 if the run failed, 2 if the user's input is wrong, 130 if
    interrupted."""
    console.prepare()
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.INFO)
    try:
        args = parser().parse_args(argv)
        if args.command not in WITHOUT_MINDSPORE:
            device.import_mindspore()
        return args.run(args) or 0
    except (UserError, RunFailed) as error:
        print(f"dgn: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("dgn: interrupted", file=sys.stderr)
        return 130
    except MemoryError:
        print("dgn: not enough memory; a smaller training.batch_size, or more training.micro_batches, needs less",
              file=sys.stderr)
        return 1
    except BrokenPipeError:  # of standard output: nobody reads it any more
        return 141
    finally:
        console.finish()


if __name__ == "__main__":
    sys.exit(main())
