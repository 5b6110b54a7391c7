"""The paper's pictures of a learned image model, each written as one PNG."""

from __future__ import annotations

from pathlib import Path
from typing import List

import numpy as np

from dgn.figures import bases
from dgn.figures.bases import Decode
from dgn.figures.grids import with_grid
from dgn.figures.sheet import save_sheet


def reconstruction(path: Path, images: np.ndarray, decoded, title: str) -> Path:
    """Fig. 2: images, their appearance before the warp with the canonical grid, reconstructions with the bent grid; for a
    model without a warp images and reconstructions."""
    if decoded.displacement is None:
        return save_sheet(path, [list(images), list(decoded.image)], title, ["input", "reconstruction"])
    rows = [list(images), list(decoded.image),
            [with_grid(a) for a in decoded.appearance],
            [with_grid(i, d) for i, d in zip(decoded.image, decoded.displacement)],
            list(decoded.appearance)]
    return save_sheet(path, rows, title, ["input", "reconstruction", "appearance\nbefore the warp,\ncanonical grid",
                                          "reconstruction,\nbent grid", "appearance\nbefore the warp"],
                      note="Appearance Z^a paints a face in the canonical frame; geometry Z^g bends it into the image.")


def appearance_bases(path: Path, decode: Decode, ranked: bases.Bases, z_geo: int, gamma: float, rows: int = 6) -> Path:
    """Fig. 3."""
    pictures = bases.appearance_rows(decode, ranked, z_geo, gamma, rows)
    return save_sheet(path, list(pictures), "Appearance bases: one dimension of Z^a from -gamma to gamma, Z^g = 0",
                      _names(ranked, rows), ends(gamma), note="Light, colour and identity should change; pose and shape should not.")


def geometry_bases(path: Path, decode: Decode, ranked: bases.Bases, face: np.ndarray, gamma: float, rows: int = 6) -> Path:
    """Fig. 4; the first row again with its bent grids."""
    pictures, fields = bases.geometry_rows(decode, ranked, face, gamma, rows)
    gridded = [with_grid(picture, field) for picture, field in zip(pictures[0], fields[0])]
    lines = [gridded, *(list(row) for row in pictures)]
    names = _names(ranked, rows)
    names = [f"{names[0]}\nwith grid", *names]
    return save_sheet(path, lines, "Geometric bases: one dimension of Z^g from -gamma to gamma, Z^a fixed", names, ends(gamma),
                      note="Pose and shape should change; colour and light should not.")


def latent_bases(path: Path, decode: Decode, ranked: bases.Bases, gamma: float, rows: int = 6) -> Path:
    """The strongest dimensions of a plain model, which has no Fig. 3 and 4 of its own."""
    return save_sheet(path, list(bases.latent_rows(decode, ranked, gamma, rows)),
                      "Bases of a plain generator: one dimension of Z from -gamma to gamma", _names(ranked, rows), ends(gamma),
                      note="Nothing keeps appearance and geometry apart here.")


def labels(path: Path, decode: Decode, sizes, ranked: bases.Bases, place: int, gamma: float) -> Path:
    """Fig. 13: each label's picture before the warp, then bent by the `place`-th strongest geometric basis."""
    rows = []
    for label in range(sizes[0]):
        plain, bent = bases.label_rows(decode, label, sizes, int(ranked.order[place]), gamma)
        rows.append([plain, *bent])
    return save_sheet(path, rows, f"Z^a is the label; dimension {ranked.order[place]} of Z^g from -gamma to gamma",
                      [str(k) for k in range(sizes[0])], ["before warp", *ends(gamma)], note="Along a row shape changes; the label stays.")


def applied_bases(path: Path, decode: Decode, appearance: bases.Bases, geometry: bases.Bases, gamma: float, rows: int = 3) -> Path:
    """Fig. 5: appearance bases bent by the strongest geometric basis."""
    bend = 0.6 * gamma
    pictures = bases.applied_rows(decode, appearance, geometry, gamma, rows, bend)
    names = [f"Z^a {k}\nZ^g {geometry.order[0]} = {amount:+g}" for k in appearance.order[:rows] for amount in (-bend, bend)]
    return save_sheet(path, list(pictures), "The strongest geometric basis applied to appearance bases", names, ends(gamma),
                      note="Along a row appearance changes; the two rows of a pair differ in geometry alone.")


def recombination(path: Path, decode: Decode, images: np.ndarray, z_app: np.ndarray, z_geo: np.ndarray, title: str) -> Path:
    """Fig. 11: the first face's appearance with the others' geometry, and the reverse."""
    count = len(images)
    first_app, first_geo = z_app[:1].repeat(count, 0), z_geo[:1].repeat(count, 0)
    rows = [images, decode(z_app, z_geo).image, decode(first_app, z_geo).image, decode(z_app, first_geo).image]
    return save_sheet(path, [list(r) for r in rows], title,
                      ["input", "reconstruction", "appearance of\nthe first,\ngeometry of each", "geometry of\nthe first,\nappearance of each"],
                      note="Third row: one face's colours and light in everyone's pose and shape. Fourth row: everyone's in one pose and shape.")


def samples(path: Path, decode: Decode, *latents: np.ndarray, columns: int = 11) -> Path:
    """Pictures decoded from the prior."""
    pictures = decode(*latents).image
    rows = [list(pictures[k:k + columns]) for k in range(0, len(pictures), columns)]
    return save_sheet(path, rows, "Samples: latents from the prior", [""] * len(rows))


def symbol(group: str) -> str:
    """A latent group's name as the paper writes it."""
    return {"z_app": "Z^a", "z_geo": "Z^g", "z": "Z"}[group]


def _names(ranked: bases.Bases, rows: int) -> List[str]:
    return [f"dimension {k}" for k in ranked.order[:rows]]


def ends(gamma: float, steps: int = 11) -> List[str]:
    """Names of the columns of a traversal."""
    return [f"{v:+g}" for v in np.linspace(-gamma, gamma, steps)]
