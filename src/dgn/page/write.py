"""Writes the interactive page of a run: one HTML file, which needs no network and no other file."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

from dgn.errors import UserError
from dgn.files import write_text
from dgn.inference.axes import principal_axes
from dgn.nets.model import GROUP_TEXTS, Latents, PlainLatents
from dgn.page import images, record
from dgn.page.arrays import Packer
from dgn.page.description import describe
from dgn.page.samples import Samples, first_pair, shown_samples
from dgn.run import Run

FOLDER = Path(__file__).parent
SCRIPTS = ("decoder", "prior", "draw", "state", "sliders", "mix", "about", "page")
NAME = "page.html"  # in the run folder
SPARE = 4096  # bytes for the pictures' names and captions
LIMIT = 2_000_000  # bytes of the page: the pictures of the run are downscaled to what is left


def write_page(run: Run, path: Path | None = None, finished: bool = True, prior: str = "fitted") -> Path:
    """Writes the page of a run and returns its path.

    The page contains the run's weights, some of its images and their latents. Only the pictures of the run are reduced
    to keep LIMIT; a model too large for it gives a larger page without pictures.

    run: of images with any model, or of clips with a deformable one.
    path: the file (default: page.html in the folder of the run's results).
    finished: False writes the page of a training in progress in a few seconds: no latents are inferred, and the
        pictures are those of the newest epoch.
    prior: what the page draws random samples from, see Run.sample.
    Raises UserError for a run without a page; see has_page.
    """
    if not has_page(run):
        raise UserError(f"{run.folder.path} is a run of a plain model on clips, which has no page; dgn figures draws "
                        "its pictures")
    path = path or run.folder.output / NAME
    packer = Packer()
    data = _contents(run, packer, finished)
    data["prior"] = [packer.add(values) for values in run.fitted_prior] if prior == "fitted" else None
    arrays = packer.base64()
    size = len(_assemble(data, arrays).encode("utf-8"))
    folder = run.folder.figures
    if not finished:
        folder = max(folder.glob("epoch_*"), default=folder)
    data["pictures"] = images.run_pictures(folder, LIMIT - size - SPARE)
    write_text(path, _assemble(data, arrays))
    return path


def has_page(run: Run) -> bool:
    """Whether the page's decoder has the model: a deformable or plain generator, but not the plain model of clips."""
    return run.model.latents_type in (Latents, PlainLatents)


def _contents(run: Run, packer: Packer, finished: bool) -> dict[str, Any]:
    """The page's data; arrays go to `packer`."""
    samples = shown_samples(run, inferred=finished)
    singular, plural = record.nouns(run)
    metrics, records = run.folder.read_results(), run.folder.read_metrics_log()
    return {
        "run": _name(run), "noun": singular, "nouns": plural,
        "model": describe(run.model, packer), "groups": _groups(run, samples, packer),
        "samples": [{"unseen": chosen.unseen, "count": len(chosen.images), "sprite": images.sprite(chosen.images),
                     "latents": [packer.add(z) for z in chosen.latents]} for chosen in samples],
        "pair": first_pair(samples),
        "facts": record.facts(run, records), "curves": record.curves(records), "numbers": record.numbers(run, metrics),
        "exchange": record.exchange(metrics), "metrics": record.public_metrics(metrics), "pictures": []}


def _name(run: Run) -> str:
    """The name of the run folder; bytes that are no UTF-8 become question marks."""
    return run.folder.path.resolve().name.encode("utf-8", "replace").decode("utf-8")


def _groups(run: Run, samples: list[Samples], packer: Packer) -> list[dict[str, Any]]:
    """Names of the latent groups and, of those that are sampled, principal axes with their share of the effect."""
    groups = []
    for group, axes in zip(run.model.groups, principal_axes(run.model, samples[0].latents)):
        _, name, hint = GROUP_TEXTS[group.name]
        title = name.capitalize()
        if axes is None:
            groups.append({"title": title, "hint": "the given label", "labels": group.shape[0], "axes": None})
            continue
        groups.append({"title": title, "hint": hint, "labels": 0, "axes": packer.add(axes.directions),
                      "share": [round(float(share), 4) for share in axes.share]})
    return groups


def _assemble(data: dict[str, Any], arrays: str) -> str:
    """The HTML text: template.html with style, scripts, data and arrays instead of its {{names}}."""
    def read(name: str) -> str:
        return (FOLDER / name).read_text(encoding="utf-8").strip()

    title = f"{data['nouns'].capitalize()} decoded by {data['run']}"
    parts = {"title": html.escape(title), "generator": html.escape(record.program()),
             "style": read("style.css"), "arrays": arrays,
             "data": json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"),
             "scripts": "\n".join(f"<script>\n{read(f'{name}.js')}\n</script>" for name in SCRIPTS)}
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], read("template.html")) + "\n"
