"""What experiments that train have in common: the models that they compare, their arguments, and tuning on other images."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Dict, Optional, Sequence, Set

from dgn import config as cfg
from dgn.cli import crop, positive
from dgn.errors import UserError
from dgn.run_folder import RunFolder

OTHER_PEOPLE = 100  # added to the seed of the generated faces: people that no training saw
DESCENT_STEPS = 100  # noiseless steps after a chain, where a representation is measured: without its posterior's noise

# learning method and model are independent: the paper's model, its two baselines (Table 1), and the fourth combination
MODELS: Dict[str, Dict[str, Dict[str, Any]]] = {
    "ours": {"model": {"kind": "deformable"}, "training": {"method": "abp", "adversarial": "none"}},
    "ABP": {"model": {"kind": "plain"}, "training": {"method": "abp", "adversarial": "none", "renew_appearance": ()}},
    "VAE": {"model": {"kind": "plain"}, "training": {"method": "vae", "adversarial": "none", "renew_appearance": ()}},
    "deformable VAE": {"model": {"kind": "deformable"}, "training": {"method": "vae", "adversarial": "none", "renew_appearance": ()}},
}


def config_of(name: str, config: cfg.Config) -> cfg.Config:
    """The config with the model and method of one of MODELS."""
    return cfg.changed(config, **MODELS[name])


def folder_name(name: str) -> str:
    """A model's name as part of a path."""
    return name.lower().replace(" ", "_")


def add_recipe(parser: argparse.ArgumentParser, output: str) -> None:
    """--config, --set and --output of an experiment that trains."""
    parser.add_argument("--config", metavar="YAML", required=True, help="recipe of the trainings")
    parser.add_argument("--set", metavar="SECTION.KEY=VALUE", action="append", default=[], dest="settings", help="change one value of it")
    parser.add_argument("--output", metavar="DIR", default=output, help="(default %(default)s)")


def add_target(parser: argparse.ArgumentParser, faces: int, epochs: int) -> None:
    """The images that a learned model is tuned on."""
    parser.add_argument("--data", metavar="PATH", help="images that are learned first (data.path)")
    parser.add_argument("--target", metavar="FOLDER", help="images that are tuned on")
    parser.add_argument("--frontal", metavar="PATTERN", help="which files of --target, such as '*-1[12].jpg'")
    parser.add_argument("--target-crop", type=crop, metavar="L,T,R,B", help="how the images of --target are cut")
    parser.add_argument("--tune-faces", type=positive, default=faces, help="how many, at most (default %(default)s)")
    parser.add_argument("--tune-epochs", type=positive, default=epochs, help="epochs of the tuning (default %(default)s)")


def generated_only(args: argparse.Namespace) -> cfg.Config:
    """The recipe of an experiment that needs the faces' factors, and unseen faces. Raises UserError if it gives none, or is
    not one of the deformable model."""
    config = deformable_recipe(args)
    if config.data.path is not None:
        raise UserError("the factors of these images are not known; leave data.path out, faces are then generated")
    if config.data.held_out < 1:
        raise UserError("data.held_out is 0; some faces must be held out, to be measured unseen")
    if config.data.population != "random":
        raise UserError(f"data.population is {config.data.population}; only in the random one every factor varies, and can be measured")
    return config


def deformable_recipe(args: argparse.Namespace) -> cfg.Config:
    """The recipe of an experiment that sets model and method itself where it needs others."""
    config = cfg.load(args.config, args.settings)
    if config.data.frames:
        raise UserError(f"{args.config} is a recipe for clips (data.frames); the experiment is one on images")
    if (config.model.kind, config.model.appearance) != ("deformable", "sampled"):
        raise UserError(f"{args.config}: the experiment starts from the deformable model with Z^a sampled (model.kind, model.appearance)")
    return config


def first_config(args: argparse.Namespace) -> cfg.Config:
    """The recipe with --data. Raises UserError where what is learned first and what is tuned on do not go together."""
    config = deformable_recipe(args)
    config = cfg.with_whole_paths(cfg.changed(config, data={"path": args.data or config.data.path}))
    if (config.data.path is None) != (args.target is None):
        raise UserError("--data and --target go together: both folders, or both generated")
    if args.target is None and (args.frontal or args.target_crop):
        raise UserError("--frontal and --target-crop say which images of --target are used, and how; give --target too")
    return config


def tuning_config(config: cfg.Config, start: Path, args: argparse.Namespace, **more: Any) -> cfg.Config:
    """The config of a run that goes on from `start` on the target's images, or on generated faces of other people: a
    deformable model's geometry is frozen, sigma and the rate are what they were at the end and at the start.

    more: further changes of the data section.
    """
    data = {"limit": args.tune_faces, "held_out": 0, "seed": config.data.seed + 1, "path": args.target, "files": args.frontal, **more}
    if args.target:
        data.update(crop=args.target_crop, format="images", category=None, part="all")
    rate, epochs = cfg.at_epoch(config.training.learning_rate, 0), args.tune_epochs
    training = {"start": str(start), "start_with": "all", "frozen": "geometry" if config.model.kind == "deformable" else "none",
                "renew_appearance": (), "epochs": epochs, "checkpoint_every": epochs,
                "learning_rate": ((0, rate), (max(int(0.7 * epochs), 1), 0.3 * rate))}
    sigma = ((0, cfg.last_sigma(config)),)
    return cfg.with_whole_paths(cfg.changed(config, data=data, training=training, inference={"sigma": sigma}))


def learned_files(config: cfg.Config) -> Optional[Set[Path]]:
    """The image files that a training of this config learns from, with those of the run that it starts from; empty if they
    are generated, None if it cannot be told (a record, a folder or a run that is no longer there)."""
    from dgn import build

    files: Set[Path] = set()
    if config.training.start:
        if not (Path(config.training.start) / "config.yaml").exists():
            return None
        before = learned_files(RunFolder.open(Path(config.training.start)).config)
        if before is None:
            return None
        files |= before
    if config.data.path is None:
        return files
    folder = Path(config.data.path)
    if config.data.format != "images" or not folder.is_dir():
        return None
    source = build.make_sources(config.data).train
    return files | {(folder / source.name(k)).resolve() for k in range(len(source))}


def need_deformable(trained, path: str) -> None:
    """Raises UserError for a run that has no inferred Z^a and Z^g of images."""
    if trained.config.data.frames:
        raise UserError(f"{path} is a run on clips; the experiment is one on images")
    if len(trained.model.groups) != 2 or not trained.model.groups[0].sampled:
        raise UserError(f"{path} has no Z^a and Z^g that are both inferred; give a run of the deformable model")


def table(corner: str, columns: Sequence[str], rows: Dict[str, Sequence[str]]) -> str:
    """Rows of text in aligned columns."""
    lines = [[corner, *columns], *([name, *cells] for name, cells in rows.items())]
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(w) if k == 0 else cell.rjust(w) for k, (cell, w) in enumerate(zip(line, widths))) for line in lines)


def experiment_folder(path: str) -> Path:
    """The output folder of an experiment that trains; what an earlier, unfinished call left in it is gone on with."""
    folder = Path(path)
    if (folder / "config.yaml").exists():
        raise UserError(f"{folder} holds a single run; choose another --output")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the output folder {folder}: {error.strerror or error}") from None
    return folder
