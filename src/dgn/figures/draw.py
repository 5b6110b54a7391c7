"""Draws the pictures of a run.

  data.png                 before the training: the first images as they are cut
  reconstruction.png       inputs, reconstructions, canonical faces, grids (Fig. 2)
  appearance_bases.png     one dimension of Z^a along each row (Fig. 3)
  geometry_bases.png       one dimension of Z^g along each row (Fig. 4)
  applied_bases.png        appearance bases warped by two geometric bases (Fig. 5)
  recombination.png        images: appearance of one face with the geometry of others, and the reverse (Fig. 11)
  grids.png                clips: the grid of every frame (Fig. 19), one clip of each class if their names give
                           classes; bases are bases of the first frame (Fig. 17)
  latent_bases.png         plain models: one dimension of Z along each row; of clips one of the content
  labels_1.png, _2.png     models with given labels: every label warped by a geometric basis (Fig. 13)
  samples.png              images: samples of the Gaussian that is fitted to the training's latents
  curves.png               training curves
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dgn.data.clips import class_and_person
from dgn.data.source import Source, clip_lengths
from dgn.errors import check_opened
from dgn.figures import bases, clip_pictures, pictures, sheet
from dgn.nets.model import GROUP_TEXTS, Decode, Decoded, rows, state_sizes
from dgn.randomness import generator
from dgn.run import Run

SAMPLES = 33  # number of samples in a picture
DATA_IMAGES = 30
CLIPS = 3  # number of clips in a picture
RECONSTRUCTED = "Training images and their reconstructions"
EXCHANGE = "Training images with appearance and geometry exchanged"
STEPS = ("sigma", "sigma_app", "smoothness")  # schedules at whose steps curves may jump
CURVES = {
    "Gradient of the energy": {"gradient": "norm"},
    "Divergence of the encoder's latents from the prior": {"kl": "KL divergence"},
    "Scores of the critic": {"score_real": "images", "score_fake": "samples of the prior",
                             "clip_score_real": "clips", "clip_score_fake": "clips of the prior"},
    "Losses of critic and generator (Eq. 22)": {"critic": "critic (0: perfect, 1.39: chance)",
                                                "clip_critic": "critic of clips", "actor": "generator"},
    "Gradient penalty of the critic": {"r1": "R1", "clip_r1": "R1, clips"}}


def draw(run: Run, folder: str | Path | None = None, gamma: float | None = None, count: int = 10) -> list[Path]:
    """Writes all pictures of a run to `folder` (default: figures of the run folder); returns their paths.

    gamma: range of the traversals (default: evaluation.gamma). count: number of images in a picture.
    """
    check_opened(run)
    config = run.config
    folder, gamma = Path(folder or run.folder.figures), gamma or config.evaluation.gamma
    if config.data.frames:
        return _draw_clips(run, folder, gamma)
    indices = _random_samples(run, count)
    images, latents = run.sources.train.read(indices), run.bank.read(indices)
    decoded = run.decode(*latents)
    best = int(np.square(images - decoded.image).sum((1, 2, 3)).argmin())
    return [
        pictures.reconstruction(folder / "reconstruction.png", images, decoded, RECONSTRUCTED),
        *_bases(run, folder, gamma, images, latents, best),
        pictures.samples(folder / "samples.png", run.sample(SAMPLES, config.training.seed).image),
        curves(run, folder),
    ]


def draw_data(source: Source, folder: Path) -> Path:
    """Writes data.png: the first samples of a source as the training reads them; for clips, some of their frames."""
    indices = source.indices(DATA_IMAGES)
    if len(source.shape) == 4:
        return clip_pictures.data(folder / "data.png", source, indices[:CLIPS])
    names = source.files(indices) or [""] * len(indices)
    return pictures.data(folder / "data.png", source.read(indices), names)


def draw_progress(run: Run, folder: Path) -> list[Path]:
    """Writes a few pictures of a training in progress to `folder`: the first training images or clips with their
    reconstructions, and for a deformable model of images their exchange."""
    path, source = folder / "reconstruction.png", run.sources.train
    if run.config.data.frames:
        return [_reconstructed_clips(run, path, np.arange(min(CLIPS, len(run.bank))))]
    indices = np.arange(min(10, len(run.bank)))
    images, latents = source.read(indices), run.bank.read(indices)
    drawn = [pictures.reconstruction(path, images, run.decode(*latents), RECONSTRUCTED)]
    if run.model.warps and run.model.groups[0].sampled:
        z_app, z_geo = latents
        drawn.append(pictures.recombination(folder / "recombination.png", run.decode, images, z_app, z_geo, EXCHANGE))
    return drawn


def draw_overview(path: Path, samples: np.ndarray, decoded: Decoded, names: Sequence[str], title: str,
                  lengths: np.ndarray | None = None) -> Path:
    """The first samples with reconstructions and grids. lengths: number of frames of each clip (default: all). title:
    what was done, such as "Inferred"."""
    if samples.ndim == 4:
        return pictures.reconstruction(path, samples[:10], rows(decoded, slice(10)), f"{title} images")
    lengths = np.full(len(samples), samples.shape[1]) if lengths is None else lengths
    return clip_pictures.reconstruction(path, samples[:CLIPS], rows(decoded, slice(CLIPS)), lengths, names,
                                        f"{title} clips")


def curves(run: Run, folder: Path) -> Path:
    """The training curves."""
    stds = {f"{group.name}_std": f"{GROUP_TEXTS[group.name].name} {GROUP_TEXTS[group.name].symbol}"
            for group in run.model.groups if group.sampled}
    return sheet.save_curves(folder / "curves.png", run.folder.read_metrics_log(), {
        "Reconstruction error (MSRE)": {"msre": "squared error of a training image"},
        "Standard deviation of the latents (prior: 1)": stds, **CURVES}, STEPS)


def _random_samples(run: Run, count: int) -> np.ndarray:
    """Sorted indices of random training samples, which depend on the run's seed."""
    rng = generator(run.config.training.seed, "figures")
    return np.sort(rng.choice(len(run.bank), min(count, len(run.bank)), replace=False))


