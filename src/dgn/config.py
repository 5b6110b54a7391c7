"""What a run is made of: frozen dataclasses, their defaults the paper's (Table 4) or, where it is silent, the authors' code.

A recipe is a YAML file that holds only what differs from these defaults; `--set section.key=value` changes single
values. An unknown key names the nearest known one; a wrong value says which values are right.
"""

from __future__ import annotations

import dataclasses
import difflib
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Optional, Sequence, Tuple, Union

import yaml

from dgn.errors import UserError

LAYOUTS = ("videos", "frames", "strips")  # of folders of clips (data.clips)
Steps = Tuple[Tuple[int, float], ...]  # ((from_epoch, value), ...): a value that changes in steps


def number(default: Any, low: float = float("-inf"), high: float = float("inf"), *, above: Optional[float] = None):
    """A field with the range low <= value <= high (value > above)."""
    return field(default=default, metadata={"low": low, "high": high, "above": above})


def choice(default: str, *options: str):
    """A field that takes one of `options`."""
    return field(default=default, metadata={"options": options})


@dataclass(frozen=True)
class Data:
    """Where the images come from and how they are cut."""

    path: Optional[str] = None  # folder of images or clips, MindRecord file, or folder of an official set; none: generated faces
    format: str = choice("images", "images", "mnist", "cifar10", *LAYOUTS)  # of what is at `path`; see data.clips
    frames: int = number(0, 0, 1000)  # 0: samples are images; else clips of so many frames, T + 1
    resample: bool = False  # every clip as exactly `frames` frames; else its first, and a shorter one is filled up
    part: str = choice("all", "all", "train", "test")  # of MNIST and CIFAR-10
    category: Optional[str] = None  # of MNIST and CIFAR-10, only these images: 0..9, airplane .. truck
    files: Optional[str] = None  # only images (or clips) whose path below the folder matches this pattern, such as *-11.jpg
    population: str = choice("random", "random", "frontal", "neutral", "expressions")  # of the generated faces
    size: int = number(64, 16, 1024)  # pixels; 4 x a power of two; with Table 5 a multiple of 16
    grey: bool = False
    crop: Optional[Tuple[int, int, int, int]] = None  # left, top, right, bottom before resizing; none: the central square
    limit: Optional[int] = number(None, 1)  # use this many training images; none: all (generated: 1000 faces, 516 clips)
    held_out: int = number(200, 0)  # the last images (clips named class/person_...: of the last people), kept for evaluation
    corrupt: str = choice("error", "error", "skip")  # an image that cannot be read stops the run, or is left out
    cache_mb: int = number(256, 0)  # decoded images kept in memory
    seed: int = number(1, 0)  # of the generated faces


@dataclass(frozen=True)
class Model:
    """Table 4 and its natural form at other sizes."""

    kind: str = choice("deformable", "deformable", "plain")  # plain: one generator of as many parameters and latents (Table 1)
    appearance: str = choice("sampled", "sampled", "label")  # label: Z^a is the one-hot label of the image, given (5.4)
    z_app: int = number(64, 1)  # dimensions of Z^a
    z_geo: int = number(64, 1)  # dimensions of Z^g
    xi_app: int = number(3, 0)  # of clips: dimensions of xi^a, the noise that drives Z^a from frame to frame (Table 5); 0: Z_t^a = Z_0^a
    xi_geo: int = number(10, 1)  # and of xi^g
    network: str = choice("table4", "table4", "table5")  # layers: Table 4's (images) or Table 5's (video: width 256, alpha 2)
    width: int = number(128, 8)  # channels of the geometry generator's first map
    narrowest: int = number(1, 1)  # no hidden layer has fewer channels: Table 4's halving would leave 4 at 256x256
    precision: str = choice("float32", "float32", "mixed")  # mixed: the hidden deconvolutions in 16 bits, for Ascend and GPU
    alpha: float = number(0.625, above=0, high=4)  # scheme 1: appearance channels / geometry channels (5.7)
    scaling: str = choice("none", "none", "he")  # scheme 2: weights scaled at run time by He's constant
    beta: float = number(0.3, above=0, high=10)  # scheme 2: and the geometry generator's also by this
    geometry_init: float = number(1.0, 0, 10)  # times the initial weights of the geometry's last layer (5.7: a head start)
    max_displacement: float = number(0.3125, above=0, high=1)  # of the width: 20 pixels at 64
    smooth_appearance: bool = False  # beyond the paper: the last layer's kernel smoothed, against checkerboards
    control_grid: int = number(0, 0, 256)  # beyond the paper: the displacement as a spline over this many points a side; 0: per pixel
    refine: bool = False  # the optional refining layer after the warp (Fig. 1)
    warp: str = choice("auto", "auto", "reference", "grid_sample", "native")
    deconv: str = choice("auto", "auto", "stock", "symmetric", "native")  # and the critic's convolutions
    recurrence: str = choice("auto", "auto", "stock", "native")


