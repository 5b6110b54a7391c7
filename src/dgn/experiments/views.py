"""Which latent dimensions follow the viewing angle (5.1, Eq. 21, Fig. 6 and 7)?

  dgn experiment views runs/faces_demo
  dgn experiment views runs/celeba --data fei/ --crop 5,2,23,20

Images of the same people at views from -30 to 30 degrees are inferred; R of Eq. 21 is computed for every dimension of
Z^g and Z^a: along the dimensions as they were learned, and along the principal axes of what each group makes, which the
pictures show. (The prior is the same in all directions, so the dimensions that a training ends with are a chance mixture
of the model's own axes; see dgn.evaluation.axes.)

Without --data the faces are generated (--faces people, five views). --data: a folder whose labels tell views (labels.csv,
or the FEI set). Written to the run folder: section "views" of metrics.json, figures/views_*.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Dict, Optional

import numpy as np

from dgn import config as cfg
from dgn.cli import crop, positive
from dgn.errors import UserError
from dgn.experiments.models import OTHER_PEOPLE, need_deformable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", help="output folder of a training of the deformable model")
    parser.add_argument("--data", metavar="FOLDER", help="labelled images (default: generated faces)")
    parser.add_argument("--crop", type=crop, metavar="L,T,R,B", help="how these are cut (default: as the run's)")
    parser.add_argument("--faces", type=positive, default=100, help="people, at most (default %(default)s, as the paper)")
    parser.add_argument("--steps", type=positive, help="Langevin steps (default: evaluation.steps of the run)")


def run(args: argparse.Namespace, device: str) -> None:
    from dgn import build
    from dgn.evaluation.axes import along_axes, principal_axes
    from dgn.evaluation.view_covariance import view_covariance
    from dgn.figures import experiments as figures

    trained = build.load_run(Path(args.run_folder), device)
    need_deformable(trained, args.run_folder)
    images = images_by_view(trained.config.data, args.data, args.faces, args.crop)
    if len(next(iter(images.values()))) < 2:
        raise UserError("one person is too few: how a latent varies between people at a view cannot be told; at least two are needed")
    latents = infer_views(trained, images, args.steps)
    found = principal_axes(trained.decode, [z.reshape(-1, z.shape[-1]) for z in latents.values()])
    turned = {name: z @ own.directions for (name, z), own in zip(latents.items(), found)}
    result = {kind: view_covariance(z, list(images)) for kind, z in (("as_learned", latents), ("principal", turned))}
    trained.folder.add_results(views=result)
    for kind, measured in result.items():
        geometry, appearance = measured["groups"]["z_geo"], measured["groups"]["z_app"]
        print(f"{kind.replace('_', ' ') + ' axes:':17} largest R of Z^g {geometry['largest']:.3f} (dimension {geometry['dimension']}), "
              f"of Z^a {appearance['largest']:.3f} (dimension {appearance['dimension']}), ratio {measured['ratio']:.2f}; "
              f"without any part in the view about {geometry['noise']:.3f} and {appearance['noise']:.3f}")
    shown, folder, face = result["principal"], trained.folder.figures, turned["z_app"][len(images) // 2][0]
    decode, gamma = along_axes(trained.decode, found), trained.config.evaluation.gamma
    for path in (figures.view_bars(folder / "views_r.png", shown), figures.view_lines(folder / "views_lines.png", shown),
                 figures.view_traversals(folder / "views_traversals.png", decode, shown, face, gamma)):
        print(path)


def images_by_view(data: cfg.Data, folder: Optional[str], people: int, crop=None) -> Dict[float, np.ndarray]:
    """The same people at every view: view -> (n, C, H, W)."""
    if folder is None:
        from dgn.data.faces import VIEWS, FaceSource
        return {view: FaceSource(people, data.size, data.seed + OTHER_PEOPLE, data.grey, view=view).read(np.arange(people)) for view in VIEWS}
    from dgn.data import labels

    path, data = Path(folder), cfg.cut(data, crop)
    files = labels.by_view(labels.read(path), path)
    return {view: labels.read_files(path, list(of_people.values())[:people], data) for view, of_people in files.items()}


def infer_views(trained, images: Dict[float, np.ndarray], steps: Optional[int]) -> Dict[str, np.ndarray]:
    """Latents (V, n, d) of each group."""
    found = trained.infer(np.concatenate(list(images.values())), steps)
    return {group.name: z.reshape(len(images), -1, z.shape[1]) for group, z in zip(trained.model.groups, found)}
