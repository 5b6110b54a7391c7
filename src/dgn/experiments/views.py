"""Which latent dimensions follow the viewing angle (5.1, Eq. 21, Fig. 6 and 7)?

  dgn experiment views runs/faces_demo
  dgn experiment views runs/celeba --data fei/ --crop 5,2,23,20

Images of the same people at views from -30 to 30 degrees are inferred; R of Eq. 21 is computed for every dimension of
Z^g and Z^a. Without --data the faces are generated (--faces people, five views). --data: a folder whose labels tell
views (labels.csv, or the FEI set). Written to the run folder: section "views" of metrics.json, figures/views_*.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Dict, Optional

import numpy as np

from dgn import config as cfg
from dgn.cli import crop, positive
from dgn.experiments.models import OTHER_PEOPLE, need_deformable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", help="output folder of a training of the deformable model")
    parser.add_argument("--data", metavar="FOLDER", help="labelled images (default: generated faces)")
    parser.add_argument("--crop", type=crop, metavar="L,T,R,B", help="how these are cut (default: as the run's)")
    parser.add_argument("--faces", type=positive, default=100, help="people, at most (default %(default)s, as the paper)")
    parser.add_argument("--steps", type=positive, help="Langevin steps (default: evaluation.steps of the run)")


def run(args: argparse.Namespace, device: str) -> None:
    from dgn import build
    from dgn.evaluation import view_covariance
    from dgn.figures import experiments as figures

    trained = build.load_run(Path(args.run_folder), device)
    need_deformable(trained, args.run_folder)
    images = images_by_view(trained.config.data, args.data, args.faces, args.crop)
    latents = infer_views(trained, images, args.steps)
    result = view_covariance.compute(latents, list(images))
    trained.folder.add_results(views=result)
    groups, folder = result["groups"], trained.folder.figures
    print(f"largest R: Z^g {groups['z_geo']['largest']:.3f} (dimension {groups['z_geo']['dimension']}), "
          f"Z^a {groups['z_app']['largest']:.3f} (dimension {groups['z_app']['dimension']}), ratio {result['ratio']:.2f}; "
          f"a dimension without any part in the view would reach about {groups['z_geo']['noise']:.3f}")
    face = latents["z_app"][len(images) // 2][0]
    for path in (figures.view_bars(folder / "views_r.png", result), figures.view_lines(folder / "views_lines.png", result),
                 figures.view_traversals(folder / "views_traversals.png", trained.decode, result, face, trained.config.evaluation.gamma)):
        print(path)


def images_by_view(data: cfg.Data, folder: Optional[str], people: int, crop=None) -> Dict[float, np.ndarray]:
    """The same people at every view: view -> (n, C, H, W)."""
    if folder is None:
        from dgn.data.faces import VIEWS, FaceSource
        return {view: FaceSource(people, data.size, data.seed + OTHER_PEOPLE, data.grey, view=view).read(np.arange(people)) for view in VIEWS}
    from dgn.data import labels

    path, data = Path(folder), cfg.cut(data, crop)
    return {view: read_files(path, list(files.values())[:people], data) for view, files in labels.by_view(labels.read(path), path).items()}


def read_files(folder: Path, files, data: cfg.Data) -> np.ndarray:
    """All of the files at once."""
    from dgn.data import labels
    return labels.open_files(folder, files, data).read(np.arange(len(files)))


def infer_views(trained, images: Dict[float, np.ndarray], steps: Optional[int]) -> Dict[str, np.ndarray]:
    """Latents (V, n, d) of each group."""
    found = trained.infer(np.concatenate(list(images.values())), steps)
    return {group.name: z.reshape(len(images), -1, z.shape[1]) for group, z in zip(trained.model.groups, found)}
