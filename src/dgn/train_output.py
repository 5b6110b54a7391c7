"""Output of a training besides its log: the first images, pictures while it runs, evaluation and page at its end."""

from __future__ import annotations

import itertools

from dgn.config import Config
from dgn.data.open import described
from dgn.data.source import Sources
from dgn.evaluation.evaluate import evaluate, summary
from dgn.figures.draw import draw, draw_data, draw_progress
from dgn.page.write import has_page, write_page
from dgn.run import Run
from dgn.run_folder import RunFolder
from dgn.run_training import AfterEpoch


def show_data(folder: RunFolder, sources: Sources) -> None:
    """Before a training: prints what the data are, and draws the first images."""
    folder.say(f"data              {described(folder.config.data, sources)}")
    folder.say(f"picture           {draw_data(sources.train, folder.figures)}")


def pictures_while_training(config: Config, train_only: bool) -> AfterEpoch | None:
    """A callback that draws pictures and updates the page: all figures every training.figures_every epochs, or by
    default a few after epochs 1, 3, 10, 30, 100 ...; None by default with --train-only."""
    every, epochs = config.training.figures_every, config.training.epochs
    if train_only and not every:
        return None
    powers = (base * 10 ** k for k in itertools.count() for base in (1, 3))
    due = set(range(every, epochs, every)) if every else set(itertools.takewhile(lambda done: done < epochs, powers))

    def callback(run: Run, done: int) -> None:
        if done in due:
            (draw if every else draw_progress)(run, run.folder.figures / f"epoch_{done:05d}")
            if has_page(run):
                write_page(run, finished=False)
    return callback


def finish(run: Run) -> None:
    """Evaluates and draws a finished training, writes its page, and prints the results and their paths."""
    folder = run.folder
    folder.say("evaluating the run and drawing its pictures ...")
    folder.say(summary(evaluate(run)))
    drawn = draw(run)
    folder.say(f"numbers           {folder.results_path}")
    for path in drawn:
        folder.say(f"picture           {path}")
    if has_page(run):
        folder.say(f"page              {write_page(run)} (open it in a browser: sliders, exchange, views)")
