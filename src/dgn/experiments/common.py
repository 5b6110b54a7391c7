"""Functions shared by the experiments: compared models, checks of recipes and runs, fine-tuning, tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dgn import config as cfg
from dgn import recipe
from dgn.config import Config
from dgn.data.cut import Crop
from dgn.data.source import Source
from dgn.errors import UserError
from dgn.files import expanded, make_folder, write_json
from dgn.provenance import origin
from dgn.run import Run
from dgn.run_folder import RunFolder

Recipe = str | Path | Config  # a YAML file, or a config

OTHER_PEOPLE = 100  # added to the seed of generated faces: people without training images

_RESTARTS = 20  # epochs between restarts of ABP's chains
# the paper's model, also with a monotone field; its two baselines (Table 1), ABP also with restarted chains; the
# deformable model trained as VAE; and a baseline of Table 2
MODELS: dict[str, dict[str, dict[str, Any]]] = {
    "ours": {"model": {"kind": "deformable"}, "training": {"method": "abp"}},
    "ours, monotone field": {"model": {"kind": "deformable", "field": "monotone"}, "training": {"method": "abp"}},
    "ABP": {"model": {"kind": "plain"}, "training": {"method": "abp"}, "inference": {"restart_every": 0}},
    "ABP, restarted chains": {"model": {"kind": "plain"}, "training": {"method": "abp"},
                              "inference": {"restart_every": _RESTARTS}},
    "VAE": {"model": {"kind": "plain"}, "training": {"method": "vae"}},
    "deformable VAE": {"model": {"kind": "deformable"}, "training": {"method": "vae"}},
    "Deforming AE": {"model": {"kind": "deformable", "field": "monotone"}, "training": {"method": "autoencoder"}},
}


@dataclass(frozen=True)
class Target:
    """The images for the fine-tuning of a trained model, and its duration (5.2)."""

    path: str | None = None  # a folder; None: generated faces of other people
    pattern: str | None = None  # only files whose relative path matches, such as *-1[12].jpg
    crop: Crop | None = None  # None: the centre square
    count: int = 1000  # largest number of images
    epochs: int = 30
    held_out: int = 0  # number of the folder's last files that are not used for fine-tuning


def model_config(name: str, config: Config) -> Config:
    """The config with the model and training method of one of MODELS, without a critic. Options that this model lacks
    are switched off. Without a preconditioner step_size = 0.1 x last sigma (0.1 suits sigma 1)."""
    model = cfg.changed_as_supported(cfg.changed(config, training={"adversarial": "none"}), **MODELS[name])
    if model.inference.preconditioner == config.inference.preconditioner:
        return model
    step_size = Config().inference.step_size * cfg.last_sigma(config)
    return cfg.changed(model, inference={"step_size": step_size},
                       evaluation={"step_factor": cfg.NO_FACTOR, "momentum": 0.0})


def folder_name(name: str) -> str:
    """A model's name as part of a path."""
    return name.lower().replace(",", "").replace(" ", "_")


def deformable_recipe(config: Recipe) -> Config:
    """The config of an experiment that trains, with absolute paths.

    Raises UserError unless it has the deformable model on images; the experiment sets other models and methods itself.
    """
    config = recipe.absolute_paths(config if isinstance(config, Config) else recipe.load(expanded(config)))
    if config.data.frames:
        raise UserError("the recipe is for clips (data.frames); this experiment is on images")
    if (config.model.kind, config.model.appearance) != ("deformable", "sampled"):
        raise UserError("the recipe must be one of the deformable model with Z^a sampled (model.kind, "
                        "model.appearance); the experiment sets other models itself")
    return config


def generated_recipe(config: Recipe) -> Config:
    """`deformable_recipe` for an experiment that needs known factors. Raises UserError unless the recipe has generated
    faces with all factors varying, and held-out faces."""
    config = deformable_recipe(config)
    if config.data.path is not None:
        raise UserError("the factors of these images are unknown; leave data.path out, so that faces are generated")
    if config.data.held_out < 1:
        raise UserError("data.held_out is 0; some faces must be held out for the measures of unseen faces")
    if config.data.population != "random":
        raise UserError(f"data.population is {config.data.population}; it must be random, where every factor varies")
    return config


