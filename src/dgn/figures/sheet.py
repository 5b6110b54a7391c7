"""Contact sheets and curves as PNG files."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib  # noqa: F401  (if it is missing, a training must not find out at its end)
import numpy as np

from dgn.figures.grids import as_rgb, display_scale, enlarge
from dgn.files import replacing
from dgn.provenance import provenance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 100
GAP = 3  # pixels between the images of a sheet, white
HIGHEST = 60_000  # pixels of a sheet's rows (matplotlib draws less than 65,536)
NAME_WIDTH, NAME_LINES = 24, 3  # characters of a line, and lines, of a row's name
FEW = 3  # curves with fewer points get markers
LITERAL: dict[str, Any] = {"parse_math": False}  # a file name may hold $


def tile(rows: Sequence[Sequence[np.ndarray]], scale: int | None = None) -> np.ndarray:
    """Rows of equally large images as one picture, with GAP between them.

    rows: images (C, H, W), or pictures that are enlarged already, (scale * H, scale * W, 3); all in [0, 1].
    scale: enlargement of the images (default: as large as the pictures, or as in figures).
    Returns (height, width, 3) float32.
    """
    every = [picture for row in rows for picture in row]
    images, ready = [p for p in every if _is_image(p)], [p for p in every if not _is_image(p)]
    if scale is None and images:
        side = images[0].shape[1]
        scale = len(ready[0]) // side if ready else display_scale(side)
    rows = [[enlarge(as_rgb(p), scale or 1) if _is_image(p) else p for p in row] for row in rows]
    height, width = rows[0][0].shape[:2]
    columns = max(len(row) for row in rows)
    sheet = np.ones((len(rows) * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), np.float32)
    for r, row in enumerate(rows):
        for c, picture in enumerate(row):
            top, left = r * (height + GAP), c * (width + GAP)
            sheet[top:top + height, left:left + width] = np.clip(picture, 0, 1)
    return sheet


def _is_image(picture: np.ndarray) -> bool:
    return picture.shape[0] in (1, 3)


def save_sheet(path: Path, rows: Sequence[Sequence[np.ndarray]], title: str, row_names: Sequence[str],
               column_names: Sequence[str] | None = None, note: str = "") -> Path:
    """Writes rows of images as a PNG with a title, a name for each row and column, and a note below; see `tile`.

    Names are drawn literally: no mathematical notation; characters that cannot be printed are escaped. Rows beyond
    HIGHEST pixels are left out, and the note says so.
    """
    fitting = max(HIGHEST // len(tile(rows[:1])), 1)
    if len(rows) > fitting:
        note = f"{note} The first {fitting} of {len(rows)} rows.".strip()
        rows, row_names = rows[:fitting], row_names[:fitting]
    picture = tile(rows)
    height, width = picture.shape[:2]
    left, above, below = 1.9 if any(row_names) else 0.2, 0.75 if column_names else 0.45, 0.45 if note else 0.15
    text_width = max(0.105 * len(title), 0.062 * len(note)) + 0.1  # inches, at most
    size = (max(width / DPI + left + 0.15, text_width), height / DPI + above + below)
    figure = new_figure(size)
    axes = figure.add_axes((left / size[0], below / size[1], width / DPI / size[0], height / DPI / size[1]))
    axes.imshow(picture, interpolation="nearest")
    axes.set_yticks([(r + 0.5) * height / len(rows) for r in range(len(rows))], [_row_name(n) for n in row_names],
                    **LITERAL)
    columns = len(column_names or ())
    axes.set_xticks([(c + 0.5) * width / columns for c in range(columns)], [printable(n) for n in column_names or ()],
                    **LITERAL)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=9)
    for spine in axes.spines.values():
        spine.set_visible(False)
    figure.text(0.2 / size[0], 1 - 0.1 / size[1], printable(title), va="top", fontsize=12, weight="bold", **LITERAL)
    figure.text(0.2 / size[0], 0.1 / size[1], printable(note), va="bottom", fontsize=8.5, color="0.3", **LITERAL)
    return write_figure(figure, path)


def save_images(path: Path, images: np.ndarray | Sequence[np.ndarray], columns: int, title: str,
                note: str = "") -> Path:
    """Writes images as a sheet with `columns` images in a row; the last row may have fewer."""
    rows = [list(images[k:k + columns]) for k in range(0, len(images), columns)]
    return save_sheet(path, rows, title, [""] * len(rows), note=note)


def printable(text: str) -> str:
    """A text with escapes such as \\x07 for characters that cannot be printed; line breaks stay."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode("ascii") for c in text)


