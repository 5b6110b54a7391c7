"""Contact sheets and curves as PNG files."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, Optional, Sequence

import matplotlib
import numpy as np

from dgn.figures.grids import as_rgb, enlarge
from dgn.files import replacing

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402  (the backend comes first)


def tile(rows: Sequence[Sequence[np.ndarray]], scale: int = 3, gap: int = 3) -> np.ndarray:
    """Rows of equally large images, (C, H, W) or ready pictures (scale H, scale W, 3), as one (.., .., 3) picture."""
    rows = [[enlarge(as_rgb(i), scale) if i.shape[0] in (1, 3) else i for i in row] for row in rows]
    height, width = rows[0][0].shape[:2]
    columns = max(len(row) for row in rows)
    sheet = np.ones((len(rows) * (height + gap) - gap, columns * (width + gap) - gap, 3), np.float32)
    for r, row in enumerate(rows):
        for c, picture in enumerate(row):
            top, left = r * (height + gap), c * (width + gap)
            sheet[top:top + height, left:left + width] = np.clip(picture, 0, 1)
    return sheet


def save_sheet(path: Path, rows: Sequence[Sequence[np.ndarray]], title: str, row_names: Sequence[str],
               column_names: Optional[Sequence[str]] = None, note: str = "", scale: int = 3) -> Path:
    """Writes rows of images with a title, a name for each row and column, and a line of explanation below."""
    picture = tile(rows, scale)
    height, width = picture.shape[:2]
    dpi, left, above, below = 100, 1.9, 0.75, 0.45
    words = max(0.105 * len(title), 0.062 * len(note)) + 0.1  # inches that a line of text takes, at most
    size = (max(width / dpi + left + 0.15, words), height / dpi + above + below)
    figure = plt.figure(figsize=size, dpi=dpi)
    axes = figure.add_axes((left / size[0], below / size[1], width / dpi / size[0], height / dpi / size[1]))
    axes.imshow(picture, interpolation="nearest")
    axes.set_yticks([(r + 0.5) * height / len(rows) for r in range(len(rows))], list(row_names))
    columns = len(column_names or ())
    axes.set_xticks([(c + 0.5) * width / columns for c in range(columns)], list(column_names or ()))
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=9)
    for spine in axes.spines.values():
        spine.set_visible(False)
    figure.text(0.02, 1 - 0.1 / size[1], title, va="top", fontsize=12, weight="bold")
    figure.text(0.02, 0.1 / size[1], note, va="bottom", fontsize=8.5, color="0.3")
    return write_figure(figure, path)


def save_curves(path: Path, records: List[Dict], panels: Dict[str, Dict[str, str]]) -> Path:
    """Curves over epochs: for each panel's title the keys of `records` to draw and their names; a panel of which the
    records hold nothing is left out."""
    panels = {title: keys for title, keys in panels.items() if records and keys and all(key in records[0] for key in keys)}
    figure, axes = plt.subplots(1, len(panels), figsize=(4.6 * len(panels), 3.2), dpi=100, squeeze=False)
    for ax, (title, keys) in zip(axes[0], panels.items()):
        for key, name in keys.items():
            told = [r for r in records if key in r]  # R1 may be taken more seldom than once an epoch
            ax.plot([r["epoch"] + 1 for r in told], [r[key] for r in told], label=name)
        ax.set_title(title, fontsize=10)
        ax.set_xlabel("epoch")
        ax.grid(alpha=0.3)
        if len(keys) > 1:
            ax.legend(fontsize=8)
    figure.tight_layout()
    return write_figure(figure, path)


def write_figure(figure, path: Path) -> Path:
    """Writes a matplotlib figure as PNG and closes it."""
    try:
        with replacing(path) as beside:
            figure.savefig(beside, format="png")
    finally:
        plt.close(figure)
    return path