@dataclass(frozen=True)
class Inference:
    """Langevin dynamics on the latents, Eq. 7 and 8."""

    step_size: float = number(0.1, above=0, high=10)  # delta
    steps: int = number(20, 1)  # l, for each visit of a sample
    compiled: int = number(0, 0)  # steps of one compiled graph, a divisor of `steps`; 0: all. Long clips compile sooner with few
    sigma: Steps = ((0, 1.5), (100, 1.0))  # standard deviation of the residual, on the sum over a [0, 1] image
    begin: str = choice("prior", "prior", "mean")  # where chains begin: drawn from the prior, or (beyond the paper) all at its mean
    restart_every: int = number(0, 0)  # beyond the paper: epochs after which all chains begin again at the prior's mean; 0: never
    order: str = choice("alternating", "alternating", "simultaneous")  # the paper alternates; the authors' code does not
    per_frame: bool = False  # beyond the paper, for clips: delta over the root of the number of its frames that a latent has a part in
    smoothness: float = number(0.0, 0)  # prior on the displacement: this / 2 times the sum of its squared differences


@dataclass(frozen=True)
class Training:
    """Algorithm 1."""

    method: str = choice("abp", "abp", "vae")  # alternating back-propagation, or an encoder and the ELBO (Table 1)
    start: Optional[str] = None  # run folder whose weights are the initial ones (5.2)
    start_with: str = choice("all", "all", "appearance", "geometry")  # of that run, only this generator's weights
    frozen: str = choice("none", "none", "appearance", "geometry")  # generator that keeps its weights (5.2)
    renew_appearance: Tuple[int, ...] = ()  # beyond the paper: epochs at whose start the appearance generator begins anew
    adversarial: str = choice("none", "none", "nonsaturating", "minimax")  # with a critic (5.3, Eq. 22); the form of the actor's loss
    likelihood_weight: float = number(0.001, 0)  # lambda_1 of Eq. 22
    r1_weight: float = number(10.0, 0)  # lambda_2
    r1_every: int = number(1, 1)  # R1 at every so many visits, with so many times its weight
    critic_width: int = number(16, 1)  # channels of the critic at full size; doubled as the size halves
    epochs: int = number(1000, 1)
    batch_size: int = number(100, 1)
    shards: int = number(1, 1)  # every batch has equal shares of so many parts of the data: of so many processes, or a divisor
    parts: int = number(1, 1)  # a batch is run in so many parts, whose gradients are summed: less memory, the same step
    learning_rate: Steps = ((0, 1e-3), (400, 5e-4), (700, 2e-4), (900, 1e-4))  # Adam's, falling in steps
    adam_beta1: float = number(0.9, above=0, high=0.999)
    adam_beta2: float = number(0.999, above=0, high=0.99999)
    seed: int = number(1, 0)  # of weights, latents, noise and order
    checkpoint_every: int = number(10, 1)  # epochs
    checkpoints_kept: int = number(3, 1)
    figures_every: int = number(0, 0)  # epochs; 0: only at the end


@dataclass(frozen=True)
class Evaluation:
    """How a run is measured when it ends, and by `dgn evaluate`."""

    images: int = number(200, 1)  # unseen images, at most
    steps: int = number(300, 1)  # Langevin steps for an unseen image (5.3)
    gamma: float = number(10.0, above=0, high=1000)  # pictures of bases go from -gamma to gamma (5)