def _row_name(name: str) -> str:
    """A name that fits next to a row: long lines are wrapped, and excess lines are cut."""
    lines = [part for line in printable(name).split("\n") for part in textwrap.wrap(line, NAME_WIDTH) or [""]]
    return "\n".join(lines[:NAME_LINES] + (["..."] if len(lines) > NAME_LINES else []))


def save_curves(path: Path, records: list[dict[str, Any]], panels: dict[str, dict[str, str]],
                steps: Sequence[str] = ()) -> Path:
    """Writes curves over epochs as a PNG, with dotted lines where one of the records' values named in `steps` changes.

    records: one for each epoch, with the key "epoch"; panels: for each panel's title the keys of its curves and their
    names. Curves whose keys no record has, and panels without curves, are omitted.
    """
    recorded = {key for record in records for key in record}
    panels = {title: {key: name for key, name in keys.items() if key in recorded} for title, keys in panels.items()}
    panels = {title: keys for title, keys in panels.items() if keys}
    changes = [(later["epoch"] + 0.5, key) for key in steps for earlier, later in zip(records, records[1:])
               if earlier.get(key) != later.get(key)]  # between two epochs
    columns = max(len(panels), 1)
    figure = new_figure((4.6 * columns, 3.2))
    axes = figure.subplots(1, columns, squeeze=False)
    for ax, (title, keys) in zip(axes[0], panels.items()):
        for key, name in keys.items():
            present = [r for r in records if key in r]  # R1 may be computed less often than once an epoch
            ax.plot([r["epoch"] + 1 for r in present], [r[key] for r in present], label=name,
                    marker="o" if len(present) < FEW else None)
        ax.set_title(title, fontsize=10)
        ax.set_xlabel("epoch")
        ax.grid(alpha=0.3)
        for epoch, _ in changes:
            ax.axvline(epoch, color="0.5", linestyle=":", linewidth=0.8)
        if len(keys) > 1:
            ax.legend(fontsize=8)
        else:
            ax.set_ylabel(name)
    if changes:
        named = " or ".join(dict.fromkeys(key for _, key in changes))
        figure.supxlabel(f"Dotted lines: {named} changes (inference section of the config).", fontsize=8.5, color="0.3")
    figure.tight_layout()
    return write_figure(figure, path)


def new_figure(size: tuple[float, float]) -> Figure:
    """An empty matplotlib figure of width and height in inches, with DPI pixels to the inch, for write_figure.

    It has a canvas of its own and is not registered with pyplot, whose backend and open figures belong to the program
    that imports dgn, for example a notebook.
    """
    # imported here: most processes of a training and most commands draw nothing, and this takes half a second
    from matplotlib.figure import Figure

    return Figure(figsize=size, dpi=DPI)


def write_figure(figure: Figure, path: Path) -> Path:
    """Writes a matplotlib figure as a PNG that also holds its provenance as text."""
    origin = provenance()
    texts = {"Software": f"dgn {origin['dgn']}", "Command": origin["command"], "Commit": origin.get("commit"),
             "Seconds": str(origin["seconds"])}
    with replacing(path) as beside, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a box stands for a character of no font
        figure.savefig(beside, format="png", metadata={key: text for key, text in texts.items() if text})
    return path
