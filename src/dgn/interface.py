"""The public names of the package, which `dgn` offers lazily: importing this module imports MindSpore."""

from dgn.config import Config
from dgn.data.open import images
from dgn.data.source import Source
from dgn.evaluation.evaluate import evaluate
from dgn.figures.draw import draw
from dgn.nets.model import Decoded, Latents
from dgn.run import Run, load
from dgn.run_training import resume, train

__all__ = ["Config", "Decoded", "Latents", "Run", "Source", "draw", "evaluate", "images", "load", "resume", "train"]