def transfer_recipe(config: Recipe, target: Target) -> Config:
    """`deformable_recipe` for an experiment that fine-tunes on `target`. Raises UserError if the two do not fit
    together."""
    config = deformable_recipe(config)
    if (config.data.path is None) != (target.path is None):
        raise UserError("--data and --target go together: give both folders, or none, and faces are generated")
    if target.path is None and (target.pattern or target.crop):
        raise UserError("--frontal and --target-crop choose and crop the images of --target; give --target too")
    cfg.with_crop(config.data, target.crop)  # raises an error before the first training, not after it
    return config


def tuning_config(config: Config, start: Path, target: Target, **data: Any) -> Config:
    """The config of a run that is initialized from the run `start` of `config` and trained on the target's images.

    The geometric generator of a deformable model is frozen. Sigma (for all groups) and smoothness have the last values
    in `config`; the learning rate has the first value, and 0.3 times this value after 0.7 of the epochs. data: further
    changes of the data section.
    """
    changes = {"limit": target.count, "held_out": 0, "seed": config.data.seed + 1, "path": target.path,
               "pattern": target.pattern, **data}
    if target.path:
        changes.update(crop=target.crop, format="images", category=None, split="all")
    rate, epochs = cfg.value_at(config.training.learning_rate, 0), target.epochs
    training = {"init_from": str(start), "freeze": "geometry" if config.model.kind == "deformable" else "none",
                "reinit_appearance": (), "epochs": epochs, "checkpoint_every": epochs,
                "learning_rate": ((0, rate), (max(int(0.7 * epochs), 1), 0.3 * rate))}
    return recipe.absolute_paths(cfg.changed(config, data=changes, training=training,
                                             inference=final_inference(config)))


def final_inference(config: Config) -> dict[str, Any]:
    """Inference settings for a run that continues a run with `config`: its last sigma, for all groups, and its last
    smoothness, without decorrelation."""
    return {"sigma": ((0, cfg.last_sigma(config)),), "sigma_app": cfg.NO_FACTOR,
            "decorrelation": cfg.OFF, "smoothness": ((0, cfg.last_smoothness(config)),)}


def check_deformable(run: Run) -> None:
    """Raises UserError unless the run infers both Z^a and Z^g of images."""
    if run.config.data.frames:
        raise UserError(f"{run.folder.path} is a run on clips; this experiment is on images")
    if not run.model.warps or not run.model.groups[0].sampled:
        raise UserError(f"{run.folder.path} does not infer both Z^a and Z^g; give a run of the deformable model")


def held_out(run: Run) -> Source:
    """The unseen samples of a run. Raises UserError if it has none."""
    if run.sources.held_out is None:
        raise UserError(f"{run.folder.path} has no held-out images; train with data.held_out above 0")
    return run.sources.held_out


def table(corner: str, columns: Sequence[str], rows: Mapping[str, Sequence[str]]) -> str:
    """Rows of text in aligned columns."""
    lines = [[corner, *columns], *([name, *cells] for name, cells in rows.items())]
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    return "\n".join("  ".join(cell.rjust(width) if k else cell.ljust(width)
                               for k, (cell, width) in enumerate(zip(line, widths))) for line in lines)


def write_results(folder: Path, result: dict[str, Any]) -> dict[str, Any]:
    """Writes the result of an experiment that trains, and its origin, to metrics.json in `folder`; returns both."""
    result = {**result, **origin()}
    write_json(folder / "metrics.json", result)
    return result


def output_folder(path: str | Path) -> Path:
    """The folder of an experiment that trains, created if missing; it may contain runs of an earlier call.

    Raises UserError if it is a run folder, or cannot be created.
    """
    folder = expanded(path)
    if RunFolder.is_run(folder):
        raise UserError(f"{folder} holds a single run; choose another --output")
    return make_folder(folder)