@dataclass(frozen=True)
class Config:
    """One run."""

    data: Data = Data()
    model: Model = Model()
    inference: Inference = Inference()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()

    def __post_init__(self) -> None:
        for section in dataclasses.fields(self):
            _check_section(section.name, getattr(self, section.name))
        if self.training.adversarial != "none":
            self._check_adversarial()
        self._check_sizes()
        self._check_clips()
        if self.model.kind == "plain" and (self.model.appearance, self.training.frozen, self.training.start_with) != ("sampled", "none", "all"):
            raise UserError("model.kind is plain: it has no appearance to be given (model.appearance) and no part to be frozen or "
                            "started with (training.frozen, training.start_with)")
        if self.training.renew_appearance and (self.model.kind, self.training.method, self.training.frozen) != ("deformable", "abp", "none"):
            raise UserError("training.renew_appearance is for the deformable model learned by abp, nothing frozen")
        share, rest = divmod(self.training.batch_size, self.training.shards)
        if rest:
            raise UserError(f"training.shards is {self.training.shards}; it must divide training.batch_size, {self.training.batch_size}")
        if share % self.training.parts:
            raise UserError(f"training.parts is {self.training.parts}; it must divide training.batch_size / training.shards, {share}")
        if self.inference.compiled and self.inference.steps % self.inference.compiled:
            raise UserError(f"inference.compiled is {self.inference.compiled}; it must divide inference.steps, {self.inference.steps}")
        if self.data.crop and not (self.data.crop[0] < self.data.crop[2] and self.data.crop[1] < self.data.crop[3]):
            raise UserError(f"data.crop is {list(self.data.crop)}; it must be [left, top, right, bottom] with left < right, top < bottom")

    def _check_sizes(self) -> None:
        side, grid = self.data.size, self.model.control_grid
        if self.model.network == "table5":
            if side % 16 or grid % 16 or grid > side:
                raise UserError(f"data.size is {side}, model.control_grid {grid}; the networks of Table 5 need multiples of 16 (the grid 0, or "
                                "up to data.size)")
            return
        if side & (side - 1):
            raise UserError(f"data.size is {side}; the generators double 4x4 pixels, so it must be 16, 32, 64, 128, 256 ...")
        if grid and (grid < 8 or grid & (grid - 1) or grid > side):
            raise UserError(f"model.control_grid is {grid}; it must be 0, or 8, 16, 32 ... up to data.size")

    def _check_adversarial(self) -> None:
        if self.training.method != "abp" or self.model.appearance != "sampled" or self.data.frames:
            raise UserError("training.adversarial goes with training.method abp, on images, with Z^a sampled")
        if self.data.size & (self.data.size - 1):
            raise UserError(f"data.size is {self.data.size}; the critic halves it down to 4, so it must be a power of two")

    def _check_clips(self) -> None:
        of_clips = self.data.format in LAYOUTS
        if self.data.frames == 0 and (of_clips or self.data.resample):
            raise UserError(f"data.format {self.data.format} and data.resample are for clips; data.frames says of how many frames")
        if self.data.frames and self.data.path and not of_clips:
            raise UserError(f"data.frames is {self.data.frames}, so {self.data.path} must hold clips: data.format videos, frames or strips")
        if self.data.frames and (self.model.kind, self.model.appearance, self.training.method) != ("deformable", "sampled", "abp"):
            raise UserError("clips (data.frames) are for the deformable model, Z^a sampled, learned by abp (model.kind, model.appearance, "
                            "training.method)")


def at_epoch(steps: Steps, epoch: int) -> float:
    """The value that a stepped schedule has at `epoch`, counted from 0."""
    return [value for start, value in steps if start <= epoch][-1]


def last_sigma(config: Config) -> float:
    """Sigma of the last epoch: a finished run infers with it."""
    return at_epoch(config.inference.sigma, config.training.epochs - 1)