def _reconstructed_clips(run: Run, path: Path, indices: np.ndarray) -> Path:
    source = run.sources.train
    return clip_pictures.reconstruction(path, source.read(indices), run.decode(*run.bank.read(indices)),
                                        clip_lengths(source, indices), [source.name(int(k)) for k in indices],
                                        "Training clips and their reconstructions")


def _draw_clips(run: Run, folder: Path, gamma: float) -> list[Path]:
    """Reconstructions, bases of the first frame (Fig. 17) and grids over time (Fig. 19); for a plain model
    reconstructions and bases of the content."""
    model, base, indices = run.model, bases.prior_mean(state_sizes(run.model)), _random_samples(run, CLIPS)
    drawn, latents = [_reconstructed_clips(run, folder / "reconstruction.png", indices)], run.bank.read(indices[:1])
    if not model.warps:
        motion = latents[1][:, :model.branches[1].length(1)]  # of the first frame of a clip

        def first_frame(content: np.ndarray) -> Decoded:
            return Decoded(run.decode(content, motion.repeat(len(content), 0)).image[:, 0])
        ranked = bases.rank(first_frame, base[:1], 0, gamma)
        return [*drawn, pictures.latent_bases(folder / "latent_bases.png", first_frame, ranked, gamma),
                curves(run, folder)]
    first, face = clip_pictures.first_frames(run.decode), latents[0][0, :len(base[0])]
    return [*drawn, *_deformable_bases(folder, first, face, base[1], gamma), _grids(run, folder / "grids.png", indices),
            curves(run, folder)]


def _grids(run: Run, path: Path, indices: np.ndarray) -> Path:
    """Fig. 19: one clip of each class; the clips at `indices` if the names of clips contain no classes."""
    source = run.sources.train
    names = source.names
    indices = np.array(one_of_each_class(names) or indices)
    return clip_pictures.grids(path, run.decode(*run.bank.read(indices)), clip_lengths(source, indices),
                               [names[k] for k in indices])


def one_of_each_class(names: Sequence[str]) -> list[int]:
    """Indices of one clip of each class, sorted by class; if possible, of the person who is in most classes. Empty if a
    name does not contain class and person."""
    labels = [label for label in map(class_and_person, names) if label]
    if len(labels) < len(names):
        return []
    person = Counter(person for _, person in sorted(set(labels))).most_common(1)[0][0]
    first: dict[str, int] = {}
    for k in sorted(range(len(names)), key=lambda k: labels[k][1] != person):
        first.setdefault(labels[k][0], k)
    return [first[name] for name in sorted(first)]


def _bases(run: Run, folder: Path, gamma: float, images: np.ndarray, latents: Sequence[np.ndarray],
           best: int) -> list[Path]:
    """Traversals of the latents, and their recombination; best: the row of `latents` with the smallest error."""
    decode, base = run.decode, bases.prior_mean(state_sizes(run.model))
    if not run.model.warps:
        ranked = bases.rank(decode, base, 0, gamma)
        return [pictures.latent_bases(folder / "latent_bases.png", decode, ranked, gamma)]
    if not run.model.groups[0].sampled:
        count = len(base[0])
        ranked = bases.rank(decode, [np.eye(count, dtype=np.float32)[0], base[1]], 1, gamma)
        return [pictures.labels(folder / f"labels_{number}.png", decode, count, ranked, number - 1, gamma)
                for number in (1, 2)[:len(base[1])]]
    z_app, z_geo = latents
    return [*_deformable_bases(folder, decode, z_app[best], base[1], gamma),
            pictures.recombination(folder / "recombination.png", decode, images, z_app, z_geo, EXCHANGE)]


def _deformable_bases(folder: Path, decode: Decode, face: np.ndarray, z_geo: np.ndarray, gamma: float) -> list[Path]:
    """Fig. 3 to 5. face: (d_a,), the fixed Z^a of the geometric bases; z_geo: (d_g,), the fixed Z^g of the others."""
    appearance = bases.rank(decode, [np.zeros_like(face), z_geo], 0, gamma)
    geometry = bases.rank(decode, [face, z_geo], 1, gamma)
    return [pictures.appearance_bases(folder / "appearance_bases.png", decode, appearance, z_geo, gamma),
            pictures.geometry_bases(folder / "geometry_bases.png", decode, geometry, face, gamma),
            pictures.applied_bases(folder / "applied_bases.png", decode, appearance, geometry, gamma)]
