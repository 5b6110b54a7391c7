"""Charts and pictures of the experiments: arrays and results to PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dgn.figures import bases
from dgn.figures.grids import GREEN, as_rgb, display_scale, enlarge, with_grid
from dgn.figures.pictures import APPEARANCE, GEOMETRY, ends
from dgn.figures.sheet import new_figure, save_sheet, write_figure
from dgn.nets.model import GROUP_TEXTS, Decode, Decoded

TRUE, PREDICTED = tuple(map(float, GREEN)), (1.0, 0.1, 0.1)  # colours of landmarks


def view_bars(path: Path, result: dict[str, Any]) -> Path:
    """Fig. 6: R of every dimension of Z^g and Z^a, on one scale. result: from dgn.evaluation.view_covariance."""
    figure = new_figure((9, 3.2))
    axes = figure.subplots(1, 2, sharey=True)
    for ax, name, title in zip(axes, ("z_geo", "z_app"), (f"{GEOMETRY} (geometry)", f"{APPEARANCE} (appearance)")):
        group = result["groups"][name]
        ax.bar(range(len(group["r"])), group["r"], color="tab:blue" if name == "z_geo" else "tab:orange")
        ax.axhline(group["noise"], color="0.5", lw=1, ls="--", label="expected by chance")
        ax.set_title(f"|covariance| of {title} with view")
        ax.set_xlabel("dimension")
        ax.legend(fontsize=8)
    axes[0].set_ylabel("|covariance|, R of Eq. 21")
    figure.tight_layout()
    return write_figure(figure, path)


def view_lines(path: Path, result: dict[str, Any]) -> Path:
    """Fig. 7a: mean latents over the view, for two dimensions of Z^g and one of Z^a with the largest R."""
    dimensions = _largest(result)
    figure = new_figure((3.7 * len(dimensions), 3))
    axes = figure.subplots(1, len(dimensions), sharey=True)
    for ax, (name, dimension) in zip(axes, dimensions):
        group = result["groups"][name]
        ax.plot(result["views"], np.array(group["means"])[:, dimension], "o-",
                color="tab:blue" if name == "z_geo" else "tab:orange")
        ax.set_title(f"{GROUP_TEXTS[name].symbol} dimension {dimension}, R = {group['r'][dimension]:.3f}", fontsize=10)
        ax.set_xlabel("view (degrees of yaw)")
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("mean latent")
    figure.tight_layout()
    return write_figure(figure, path)


def view_traversals(path: Path, decode: Decode, result: dict[str, Any], face: np.ndarray, gamma: float) -> Path:
    """Fig. 7b: images along the dimensions of Fig. 7a; geometric dimensions warp the appearance `face` (d_a,)."""
    sizes = {name: len(group["r"]) for name, group in result["groups"].items()}
    rows, names = [], []
    for name, dimension in _largest(result):
        z = bases.sweep(dimension, sizes[name], gamma)
        zeros = np.zeros((len(z), sizes["z_geo"]), np.float32)
        latents = (face[None].repeat(len(z), 0), z) if name == "z_geo" else (z, zeros)
        rows.append(list(decode(*latents).image))
        r = result["groups"][name]["r"][dimension]
        names.append(f"{GROUP_TEXTS[name].symbol} dimension {dimension}\nR = {r:.3f}")
    title = f"The dimensions that covary most with view, from -{gamma:g} to {gamma:g}"
    return save_sheet(path, rows, title, names, ends(gamma),
                      note=f"Rows of {GEOMETRY} should turn the face, the row of {APPEARANCE} should not.")


def _largest(result: dict[str, Any]) -> list[tuple[str, int]]:
    """The dimensions of Fig. 7: (group, dimension)."""
    geometry = np.argsort(result["groups"]["z_geo"]["r"])[::-1]
    appearance = result["groups"]["z_app"]["dimension"]
    return [*(("z_geo", int(dimension)) for dimension in geometry[:2]), ("z_app", appearance)]


SCORES = {"r2_gap": "R2 gap", "dci_disentanglement": "DCI dis-\nentanglement",
          "dci_completeness": "DCI com-\npleteness", "mig": "mutual infor-\nmation gap",
          "sap": "separated\npredictability"}


def disentanglement(path: Path, models: dict[str, dict[str, Any]]) -> Path:
    """Measures with known factors for several models as bars. models: results by name, with the values of
    dgn.evaluation.disentanglement."""
    figure = new_figure((11, 3.4))
    ax = figure.subplots()
    width = 0.8 / len(models)
    for k, (name, measured) in enumerate(models.items()):
        values = [measured["disentanglement"][score] for score in SCORES]
        ax.bar(np.arange(len(values)) + (k - (len(models) - 1) / 2) * width, values, width, label=name)
    ax.set_xticks(range(len(SCORES)), list(SCORES.values()), fontsize=9)
    ax.axhline(0, color="0.3", lw=0.8)
    ax.set_title("Disentanglement of appearance and geometry", fontsize=11)
    ax.set_ylabel("score (1: complete)")
    ax.legend(fontsize=9, loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)
    figure.tight_layout()
    return write_figure(figure, path)


def landmarks(path: Path, images: np.ndarray, decoded: Decoded, truth: np.ndarray, predicted: np.ndarray) -> Path:
    """Fig. 14: test images (n, C, H, W), the warped grid, the canonical grid on the appearance, and true (green) and
    predicted (red) landmarks (n, 5, 2) in pixels. decoded: reconstructions of these images."""
    appearance, displacement = decoded.warp_inputs
    rows = [list(images), [with_grid(i, d) for i, d in zip(decoded.image, displacement)],
            [with_grid(a) for a in appearance],
            [with_points(i, {TRUE: t, PREDICTED: p}) for i, t, p in zip(images, truth, predicted)]]
    return save_sheet(path, rows, "Landmarks from displacement fields",
                      ["test image", "reconstruction,\nwarped grid", "appearance,\ncanonical grid", "landmarks"],
                      note="Green: true; red: predicted from the displacement.")


def with_points(image: np.ndarray, points: dict[Sequence[float], np.ndarray]) -> np.ndarray:
    """An image (C, H, W) with points (n, 2) in pixels by colour, enlarged as in other figures, (height, width, 3)."""
    scale = display_scale(image.shape[-1])
    picture = np.ascontiguousarray(enlarge(as_rgb(image), scale))
    for colour, positions in points.items():
        for x, y in positions:
            centre = tuple(int(round(16 * ((v + 0.5) * scale - 0.5))) for v in (x, y))
            cv2.circle(picture, centre, int(16 * 0.8 * scale), colour, -1, cv2.LINE_AA, shift=4)
    return picture


def balance(path: Path, sweeps: dict[str, dict[str, dict[str, float]]]) -> Path:
    """The explaining-away competition (5.7): error, shares and checkerboard over the values of each sweep.

    sweeps: title of a sweep -> name of a value -> measures of dgn.experiments.balance.
    """
    figure = new_figure((4.6 * len(sweeps), 5.6))
    axes = figure.subplots(2, len(sweeps), squeeze=False)
    for column, (title, measures) in enumerate(sweeps.items()):
        names, x = list(measures), range(len(measures))
        upper, lower = axes[:, column]
        for key, label in (("pose_in_geometry", "pose in geometry"), ("colour_in_appearance", "colour in appearance")):
            upper.plot(x, [measures[name][key] for name in names], "o-", label=label)
        upper.set_ylim(-1, 1.05)
        upper.axhline(0, color="0.6", lw=0.8)
        upper.set_title(title, fontsize=10)
        upper.legend(fontsize=8)
        lower.plot(x, [measures[name]["msre"] for name in names], "o-", color="0.3", label="squared error (left)")
        lower.set_ylim(bottom=0)
        right = lower.twinx()
        right.plot(x, [measures[name]["nyquist_ratio"] for name in names], "s--", color="tab:red",
                   label="energy at the Nyquist frequency, relative (right)")
        right.set_yscale("log")
        right.axhline(1, color="tab:red", lw=0.6, alpha=0.5)
        lines = lower.get_lines() + right.get_lines()[:1]
        lower.legend(lines, [line.get_label() for line in lines], fontsize=8)
        for ax in (upper, lower):
            ax.set_xticks(x, names)
            ax.grid(alpha=0.3)
    axes[0][0].set_ylabel("correlation with own donor\nminus other donor")
    figure.tight_layout()
    return write_figure(figure, path)


def balance_faces(path: Path, rows: dict[str, list[np.ndarray]]) -> Path:
    """A row for each value, with equal numbers of images, reconstructions, and appearances before the warp."""
    count = len(next(iter(rows.values()))) // 3
    names = [kind if k == 0 else "" for kind in ("input", "reconstruction", "before the warp") for k in range(count)]
    return save_sheet(path, list(rows.values()), "The balance of appearance and geometry", list(rows), names,
                      note="A good appearance before the warp is a frontal face; a lattice of dots is the degenerate "
                           "solution.")


def confusions(path: Path, results: dict[str, dict[str, Any]]) -> Path:
    """Confusion matrices side by side, in per cent of each true class. results: by name, from
    dgn.evaluation.recognition."""
    figure = new_figure((3.6 * len(results), 4.6))
    figure.set_layout_engine("constrained")
    axes = figure.subplots(1, len(results), squeeze=False)
    for ax, (name, result) in zip(axes[0], results.items()):
        counts = np.array(result["confusion"], float)
        shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
        ax.imshow(shares, cmap="Blues", vmin=0, vmax=100)
        for row, column in np.ndindex(shares.shape):
            if shares[row, column] >= 0.5:
                ax.text(column, row, f"{shares[row, column]:.0f}", ha="center", va="center", fontsize=7,
                        color="white" if shares[row, column] > 60 else "black")
        ax.set_xticks(range(len(shares)), result["classes"], rotation=90, fontsize=7)
        first = ax is axes[0][0]
        ax.set_yticks(range(len(shares)), result["classes"] if first else [""] * len(shares), fontsize=7)
        ax.set_title(f"{name}: {100 * result['accuracy']:.1f} %", fontsize=10)
        ax.set_xlabel("predicted class", fontsize=8)
    axes[0][0].set_ylabel("true class", fontsize=8)
    return write_figure(figure, path)
