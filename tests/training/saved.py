"""A run folder without a training. Apart from tests.training.tiny, which is imported where MindSpore is not needed."""

from __future__ import annotations

from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import nn

from dgn import recipe
from dgn.inference.preconditioner import group_sigmas
from dgn.randomness import generator
from dgn.run_training import prepare, record_files
from dgn.training import checkpoint
from dgn.training.build import make_state
from tests.training.tiny import SETTINGS

CLIPS = ["data.frames=3", "data.limit=4", "model.network=table5", "model.alpha=2"]  # four generated clips


def randomised(cell: nn.Cell) -> nn.Cell:
    """The Cell with random values in place of weights that are initially 0: what they change could not be seen."""
    for index, parameter in enumerate(cell.get_parameters()):
        if not np.any(parameter.asnumpy()):
            values = 0.1 * generator(index, "test").standard_normal(parameter.shape, np.float32)
            parameter.set_data(ms.Tensor(values))
    return cell


def saved_run(output: Path, *settings: str, images: Path | None = None) -> Path:
    """A run folder whose one checkpoint, that of its last epoch, holds initial weights and chains and a preconditioner
    that is not the identity: a run to be opened, exported or refused, for which nothing is compiled.

    settings: those that differ from tiny.SETTINGS; images: their folder (default: generated ones). Its latents are not
    along principal axes, and it has no records.
    """
    where = [] if images is None else [f"data.path={images}"]
    folder, sources = prepare(output, recipe.load(None, [*SETTINGS, "training.epochs=1", *where, *settings]))
    record_files(folder, sources)
    trainer, bank, *_ = make_state(folder.config, folder, sources.train, None)
    for network in trainer.networks.values():
        randomised(network)
    preconditioner = trainer.sampler.preconditioner
    if preconditioner is not None:
        preconditioner.update([np.diag(1.0 + np.arange(len(metric))) for metric in preconditioner.inverses],
                              group_sigmas(folder.config.inference, preconditioner.names, 0))
    cells = {**trainer.networks, **trainer.optimizers}
    checkpoint.save(folder.checkpoints, checkpoint.Position(folder.config.training.epochs, 0),
                    {"images": sources.train.identity(), "sums": {}}, cells, bank, 1)
    return output
