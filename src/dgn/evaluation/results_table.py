"""A Markdown table of the measures of several runs, read from their metrics.json."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dgn.errors import UserError
from dgn.packaged import results_file
from dgn.reading import is_finite, read_json

MISSING = "-"
MEASURES = {  # title of a column: format, and the values in metrics.json
    "images, train / unseen": (".0f", "train.images", "unseen.images"),
    "MSRE, train / unseen": (".1f", "train.msre", "unseen.msre"),
    "PSNR in dB, train / unseen": (".1f", "train.psnr", "unseen.psnr"),
    "unseen: chains from, steps": ("", "unseen.start", "unseen.steps"),
    "Nyquist ratio": (".2f", "appearance.nyquist_ratio"),
    "displacement rms, px": (".1f", "geometry.displacement_rms"),
    "folded, %": (".1%", "geometry.folded"),
    "exchange: yaw, geometry / appearance donor": (
        ".2f", "exchange.yaw.geometry_donor", "exchange.yaw.appearance_donor")}
COLUMNS = ("run", *MEASURES, "device, versions")


def table(folders: Sequence[Path]) -> str:
    """A Markdown table of COLUMNS with a row for each run folder, in the given order; a missing value is a dash.

    Raises UserError if a folder has no metrics.json, or if it cannot be read.
    """
    rows = [row(str(folder), read_metrics(folder)) for folder in folders]
    return "\n".join(_line(cells) for cells in (COLUMNS, ("---",) * len(COLUMNS), *rows)) + "\n"


def read_metrics(folder: Path) -> dict[str, Any]:
    """The content of metrics.json in a run folder, or of a packaged model. Raises UserError if it is missing or
    malformed."""
    path = results_file(Path(folder))
    try:
        return read_json(path, dict)
    except FileNotFoundError:
        raise UserError(f"{folder} has no metrics.json; python -m dgn evaluate {folder} writes it") from None
    except (OSError, ValueError) as error:  # UnicodeDecodeError is a ValueError
        raise UserError(f"cannot read {path}: {error}") from None


def row(name: str, metrics: dict[str, Any]) -> tuple[str, ...]:
    """The cells of one run; metrics: the content of its metrics.json."""
    cells = [[_text(_value(metrics, path), form) for path in paths] for form, *paths in MEASURES.values()]
    return (name, *(MISSING if set(cell) == {MISSING} else " / ".join(cell) for cell in cells), _versions(metrics))


def _text(value: Any, form: str) -> str:
    if isinstance(value, str):
        return value
    if not is_finite(value):
        return MISSING
    return format(value, form).removesuffix("%")


def _value(metrics: Any, path: str) -> Any:
    """The value at a path such as "train.msre"; None if a key is missing."""
    for key in path.split("."):
        metrics = metrics.get(key) if isinstance(metrics, dict) else None
    return metrics


def _versions(metrics: dict[str, Any]) -> str:
    """Device, processor, and the versions of MindSpore and dgn, if known."""
    known = [_value(metrics, "versions.device"), _value(metrics, "versions.processor")]
    known += [f"{title} {version}" for title in ("MindSpore", "dgn")
              if (version := _value(metrics, f"versions.{title.lower()}"))]
    return ", ".join(str(text) for text in known if text) or MISSING


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