def load(path: Optional[Union[str, Path]] = None, settings: Sequence[str] = ()) -> Config:
    """The config of a YAML file with `section.key=value` settings on top.

    Raises UserError for a missing or malformed file, an unknown key or a value out of range.
    """
    values = _read_yaml(Path(path)) if path else {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        section, dot, name = key.strip().partition(".")
        if not (equals and dot):
            raise UserError(f"--set {setting}: write it as section.key=value, such as --set training.epochs=20")
        if not isinstance(values.get(section) or {}, dict):
            raise UserError(f"{path}: {section} must hold keys and values")
        try:
            values[section] = {**(values.get(section) or {}), name: yaml.safe_load(text)}
        except yaml.YAMLError:
            raise UserError(f"--set {setting}: {text!r} is not a YAML value") from None
    return from_dict(values, str(path) if path else "--set")


def from_dict(values: Dict[str, Any], where: str) -> Config:
    """A checked Config from nested dictionaries; `where` names their origin in error messages."""
    if not isinstance(values, dict):
        raise UserError(f"{where}: a config holds sections with keys and values")
    sections = {f.name: type(f.default) for f in dataclasses.fields(Config)}
    built = {}
    for name, content in values.items():
        if name not in sections:
            raise UserError(f"{where}: unknown section {name!r}{_nearest(str(name), sections)}")
        built[name] = _build_section(sections[name], name, content or {}, where)
    return Config(**built)


# what a resumed run may not change: its weights, chains and batches would no longer be those of the run
FIXED = {"data": ("frames", "resample", "size", "grey", "crop", "limit", "held_out", "seed", "format", "part", "category", "files",
                  "population"),
         "model": None, "training": ("method", "adversarial", "critic_width", "frozen", "renew_appearance", "batch_size", "seed")}
FREE = {"model": ("warp", "deconv", "recurrence")}


def check_resumable(old: Config, new: Config) -> None:
    """Raises UserError naming the first value that a resumed run may not change."""
    for section, keys in FIXED.items():
        before, after = getattr(old, section), getattr(new, section)
        for key in keys or [f.name for f in dataclasses.fields(before) if f.name not in FREE.get(section, ())]:
            if getattr(before, key) != getattr(after, key):
                raise UserError(f"{section}.{key} is {getattr(before, key)!r} in this run and cannot become {getattr(after, key)!r} "
                                "when it is resumed; start a new run in another --output")


_NO_TRAINING = {"data": ("cache_mb",), "model": ("warp", "deconv", "recurrence"), "training": ("checkpoints_kept", "figures_every")}


def first_difference(old: Config, new: Config) -> Optional[str]:
    """The first setting in which two trainings differ, as text; None if they would give the same."""
    for section in ("data", "model", "inference", "training"):
        before, after = getattr(old, section), getattr(new, section)
        for f in dataclasses.fields(before):
            if f.name not in _NO_TRAINING.get(section, ()) and getattr(before, f.name) != getattr(after, f.name):
                return f"{section}.{f.name} is {getattr(before, f.name)!r} there, {getattr(after, f.name)!r} here"
    return None


def to_dict(config: Config) -> Dict[str, Any]:
    """Nested dictionaries of plain values, as they are written to config.yaml."""
    def plain(value):
        return [plain(v) for v in value] if isinstance(value, tuple) else value
    return {name: {key: plain(value) for key, value in section.items()}
            for name, section in dataclasses.asdict(config).items()}


def changed(config: Config, **sections: Dict[str, Any]) -> Config:
    """The config with other values: changed(config, model={"kind": "plain"}). Raises UserError for a value out of range."""
    return dataclasses.replace(config, **{name: dataclasses.replace(getattr(config, name), **values) for name, values in sections.items()})


def cut(data: Data, crop: Optional[Tuple[int, int, int, int]]) -> Data:
    """Data with another crop; none: as it is."""
    return data if crop is None else dataclasses.replace(data, crop=crop)


def stored_as(data: Data, layout: Optional[str]) -> Data:
    """Data with clips of another layout; none: as it is. Raises UserError if the data are images."""
    if layout is None:
        return data
    if not data.frames:
        raise UserError("--format is for runs on clips; this one is on images")
    return dataclasses.replace(data, format=layout)


def with_whole_paths(config: Config) -> Config:
    """With paths from the root on, so that the run folder can be used from anywhere."""
    def whole(path: Optional[str]) -> Optional[str]:
        return path and str(Path(path).resolve())
    return changed(config, data={"path": whole(config.data.path)}, training={"start": whole(config.training.start)})


def dump(config: Config) -> str:
    """YAML text of every value, that `load` reads back."""
    return yaml.safe_dump(to_dict(config), sort_keys=False, default_flow_style=None)


def _read_yaml(path: Path) -> Dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"no config file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read config {path}: {error}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if values is not None and not isinstance(values, dict):
        raise UserError(f"{path}: a config holds sections with keys and values, this file holds {type(values).__name__}")
    return values or {}


def _build_section(kind: type, section: str, content: Any, where: str):
    if not isinstance(content, dict):
        raise UserError(f"{where}: {section} must hold keys and values, not {content!r}")
    hints = typing.get_type_hints(kind)
    for key in content:
        if key not in hints:
            raise UserError(f"{where}: unknown key {section}.{key}{_nearest(str(key), hints)}")
    return kind(**{key: _convert(value, hints[key], f"{section}.{key}", where) for key, value in content.items()})


def _nearest(word: str, known) -> str:
    match = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {match[0]!r}?" if match else f"; known are {', '.join(known)}"


def _convert(value: Any, hint: Any, key: str, where: str) -> Any:
    """The YAML value as the type that the field declares; nothing is guessed beyond number notation."""
    def wrong(expected: str) -> UserError:
        return UserError(f"{where}: {key} is {value!r}; it must be {expected}")

    if typing.get_origin(hint) is Union:  # Optional[...]
        return None if value is None else _convert(value, typing.get_args(hint)[0], key, where)
    if hint is Steps:
        return _convert_steps(value, key, where)
    if typing.get_origin(hint) is tuple and Ellipsis in typing.get_args(hint):
        if not isinstance(value, (list, tuple)):
            raise wrong("a list of whole numbers")
        return tuple(_convert(v, int, key, where) for v in value)
    if typing.get_origin(hint) is tuple:
        size = len(typing.get_args(hint))
        if not isinstance(value, (list, tuple)) or len(value) != size:
            raise wrong(f"a list of {size} whole numbers")
        return tuple(_convert(v, int, key, where) for v in value)
    if hint is bool:
        if not isinstance(value, bool):
            raise wrong("true or false")
        return value
    if hint is int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong("a whole number")
        return value
    if hint is float:
        try:  # YAML 1.1 reads 1e-3 as text
            if isinstance(value, bool):
                raise TypeError
            return float(value)
        except (TypeError, ValueError):
            raise wrong("a number") from None
    if not isinstance(value, str):
        raise wrong("text")
    return value


def _convert_steps(value: Any, key: str, where: str) -> Steps:
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        value = [[0, value]]
    try:
        steps = tuple((_convert(epoch, int, key, where), _convert(v, float, key, where)) for epoch, v in value)
    except (TypeError, ValueError):
        steps = ()
    epochs = [epoch for epoch, _ in steps]
    if not epochs or epochs[0] != 0 or epochs != sorted(set(epochs)):
        raise UserError(f"{where}: {key} is {value!r}; it must be a number, or [[0, value], [epoch, value], ...] with rising epochs")
    return steps


def _check_section(section: str, values: Any) -> None:
    for f in dataclasses.fields(values):
        key, value, rule = f"{section}.{f.name}", getattr(values, f.name), f.metadata
        if value is None:
            continue
        if "options" in rule and value not in rule["options"]:
            raise UserError(f"{key} is {value!r}; it must be one of {', '.join(rule['options'])}")
        if "low" in rule and not (rule["low"] <= value <= rule["high"] and (rule["above"] is None or value > rule["above"])):
            low = f"above {rule['above']}" if rule["above"] is not None else f"at least {rule['low']}"
            high = "" if rule["high"] == float("inf") else f" and at most {rule['high']}"
            raise UserError(f"{key} is {value}; it must be {low}{high}")
        if f.name in ("sigma", "learning_rate") and not all(0 < v < float("inf") for _, v in value):
            raise UserError(f"{key} is {value}; every value must be above 0")
