"""Covariance of each latent dimension with the viewing angle (5.1, Eq. 21, Fig. 6 and 7).

  dgn experiment views runs/faces_demo
  dgn experiment views runs/celeba --data fei/ --crop 5,2,23,20

The latents of images of the same people at several views are inferred, and R of Eq. 21 is computed for every dimension
of Z^g and Z^a: along the model's dimensions, which are principal axes over training images (dgn.inference.axes; in runs
before version 0.2 they are not rotated), and along principal axes over the images of this experiment, which the
pictures show.

Written to the run folder: section "views" of metrics.json, figures/views_*.png.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dgn import config as cfg
from dgn.data import labels
from dgn.data.cut import Crop
from dgn.data.faces import VIEWS, FaceSource
from dgn.errors import UserError
from dgn.evaluation.uncertainty import plus_minus
from dgn.evaluation.view_covariance import view_covariance
from dgn.experiments.common import OTHER_PEOPLE, check_deformable
from dgn.figures import charts
from dgn.files import expanded
from dgn.inference.axes import along_axes, principal_axes
from dgn.run import Run

AXES = {"dimensions": "the model's dimensions", "principal": "principal axes over these images"}  # key: its name


def views(run: Run, *, data: str | None = None, crop: Crop | None = None, people: int = 100,
          steps: int | None = None) -> dict[str, Any]:
    """Measures how the latents of a deformable model's run covary with the view, and draws Fig. 6 and 7.

    data: folder of images with labels of the view (None: generated faces). crop: of these images (None: as in the run).
    people: largest number of people. steps: Langevin steps (None: as in Run.infer).
    Returns for each of AXES the measures of dgn.evaluation.view_covariance, and their origin, which are also written to
    section "views" of the run's metrics.json, and "pictures", the paths drawn. Raises UserError for another model, or
    fewer than two people.
    """
    check_deformable(run)
    images = images_by_view(run.config.data, data, people, crop)
    if len(next(iter(images.values()))) < 2:
        raise UserError("one person is too few: the variation between people at a view needs at least two")
    latents = infer_views(run, images, steps)
    flat = [z.reshape(-1, z.shape[-1]) for z in latents.values()]
    principal = [axes for axes in principal_axes(run.model, flat) if axes is not None]
    rotated = {name: z @ axes.directions for (name, z), axes in zip(latents.items(), principal)}
    measures = {kind: view_covariance(z, list(images)) for kind, z in zip(AXES, (latents, rotated))}
    result = run.folder.add_section("views", {**measures, **run.chain_settings(steps).recorded()})
    shown, folder, face = result["principal"], run.folder.figures, rotated["z_app"][len(images) // 2][0]
    decode, gamma = along_axes(run.decode, principal), run.config.evaluation.gamma
    return {**result, "pictures": [
        charts.view_bars(folder / "views_r.png", shown), charts.view_lines(folder / "views_lines.png", shown),
        charts.view_traversals(folder / "views_traversals.png", decode, shown, face, gamma)]}


def summary(result: dict[str, Any]) -> str:
    """The largest R of each group, a line for each of AXES."""
    lines = []
    for kind, name in AXES.items():
        geometry, appearance = (result[kind]["groups"][group] for group in ("z_geo", "z_app"))
        ratio = plus_minus(result[kind]["ratio"], result[kind]["ratio_stderr"])
        lines.append(f"{name + ':':34}largest R of Z^g {geometry['largest']:.3f} (dimension {geometry['dimension']}), "
                     f"of Z^a {appearance['largest']:.3f} (dimension {appearance['dimension']}), ratio {ratio}; "
                     f"largest R expected by chance {geometry['noise']:.3f} and {appearance['noise']:.3f}")
    return "\n".join(lines)


def images_by_view(data: cfg.Data, folder: str | None, people: int,
                   crop: Crop | None = None) -> dict[float, np.ndarray]:
    """The same people at every view: view in degrees -> (n, C, H, W)."""
    if folder is None:
        def faces(view: float) -> FaceSource:
            return FaceSource(people, data.size, data.seed + OTHER_PEOPLE, data.grey, view=view)
        return {view: faces(view).read(np.arange(people)) for view in VIEWS}
    path, data = expanded(folder), cfg.with_crop(data, crop)
    files = labels.by_view(labels.read(path), path)
    return {view: labels.read_files(path, list(by_person.values())[:people], data) for view, by_person in files.items()}


def infer_views(run: Run, images: dict[float, np.ndarray], steps: int | None) -> dict[str, np.ndarray]:
    """Latents (V, n, d) of each group."""
    latents = run.infer(np.concatenate(list(images.values())), steps)
    return {group.name: z.reshape(len(images), -1, z.shape[1]) for group, z in zip(run.model.groups, latents)}
