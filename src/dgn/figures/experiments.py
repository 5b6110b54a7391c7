"""Charts and pictures of the experiments, each written as one PNG."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Sequence

import cv2
import numpy as np

from dgn.figures import bases
from dgn.figures.grids import GREEN, as_rgb, enlarge, with_grid
from dgn.figures.pictures import ends, symbol
from dgn.figures.sheet import plt, save_sheet, write_figure

SCALE = 3
TRUE, FOUND = tuple(map(float, GREEN)), (1.0, 0.1, 0.1)


def view_bars(path: Path, result: Dict[str, Any]) -> Path:
    """Fig. 6: R of every dimension of Z^g and Z^a, on one scale."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), dpi=100, sharey=True)
    for ax, name, title in zip(axes, ("z_geo", "z_app"), ("Z^g (geometry)", "Z^a (appearance)")):
        group = result["groups"][name]
        ax.bar(range(len(group["r"])), group["r"], color="tab:blue" if name == "z_geo" else "tab:orange")
        ax.axhline(group["noise"], color="0.5", lw=1, ls="--", label="expected of noise alone")
        ax.set_title(f"|covariance| of {title} with view")
        ax.set_xlabel("dimension")
        ax.legend(fontsize=8)
    axes[0].set_ylabel("R (Eq. 21)")
    figure.tight_layout()
    return write_figure(figure, path)


def view_lines(path: Path, result: Dict[str, Any]) -> Path:
    """Fig. 7a: mean latents over view of the two largest dimensions of Z^g and the largest of Z^a."""
    chosen = _largest(result)
    figure, axes = plt.subplots(1, len(chosen), figsize=(3.7 * len(chosen), 3), dpi=100, sharey=True)
    for ax, (name, dimension) in zip(axes, chosen):
        group = result["groups"][name]
        ax.plot(result["views"], np.array(group["means"])[:, dimension], "o-", color="tab:blue" if name == "z_geo" else "tab:orange")
        ax.set_title(f"{symbol(name)} dimension {dimension}, R = {group['r'][dimension]:.3f}", fontsize=10)
        ax.set_xlabel("view (degrees of yaw)")
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("mean latent")
    figure.tight_layout()
    return write_figure(figure, path)


def view_traversals(path: Path, decode: bases.Decode, result: Dict[str, Any], face: np.ndarray, gamma: float) -> Path:
    """Fig. 7b: pictures along the dimensions of Fig. 7a; the geometric ones bend one appearance."""
    sizes = {name: len(group["r"]) for name, group in result["groups"].items()}
    rows, names = [], []
    for name, dimension in _largest(result):
        z = bases.sweep(dimension, sizes[name], gamma)
        latents = (face[None].repeat(len(z), 0), z) if name == "z_geo" else (z, np.zeros((len(z), sizes["z_geo"]), np.float32))
        rows.append(list(decode(*latents).image))
        names.append(f"{symbol(name)} {dimension}\nR = {result['groups'][name]['r'][dimension]:.3f}")
    return save_sheet(path, rows, "The dimensions that covary most with view, from -gamma to gamma", names, ends(gamma),
                      note="Rows of Z^g should turn the face, the row of Z^a should not.")


def _largest(result: Dict[str, Any]) -> List:
    geometry = np.argsort(result["groups"]["z_geo"]["r"])[::-1]
    return [*(("z_geo", int(dimension)) for dimension in geometry[:2]), ("z_app", result["groups"]["z_app"]["dimension"])]


SCORES = {"r2_gap": "R2 gap", "dci_disentanglement": "DCI dis-\nentanglement", "dci_completeness": "DCI com-\npleteness",
          "mig": "MIG", "sap": "SAP"}


def disentanglement(path: Path, models: Dict[str, Dict[str, Any]]) -> Path:
    """The measures with known factors of several models as bars."""
    figure, ax = plt.subplots(figsize=(9, 3.4), dpi=100)
    width = 0.8 / len(models)
    for k, (name, measured) in enumerate(models.items()):
        values = [measured["disentanglement"][score] for score in SCORES]
        ax.bar(np.arange(len(values)) + (k - (len(models) - 1) / 2) * width, values, width, label=name)
    ax.set_xticks(range(len(SCORES)), list(SCORES.values()), fontsize=9)
    ax.axhline(0, color="0.3", lw=0.8)
    ax.set_title("Appearance and geometry apart: 1 is perfect, 0 is nothing", fontsize=11)
    ax.legend(fontsize=9)
    figure.tight_layout()
    return write_figure(figure, path)


