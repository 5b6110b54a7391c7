"""The paper's figures of a trained image model, each written as one PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dgn.figures.bases import STEPS, Bases, as_rows, sweep, traversals
from dgn.figures.grids import with_grid, with_name
from dgn.figures.sheet import save_images, save_sheet
from dgn.nets.model import GROUP_TEXTS, Decode, Decoded

APPEARANCE, GEOMETRY = GROUP_TEXTS["z_app"].symbol, GROUP_TEXTS["z_geo"].symbol
ROWS = 6  # dimensions in a picture of bases
APPLIED, WARPS = 2, 2  # dimensions of appearance and of geometry in a picture of applied bases
COLUMNS = ("Rows: the largest change of these images first, not the order of the dimensions. Above each column the "
           "value of the dimension (prior: standard normal).")

SAMPLES_NOTES = {"fitted": "Latents are drawn from a Gaussian fitted to the training latents.",
                 "prior": "Latents are drawn from the prior, a standard normal distribution."}


def reconstruction(path: Path, images: np.ndarray, decoded: Decoded, title: str) -> Path:
    """Fig. 2: images (n, C, H, W), their reconstructions, and, for a model with a warp, appearances and grids."""
    rows, names = [list(images), list(decoded.image)], ["input", "reconstruction"]
    if decoded.appearance is None or decoded.displacement is None:
        return save_sheet(path, rows, title, names)
    rows += [list(decoded.appearance), [with_grid(a) for a in decoded.appearance],
             [with_grid(i, d) for i, d in zip(decoded.image, decoded.displacement)]]
    names += ["appearance\n(before the warp)", "appearance with\nthe regular grid",
              "reconstruction with\nthe warped grid"]
    return save_sheet(path, rows, title, names, note=(
        f"{APPEARANCE} gives the appearance, an image in a common (canonical) frame; {GEOMETRY} gives the displacement "
        "that warps it to the reconstruction. The grid shows where its pixels go."))


def appearance_bases(path: Path, decode: Decode, ranked: Bases, z_geo: np.ndarray, gamma: float) -> Path:
    """Fig. 3. z_geo: (d_g,), the Z^g of all images."""
    z = traversals(ranked, gamma, ROWS)
    pictures = as_rows(decode(z, z_geo[None].repeat(len(z), 0)).image)
    title = f"Appearance bases: along each row one dimension of {APPEARANCE} changes, the geometry is fixed"
    return save_sheet(path, list(pictures), title, _names(APPEARANCE, ranked), ends(gamma),
                      note=f"{COLUMNS} Light, colour and identity should change; pose and shape should not.")


def geometry_bases(path: Path, decode: Decode, ranked: Bases, face: np.ndarray, gamma: float) -> Path:
    """Fig. 4, and its first row with warped grids. face: (d_a,), the Z^a of all images."""
    z = traversals(ranked, gamma, ROWS)
    decoded = decode(face[None].repeat(len(z), 0), z)
    pictures, fields = as_rows(decoded.image), as_rows(decoded.warp_inputs[1])
    gridded = [with_grid(picture, field) for picture, field in zip(pictures[0], fields[0])]
    names = _names(GEOMETRY, ranked)
    title = f"Geometric bases: along each row one dimension of {GEOMETRY} changes, the appearance is fixed"
    return save_sheet(path, [gridded, *(list(row) for row in pictures)], title,
                      [f"{names[0]}\nwith the warped grid", *names], ends(gamma),
                      note=f"{COLUMNS} Pose and shape should change; colour and light should not.")


def latent_bases(path: Path, decode: Decode, ranked: Bases, gamma: float) -> Path:
    """The strongest dimensions of a plain model, instead of Fig. 3 and 4."""
    pictures = as_rows(decode(traversals(ranked, gamma, ROWS)).image)
    title = "Bases of a plain generator: along each row one dimension of Z changes"
    return save_sheet(path, list(pictures), title, _names("Z", ranked), ends(gamma),
                      note=f"{COLUMNS} Without a warp, appearance and geometry may change together.")


def labels(path: Path, decode: Decode, count: int, ranked: Bases, index: int, gamma: float) -> Path:
    """Fig. 13: the image of each of `count` labels before the warp, then warped by the geometric basis with this index
    in the ranking."""
    rows, dimension = [], int(ranked.order[index])
    z_geo = sweep(dimension, len(ranked.order), gamma)
    for one_hot in np.eye(count, dtype=np.float32):
        decoded = decode(one_hot[None].repeat(STEPS, 0), z_geo)
        appearance, _ = decoded.warp_inputs
        rows.append([appearance[0], *decoded.image])
    title = f"One label a row: its appearance, then warped as dimension {dimension} of {GEOMETRY} changes"
    return save_sheet(path, rows, title, [f"label {k}" for k in range(count)], ["before the warp", *ends(gamma)],
                      note="Above each column the value of the dimension (prior: standard normal). Along a row the "
                           "shape should change, not the label.")


def applied_bases(path: Path, decode: Decode, appearance: Bases, geometry: Bases, gamma: float) -> Path:
    """Fig. 5: appearance bases warped by the strongest geometric bases, each at -0.6 gamma and at 0.6 gamma."""
    z_app, dimensions = traversals(appearance, gamma, APPLIED), geometry.order[:WARPS]
    warps = [(k, value) for k in dimensions for value in (-0.6 * gamma, 0.6 * gamma)]
    warped = []
    for k, value in warps:
        z_geo = np.zeros((len(z_app), len(geometry.order)), np.float32)
        z_geo[:, k] = value
        warped.append(as_rows(decode(z_app, z_geo).image))
    names = [f"{APPEARANCE} dimension {k},\nwarped by\n{GEOMETRY} dimension {j} = {value:+g}"
             for k in appearance.order[:APPLIED] for j, value in warps]
    title = "Appearance bases warped by the strongest geometric bases"
    return save_sheet(path, [row for rows in zip(*warped) for row in rows], title, names, ends(gamma), note=(
        f"Along a row one dimension of {APPEARANCE} changes (its value above each column). Groups of {len(warps)} rows "
        f"show the same appearances, warped by the dimensions of {GEOMETRY} with the largest effect: only pose and "
        "shape should differ."))


def recombination(path: Path, decode: Decode, images: np.ndarray, z_app: np.ndarray, z_geo: np.ndarray,
                  title: str) -> Path:
    """Fig. 11: the first image's appearance with the geometry of each, and the reverse.

    images: (n, C, H, W), with their latents (n, d_a) and (n, d_g).
    """
    count = len(images)
    first_app, first_geo = z_app[:1].repeat(count, 0), z_geo[:1].repeat(count, 0)
    rows = [images, decode(z_app, z_geo).image, decode(first_app, z_geo).image, decode(z_app, first_geo).image]
    names = ["input", "reconstruction", "appearance of the first,\ngeometry of each",
             "appearance of each,\ngeometry of the first"]
    return save_sheet(path, [list(row) for row in rows], title, names, note=(
        "Third row: colours and light of the first image in the pose and shape of the image above. "
        "Fourth row: the pose and shape of the first image in the colours and light of the image above."))


def data(path: Path, images: np.ndarray, names: Sequence[str]) -> Path:
    """Images (n, C, H, W) of a dataset after cropping, with short names below them."""
    pictures = [with_name(image, Path(name).name) for image, name in zip(images, names)]
    side = f"{images.shape[-1]} x {images.shape[-2]}"
    return save_images(path, pictures, 10, f"The first training images, as they are cut: {side} pixels")


def samples(path: Path, images: np.ndarray, prior: str = "fitted") -> Path:
    """New images (n, C, H, W). prior: distribution of their latents, see Run.sample."""
    return save_images(path, images, 11, "Samples: images decoded from random latents", SAMPLES_NOTES[prior])


def _names(group: str, ranked: Bases) -> list[str]:
    return [f"{group} dimension {k}" for k in ranked.order[:ROWS]]


def ends(gamma: float) -> list[str]:
    """Names of the columns of a traversal: the values of the dimension."""
    return [f"{v:+g}" if v else "0" for v in np.linspace(-gamma, gamma, STEPS).round(6)]
