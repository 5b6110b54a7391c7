"""python -m dgn <command>: parsing, dispatch, exit codes."""

from __future__ import annotations

import argparse
import errno
import importlib
import logging
import os
import sys
import traceback
import warnings
from pathlib import Path

from dgn import __version__, console, device, interrupts
from dgn.errors import RunFailed, UserError

COMMANDS = {  # name, also of the module in dgn.cli: help
    "train": "train a model on images (or generated faces) into a run folder",
    "evaluate": "evaluate a run: reconstruction of training and unseen images, checkerboard, displacement",
    "infer": "infer the latents of new images with a run's model",
    "encoder": "train an encoder that initializes the Langevin chains of unseen images",
    "figures": "draw a run's pictures: canonical faces, bases, recombination, samples",
    "page": "write a run's interactive page: one HTML file in which the model runs in the browser",
    "package": "package a run on generated images: weights, latents and metrics, without optimizer state",
    "results": "print the metrics of several runs as a Markdown table",
    "experiment": "the paper's experiments: baselines, views, transfer, landmarks, balance ...",
    "export": "export a run's model as MindIR, ONNX or safetensors",
    "infer310": "arrays for the C++ program of ascend310_infer, and the check of its results",
    "check": "compare this device with NumPy and CPU, and write a report",
    "bench": "time the sampler and its parts on this machine",
    "data": "make or prepare images and clips: generated faces, face crops, MindRecord",
    "doctor": "report what this machine has, and what would not work here",
}

WITHOUT_MINDSPORE = ("doctor", "results")
TRAININGS = ("train", "experiment")
WRONG_PATH = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP)
DISK_FAILED = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOENT)  # ENOENT: removed since


def parser(command: str | None = None) -> argparse.ArgumentParser:
    """The command line with the arguments of one command.

    Only that command's module is imported: --help is fast, and doctor runs where other commands lack a package.
    """
    top = argparse.ArgumentParser(prog="dgn", description="Deformable generator networks: unsupervised disentanglement "
                                                          "of appearance and geometry.")
    top.add_argument("--version", action="version", version=f"dgn {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="command")
    for name, text in COMMANDS.items():
        if name != command:
            commands.add_parser(name, help=text)
            continue
        module = importlib.import_module(f"dgn.cli.{name}")
        sub = commands.add_parser(name, help=text, description=module.__doc__,
                                  formatter_class=argparse.RawDescriptionHelpFormatter)
        module.add_arguments(sub)
        sub.set_defaults(run=module.run, check_arguments=getattr(module, "check_arguments", None))
    return top


def check_inputs(args: argparse.Namespace) -> None:
    """Raises UserError for an empty argument, such as the value of an unset variable of a shell, a run folder without a
    run, and whatever the command's own check_arguments finds: at once, since importing MindSpore takes seconds."""
    for name, value in vars(args).items():
        if value == "" or (name == "run_folders" and "" in value):
            raise UserError(f"the argument {name.replace('_', '-')} is empty; give a value, or leave it out")
    if "run_folder" in args:
        from dgn import packaged  # not at the top: `dgn --help` imports no other package, and doctor needs none

        packaged.find(Path(args.run_folder))
    if args.check_arguments is not None:
        args.check_arguments(args)


def failed(error: BaseException, message: str, code: int) -> int:
    """Prints the message of an error, and with DGN_DEBUG=1 before it where the error arose; returns `code`.

    The traceback includes the errors that caused it, also those that `from None` leaves out.
    """
    if os.environ.get("DGN_DEBUG") == "1":
        cause: BaseException | None = error
        while cause is not None:
            cause.__suppress_context__ = False
            cause = cause.__cause__ or cause.__context__
        console.say("".join(traceback.format_exception(error)).rstrip(), sys.stderr)
    console.say(f"dgn: {message}", sys.stderr)
    return code


def import_failure(error: ImportError) -> str:
    """What an ImportError of another package says of it: it is missing, of another version, or lacks a library."""
    package, _, inside = (error.name or "").partition(".")
    if "cannot import name" in str(error) or (isinstance(error, ModuleNotFoundError) and inside):
        return (f"dgn does not support the installed version of {package}: {error}; requirements.txt has the accepted "
                "versions")
    return f"a required package cannot be imported: {error}; dgn doctor shows what is missing"


def main(argv: list[str] | None = None) -> int:
    """Runs a command. Returns 0 if it succeeded, 1 if the run failed, 2 if the user's input is wrong, 130 if
    interrupted."""
    console.prepare()
    handler = logging.StreamHandler()
    handler.setFormatter(console.Formatter("%(levelname)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", "Corrupt EXIF data", module="PIL")  # the image is read without its orientation
    words = sys.argv[1:] if argv is None else argv
    command = next((word for word in words if not word.startswith("-")), None)
    try:
        with interrupts.exiting():
            args = parser(command).parse_args(words)
            check_inputs(args)
            device.set_environment(getattr(args, "device", "auto"))
            if command not in WITHOUT_MINDSPORE:
                device.import_mindspore()
        return args.run(args) or 0
    except (UserError, RunFailed) as error:
        return failed(error, str(error), error.exit_code)
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "dgn":
            raise
        return failed(error, import_failure(error), UserError.exit_code)
    except KeyboardInterrupt:
        console.say("dgn: interrupted", sys.stderr)
        return 130
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not device.out_of_memory(error):
            raise
        advice = "; a smaller training.batch_size, or more training.micro_batches, needs less"
        return failed(error, f"not enough memory{advice if command in TRAININGS else ''}", RunFailed.exit_code)
    except BrokenPipeError:  # of standard output: nobody reads it any more
        return 141
    except OSError as error:
        if error.errno not in WRONG_PATH and error.errno not in DISK_FAILED:
            raise
        code = UserError.exit_code if error.errno in WRONG_PATH else RunFailed.exit_code
        return failed(error, ": ".join(filter(None, (error.filename, error.strerror))), code)
    finally:
        console.finish()


if __name__ == "__main__":
    sys.exit(main())