def landmarks(path: Path, images: np.ndarray, decoded, truth: np.ndarray, predicted: np.ndarray) -> Path:
    """Fig. 14: test images, the bent grid, the canonical grid on the appearance, true (green) and predicted (red) landmarks."""
    rows = [list(images), [with_grid(i, d, SCALE) for i, d in zip(decoded.image, decoded.displacement)],
            [with_grid(a, None, SCALE) for a in decoded.appearance],
            [with_points(i, {TRUE: t, FOUND: p}) for i, t, p in zip(images, truth, predicted)]]
    return save_sheet(path, rows, "Landmarks from displacement fields",
                      ["test image", "reconstruction,\nbent grid", "appearance,\ncanonical grid", "landmarks"],
                      note="Green: true; red: read off the displacement.")


def with_points(image: np.ndarray, points: Dict[Sequence[float], np.ndarray], scale: int = SCALE) -> np.ndarray:
    """An image (C, H, W) with points (n, 2) in pixels, by colour; (scale H, scale W, 3)."""
    picture = np.ascontiguousarray(enlarge(as_rgb(image), scale))
    for colour, places in points.items():
        for x, y in places:
            centre = tuple(int(round(16 * ((v + 0.5) * scale - 0.5))) for v in (x, y))
            cv2.circle(picture, centre, int(16 * 0.8 * scale), colour, -1, cv2.LINE_AA, shift=4)
    return picture


def reconstructions(path: Path, rows: Dict[str, np.ndarray], columns: Sequence[str], title: str, note: str = "") -> Path:
    """Named rows of images (n, C, H, W) side by side."""
    return save_sheet(path, [list(images) for images in rows.values()], title, list(rows), columns, note)


def balance(path: Path, sweeps: Dict[str, Dict[str, Dict[str, float]]]) -> Path:
    """The explaining-away competition: error, shares and checkerboard over each sweep's values (5.7)."""
    figure, axes = plt.subplots(2, len(sweeps), figsize=(4.6 * len(sweeps), 5.6), dpi=100, squeeze=False)
    for column, (title, found) in enumerate(sweeps.items()):
        names, places = list(found), range(len(found))
        upper, lower = axes[:, column]
        for key, label in (("pose_in_geometry", "pose in geometry"), ("colour_in_appearance", "colour in appearance")):
            upper.plot(places, [found[name][key] for name in names], "o-", label=label)
        upper.set_ylim(-1, 1.05)
        upper.axhline(0, color="0.6", lw=0.8)
        upper.set_title(title, fontsize=10)
        upper.legend(fontsize=8)
        lower.plot(places, [found[name]["msre"] for name in names], "o-", color="0.3", label="MSRE (left)")
        lower.set_ylim(bottom=0)
        right = lower.twinx()
        right.plot(places, [found[name]["nyquist_ratio"] for name in names], "s--", color="tab:red", label="checkerboard (right)")
        right.set_yscale("log")
        right.axhline(1, color="tab:red", lw=0.6, alpha=0.5)
        lines = lower.get_lines() + right.get_lines()[:1]
        lower.legend(lines, [line.get_label() for line in lines], fontsize=8)
        for ax in (upper, lower):
            ax.set_xticks(places, names)
            ax.grid(alpha=0.3)
    axes[0][0].set_ylabel("own donor's correlation less the other's")
    figure.tight_layout()
    return write_figure(figure, path)


def balance_faces(path: Path, rows: Dict[str, List[np.ndarray]]) -> Path:
    """For each value of a sweep images, then as many reconstructions, and appearances before the warp."""
    each = len(next(iter(rows.values()))) // 3
    names = [kind if k == 0 else "" for kind in ("input", "reconstruction", "before the warp") for k in range(each)]
    return save_sheet(path, list(rows.values()), "The balance of appearance and geometry", list(rows), names,
                      note="A good appearance before the warp is a face in front view; a lattice of dots is the degenerate solution.")


def confusions(path: Path, results: Dict[str, Dict[str, Any]]) -> Path:
    """Confusion matrices side by side, in per cent of each true class."""
    figure, axes = plt.subplots(1, len(results), figsize=(3.6 * len(results), 4.6), dpi=100, squeeze=False, layout="constrained")
    for ax, (name, result) in zip(axes[0], results.items()):
        counts = np.array(result["confusion"], float)
        shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
        ax.imshow(shares, cmap="Blues", vmin=0, vmax=100)
        for row, column in np.ndindex(shares.shape):
            if shares[row, column] >= 0.5:
                ax.text(column, row, f"{shares[row, column]:.0f}", ha="center", va="center", fontsize=7,
                        color="white" if shares[row, column] > 60 else "black")
        ax.set_xticks(range(len(shares)), result["classes"], rotation=90, fontsize=7)
        ax.set_yticks(range(len(shares)), result["classes"] if ax is axes[0][0] else [""] * len(shares), fontsize=7)
        ax.set_title(f"{name}: {100 * result['accuracy']:.1f} %", fontsize=10)
        ax.set_xlabel("recognised as", fontsize=8)
    axes[0][0].set_ylabel("true class", fontsize=8)
    return write_figure(figure, path)
