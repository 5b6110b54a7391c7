"""A Markdown table of the measures of several runs, read from their metrics.json."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Sequence

from dgn.errors import UserError

MISSING = "-"
COLUMNS = ("run", "images, train / unseen", "MSRE, train / unseen", "PSNR in dB, train / unseen", "Nyquist ratio",
           "displacement rms, px", "folded, %", "exchange: yaw, geometry / appearance donor", "device, versions")


def table(folders: Sequence[Path]) -> str:
    """Returns a Markdown table with a row a run folder, in the given order.

    The columns are those of `COLUMNS`: the sections "train", "unseen", "appearance", "geometry", "exchange" and
    "versions" that an evaluation writes. A value that a run does not have is a dash.

    Raises:
        UserError: a folder has no metrics.json, or one that cannot be read.
    """
    rows = [row(str(folder), read_metrics(folder)) for folder in folders]
    return "\n".join(_line(cells) for cells in (COLUMNS, ("---",) * len(COLUMNS), *rows)) + "\n"


def read_metrics(folder: Path) -> dict[str, Any]:
    """Returns the content of metrics.json in a run folder. Raises UserError if it is missing or malformed."""
    path = Path(folder) / "metrics.json"
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{folder} has no metrics.json; python -m dgn evaluate {folder} writes it") from None
    except (OSError, ValueError) as error:  # UnicodeDecodeError is a ValueError
        raise UserError(f"cannot read {path}: {error}") from None
    if not isinstance(metrics, dict):
        raise UserError(f"{path} does not hold sections with measures")
    return metrics


def row(name: str, metrics: dict[str, Any]) -> tuple[str, ...]:
    """Returns the cells of one run; `metrics` is the content of its metrics.json."""
    def number(*keys: str, digits: int, factor: float = 1.0) -> str:
        value = _value(metrics, keys)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return MISSING
        return f"{value * factor:.{digits}f}"

    return (name,
            _pair(number("train", "images", digits=0), number("unseen", "images", digits=0)),
            _pair(number("train", "msre", digits=1), number("unseen", "msre", digits=1)),
            _pair(number("train", "psnr", digits=1), number("unseen", "psnr", digits=1)),
            number("appearance", "nyquist_ratio", digits=2),
            number("geometry", "displacement_rms", digits=1),
            number("geometry", "folded", digits=1, factor=100),
            _pair(number("exchange", "yaw", "geometry_donor", digits=2),
                  number("exchange", "yaw", "appearance_donor", digits=2)),
            _versions(metrics))


def _value(metrics: Any, keys: Sequence[str]) -> Any:
    """Returns the value below nested keys; None if one of them is missing."""
    for key in keys:
        metrics = metrics.get(key) if isinstance(metrics, dict) else None
    return metrics


def _pair(first: str, second: str) -> str:
    return MISSING if first == second == MISSING else f"{first} / {second}"


def _versions(metrics: dict[str, Any]) -> str:
    """Returns device, processor and the versions of MindSpore and dgn, as far as they are known."""
    device = _value(metrics, ("device",)) or _value(metrics, ("versions", "device"))
    known = [device, _value(metrics, ("versions", "processor"))]
    known += [f"{title} {version}" for key, title in (("mindspore", "MindSpore"), ("dgn", "dgn"))
              if (version := _value(metrics, ("versions", key)))]
    return ", ".join(str(text) for text in known if text) or MISSING


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
