"""The settings of a run as frozen dataclasses. Defaults are the paper's (Table 4), or the authors' code where the paper
is silent.

Reading and writing YAML, and overrides from the command line, are in dgn.recipe.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from dgn.errors import UserError

CLIP_FORMATS = ("videos", "frames", "strips")  # data.format of folders of clips (dgn.data.clips)
Schedule = tuple[tuple[int, float], ...]  # ((first_epoch, value), ...): a piecewise constant value
NO_FACTOR: Schedule = ((0, 1.0),)
OFF: Schedule = ((0, 0.0),)
LARGEST = 2 ** 31 - 1  # of integers


def setting(default: Any, *, fixed: bool = False, trains: bool = True, **rules: Any) -> Any:
    """A field with its rules as metadata.

    fixed: a resumed run must not change it. trains: it affects the trained weights, so two runs that differ in it are
    different runs. rules: see number and choice.
    """
    return field(default=default, metadata={"fixed": fixed, "trains": trains, **rules})


def number(default: Any, *, low: float | None = None, above: float | None = None, high: float | None = None,
           **flags: bool) -> Any:
    """A number, or a schedule of numbers (with a schedule as default), of which each is low <= value <= high, or
    above < value <= high.

    high: by default 2^31 - 1 for integers, 1e30 for floats.
    """
    scheduled = isinstance(default, tuple)
    if high is None:
        high = 1e30 if scheduled or isinstance(default, float) else LARGEST
    return setting(default, low=low, above=above, high=high, scheduled=scheduled, **flags)


def choice(*options: str, **flags: bool) -> Any:
    """A field whose value is one of `options`, by default the first."""
    return setting(options[0], options=options, **flags)


@dataclass(frozen=True)
class Data:
    """The images of a run, and how they are cropped."""

    path: str | None = None  # folder of images or clips, MindRecord file, or official dataset; None: generated faces
    format: str = choice("images", "mnist", "cifar10", *CLIP_FORMATS, fixed=True)  # of the files at `path`
    # 0: samples are images; else clips of this many frames, T + 1
    frames: int = number(0, low=0, high=1000, fixed=True)
    resample: bool = setting(False, fixed=True)  # clips resampled to `frames` frames; else cut or padded with a mask
    split: str = choice("all", "train", "test", fixed=True)  # of MNIST and CIFAR-10
    category: str | None = setting(None, fixed=True)  # one class of MNIST or CIFAR-10: 0..9, airplane .. truck
    pattern: str | None = setting(None, fixed=True)  # only files whose relative path matches, such as *-11.jpg
    population: str = choice("random", "frontal", "neutral", "expressions", fixed=True)  # of generated faces
    changing_light: bool = setting(False, fixed=True)  # of generated clips: the light moves from frame to frame
    size: int = number(64, low=16, high=1024, fixed=True)  # pixels; 4 x a power of two; with Table 5 a multiple of 16
    grey: bool = setting(False, fixed=True)  # one channel instead of RGB
    crop: tuple[int, int, int, int] | None = setting(None, fixed=True)  # left, top, right, bottom; None: square
    limit: int | None = number(None, low=1, fixed=True)  # training samples at most (generated: 1000 faces, 516 clips)
    mirror: bool = setting(False, fixed=True)  # the mirror image of every training sample is one more sample
    # number of samples held out, the last by name; training samples that show their people are dropped
    held_out: int = number(200, low=0, fixed=True)
    corrupt: str = choice("error", "skip")  # an unreadable file stops the run, or is left out
    cache_mb: int = number(256, low=0, trains=False)  # decoded images kept in memory
    seed: int = number(1, low=0, fixed=True)  # of generated faces

    def __post_init__(self) -> None:
        crop = self.crop
        if crop and not (0 <= crop[0] < crop[2] and 0 <= crop[1] < crop[3]):
            raise UserError(f"data.crop is {list(crop)}; it must be [left, top, right, bottom] in pixels with "
                            "0 <= left < right, 0 <= top < bottom")


@dataclass(frozen=True)
class Model:
    """The generators: Table 4, and its natural form at other sizes; Table 5 for video."""

    # plain: one generator of equal size (Table 1); for clips the generator of MoCoGAN, with a content of z_app
    # dimensions and a motion of z_geo dimensions, which a recurrent unit computes from xi_geo dimensions of noise a
    # frame
    kind: str = choice("deformable", "plain", fixed=True)
    appearance: str = choice("sampled", "label", fixed=True)  # label: Z^a is the given one-hot label (5.4)
    z_app: int = number(64, low=1, fixed=True)  # dimensions of Z^a
    z_geo: int = number(64, low=1, fixed=True)  # dimensions of Z^g
    xi_app: int = number(3, low=0, fixed=True)  # clips: dimensions of xi^a, the noise that drives Z^a; 0: Z_t^a = Z_0^a
    xi_geo: int = number(10, low=1, fixed=True)  # clips: dimensions of xi^g
    network: str = choice("table4", "table5", fixed=True)  # Table 5 (video) takes width 256 and alpha 2
    width: int = number(128, low=8, fixed=True)  # channels of the geometric generator's first map
    min_channels: int = number(1, low=1, fixed=True)  # of hidden layers; the halving of Table 4 reaches 4 at 256x256
    # arithmetic of the hidden layers; mixed means float16; bfloat16: only on Ascend
    precision: str = choice("float32", "float16", "bfloat16", "mixed", fixed=True)
    alpha: float = number(0.625, above=0, high=4, fixed=True)  # scheme 1: appearance / geometry channels (5.7)
    scaling: str = choice("none", "he", fixed=True)  # he: scheme 2, weights scaled in each forward pass (5.7)
    beta: float = number(0.3, above=0, high=10, fixed=True)  # scheme 2: additional factor on the geometry's weights
    # beyond 5.7: scale of the geometry's initial last layer
    geometry_init: float = number(1.0, low=0, high=10, fixed=True)
    max_displacement: float = number(0.3125, above=0, high=1, fixed=True)  # relative to the image: 20 pixels at 64
    smooth_appearance: bool = setting(False, fixed=True)  # beyond the paper: smoothed last kernel, no checkerboards
    # form of the displacement; auto: pixels, or spline with a control_grid; monotone (beyond the paper):
    # cumulative sums of increments
    field: str = choice("auto", "pixels", "spline", "monotone", fixed=True)
    # beyond the paper: B-spline control points a side; 0: per pixel
    control_grid: int = number(0, low=0, high=256, fixed=True)
    refine: bool = setting(False, fixed=True)  # optional refining layer after the warp (Fig. 1)
    grid: str = choice("integer", "authors", fixed=True)  # sampling grid, see authors_grid in nets.deformable
    # implementation of the warp (Eq. 2-4)
    warp: str = choice("auto", "reference", "grid_sample", "native", trains=False)
    # implementation of the deconvolutions, and of the critic's convolutions
    deconv: str = choice("auto", "stock", "symmetric", "native", trains=False)
    # implementation of the transition over time (Eq. 11)
    recurrence: str = choice("auto", "stock", "native", trains=False)


@dataclass(frozen=True)
class Inference:
    """Langevin dynamics on the latents, Eq. 7 and 8."""

    step_size: float = number(0.1, above=0, high=10)  # delta
    steps: int = number(20, low=1)  # l: Langevin steps in each iteration
    steps_per_graph: int = number(0, low=0)  # steps in one compiled graph, a divisor of `steps`; 0: all
    # standard deviation of epsilon (Eq. 1), of each pixel and channel
    sigma: Schedule = number(((0, 1.5), (100, 1.0)), above=0)
    chain_init: str = choice("prior", "mean")  # chains start as prior samples, or (beyond paper) at 0
    restart_every: int = number(0, low=0)  # beyond the paper: chains restart at the prior mean every n epochs; 0: never
    order: str = choice("alternating", "simultaneous")  # simultaneous: as in the authors' code
    scale_by_frames: bool = False  # beyond the paper, clips: delta / sqrt(frames that the latent affects)
    # beyond the paper, only in training: factor on sigma for the gradient of Z^a. Unless it is 1, the chains of the two
    # groups do not sample one joint posterior
    sigma_app: Schedule = number(NO_FACTOR, above=0)
    preconditioner: str = choice("none", "gauss_newton")  # beyond the paper: see dgn.inference.preconditioner
    # beyond the paper: weight of a quadratic penalty on the displacement's differences
    smoothness: Schedule = number(OFF, low=0)
    # beyond the paper: fraction of the linear prediction of Z^a from Z^g to subtract, see dgn.inference.decorrelation
    decorrelation: Schedule = number(OFF, low=0, high=1, fixed=True)


@dataclass(frozen=True)
class Training:
    """Algorithm 1."""

    # abp: alternating back-propagation; vae: encoder and ELBO; autoencoder: encoder without noise and KL divergence
    method: str = choice("abp", "vae", "autoencoder", fixed=True)
    init_from: str | None = None  # run folder whose weights are the initial ones (5.2)
    freeze: str = choice("none", "appearance", "geometry", fixed=True)  # generator that is not updated (5.2)
    reinit_appearance: tuple[int, ...] = setting((), fixed=True)  # beyond the paper: epochs that reinitialize F_a
    adversarial: str = choice("none", "nonsaturating", "minimax", fixed=True)  # loss with a critic (5.3)
    # beyond the paper: weight of half the squared norm of the batch's mean displacement (each process: of its own
    # samples)
    mean_displacement_weight: float = number(0.0, low=0)
    likelihood_weight: float = number(0.001, low=0)  # lambda_1 of Eq. 22; 0: the generators learn only from the critic
    r1_weight: float = number(10.0, low=0)  # lambda_2 of Eq. 22; R1 with respect to the critic's input in [-1, 1]
    r1_interval: int = number(1, low=1)  # lazy R1: every k iterations with weight k
    # critic channels at full size; doubled at each halving, up to 16 times as many
    critic_width: int = number(16, low=1, fixed=True)
    epochs: int = number(1000, low=1)
    batch_size: int = number(100, low=1, fixed=True)  # of all processes together
    shards: int = number(1, low=1)  # equal parts of each batch by sample index; a multiple of the processes
    micro_batches: int = number(1, low=1)  # gradient accumulation: less memory, the same step
    learning_rate: Schedule = number(((0, 1e-3), (400, 5e-4), (700, 2e-4), (900, 1e-4)), above=0)  # Adam's
    adam_beta1: float = number(0.9, above=0, high=0.999)
    adam_beta2: float = number(0.999, above=0, high=0.99999)
    seed: int = number(1, low=0, fixed=True)  # of weights, latents, noise and order
    checkpoint_every: int = number(10, low=1)  # epochs
    # a checkpoint is also written within an epoch if the last one is so many minutes old; 0: never
    checkpoint_minutes: float = number(30.0, low=0, trains=False)
    checkpoints_kept: int = number(3, low=1, trains=False)
    figures_every: int = number(0, low=0, trains=False)  # epochs; 0: a few pictures after 1, 3, 10, 30 ... epochs


@dataclass(frozen=True)
class Evaluation:
    """Evaluation after training and by `dgn evaluate`."""

    images: int = number(200, low=1, trains=False)  # unseen images, at most
    steps: int = number(300, low=1, trains=False)  # Langevin steps for an unseen image (5.3)
    encoder_steps: int = number(20, low=0, trains=False)  # Langevin steps if `dgn encoder` initializes the chain
    # beyond the paper, underdamped Langevin dynamics (dgn.inference.langevin): fraction of the velocity kept per step;
    # 0: Eq. 7. Above 0 all groups are updated simultaneously, regardless of inference.order
    momentum: float = number(0.0, low=0, high=0.99, trains=False)
    # beyond the paper: factor on inference.step_size by percent of the steps, [[percent, factor], ...]; it changes
    # between calls of the sampler's graph (inference.steps_per_graph)
    step_factor: Schedule = number(NO_FACTOR, above=0, high=10, trains=False)
    # beyond the paper: factor on the last inference.sigma, same format (annealing: start above 1), for chains that
    # start at the prior mean; chains that start at encoder latents use the last factor
    sigma_factor: Schedule = number(NO_FACTOR, above=0, high=100, trains=False)
    gamma: float = number(10.0, above=0, high=1000, trains=False)  # traversals go from -gamma to gamma (section 5)


@dataclass(frozen=True)
class Numerics:
    """Rounding and compilation on a device (dgn.numerics; docs/devices.md lists what each device takes)."""

    hf32: bool = setting(False, trains=False)  # float32 convolutions in HF32 on Ascend, in TF32 on GPU
    deterministic: bool = setting(False, trains=False)  # deterministic kernels on Ascend and GPU; slower
    jit_level: str = choice("default", "O0", "O1", trains=False)  # O1: fused operators; default: MindSpore's
    # Ascend at O0: groups of operators launched side by side
    launch_groups: int = number(0, low=0, high=256, trains=False)


_ON_IMAGES = {"training.method": "abp", "data.frames": 0}
_DEFORMABLE = {"model.kind": "deformable"}
NEEDS: dict[str, dict[str, Any]] = {  # an option with another value than its default -> the values that it needs
    "data.frames": {"model.appearance": "sampled", "training.method": "abp"},
    "model.appearance": _DEFORMABLE,
    "inference.sigma_app": {**_DEFORMABLE, "model.appearance": "sampled", **_ON_IMAGES},
    "inference.preconditioner": _ON_IMAGES,
    "inference.decorrelation": {**_DEFORMABLE, "model.appearance": "sampled", "training.adversarial": "none",
                                **_ON_IMAGES},
    "training.freeze": _DEFORMABLE,
    "training.reinit_appearance": {**_DEFORMABLE, "training.method": "abp", "training.freeze": "none"},
    "training.adversarial": {"model.appearance": "sampled", "training.method": "abp"},
    # a function of the whole batch
    "training.mean_displacement_weight": {**_DEFORMABLE, "training.adversarial": "none", "training.micro_batches": 1,
                                          **_ON_IMAGES},
    "numerics.launch_groups": {"numerics.jit_level": "O0"},
}
_ESSENTIAL = ("data.frames", "model.appearance")  # options of NEEDS without which a config describes another task


@dataclass(frozen=True)
class Config:
    """Settings of a run in sections. The comments in the source of dgn.config explain every key.

    Raises UserError for values out of range and for combinations that have no meaning.
    """

    data: Data = Data()
    model: Model = Model()
    inference: Inference = Inference()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    numerics: Numerics = Numerics()

    def __post_init__(self) -> None:
        for section in dataclasses.fields(self):
            if not isinstance(getattr(self, section.name), type(section.default)):
                raise UserError(f"{section.name} is {getattr(self, section.name)!r}; it must be a dgn.config."
                                f"{type(section.default).__name__}. dgn.train takes single values as overrides")
            _check_ranges(section.name, getattr(self, section.name))
        for option, needs in NEEDS.items():
            if _value(self, option) != _value(Config, option):
                for key, wanted in needs.items():
                    if _value(self, key) != wanted:
                        raise UserError(f"{option} needs {key} {wanted}; it is {_value(self, key)}")
        self._check_sizes()
        self._check_clips()
        self._check_batches()
        if any(epoch < 0 for epoch in self.training.reinit_appearance):
            raise UserError(f"training.reinit_appearance is {list(self.training.reinit_appearance)}; epochs are "
                            "counted from 0")
        for name in ("step_factor", "sigma_factor"):
            factors = getattr(self.evaluation, name)
            if factors[-1][0] >= 100:
                raise UserError(f"evaluation.{name} is {[list(step) for step in factors]}; its factors begin at "
                                "percents of the steps, from 0 to 99")
        if self.numerics.launch_groups % 2:
            raise UserError(f"numerics.launch_groups is {self.numerics.launch_groups}; it must be even")

    def _check_batches(self) -> None:
        training, inference = self.training, self.inference
        share, rest = divmod(training.batch_size, training.shards)
        if rest:
            raise UserError(f"training.shards is {training.shards}; it must divide training.batch_size, "
                            f"{training.batch_size}")
        if share % training.micro_batches:
            raise UserError(f"training.micro_batches is {training.micro_batches}; it must divide "
                            f"training.batch_size / training.shards, {share}")
        if inference.steps_per_graph and inference.steps % inference.steps_per_graph:
            raise UserError(f"inference.steps_per_graph is {inference.steps_per_graph}; it must divide "
                            f"inference.steps, {inference.steps}")

    def _check_sizes(self) -> None:
        side, grid, field = self.data.size, self.model.control_grid, self.model.field
        if self.training.adversarial != "none" and side & (side - 1):
            raise UserError(f"data.size is {side}; the critic halves it down to 4, so it must be a power of two")
        if (field == "pixels" and grid) or (field == "spline" and not grid):
            raise UserError(f"model.field is {field} and model.control_grid {grid}; pixels need 0, and a spline the "
                            "number of its control points a side")
        if self.model.network == "table5" and self.model.kind == "deformable":
            if side % 16 or grid % 16 or grid > side:
                raise UserError(f"data.size is {side}, model.control_grid {grid}; the networks of Table 5 need "
                                "multiples of 16 (the grid 0, or up to data.size)")
            return
        if side & (side - 1):
            raise UserError(f"data.size is {side}; the generators double 4x4 pixels, so it must be 16, 32, 64, 128, "
                            "256 ...")
        if grid and (grid < 8 or grid & (grid - 1) or grid > side):
            raise UserError(f"model.control_grid is {grid}; it must be 0, or 8, 16, 32 ... up to data.size")

    def _check_clips(self) -> None:
        data, of_clips = self.data, self.data.format in CLIP_FORMATS
        if data.frames == 0 and (of_clips or data.resample):
            raise UserError(f"data.format {data.format} and data.resample are for clips; data.frames must be their "
                            "number of frames")
        if data.frames and data.path and not of_clips:
            raise UserError(f"data.frames is {data.frames}, so {data.path} must hold clips: data.format videos, "
                            "frames or strips")
        if data.changing_light and (data.path or not data.frames):
            raise UserError("data.changing_light is for generated clips: data.frames above 0 and no data.path")
        if data.frames and self.model.kind == "deformable" and self.training.adversarial != "none":
            raise UserError("training.adversarial needs images (data.frames 0) or clips of model.kind plain")
        if data.frames and self.model.kind == "plain" and self.model.recurrence == "native":
            raise UserError("model.recurrence native is for model.kind deformable; clips of model.kind plain need auto "
                            "or stock")


def _value(config: Config | type[Config], key: str) -> Any:
    """The value of `section.key`; of the class Config the default."""
    return operator.attrgetter(key)(config)


def value_at(schedule: Schedule, epoch: int) -> float:
    """The value of a schedule at `epoch`, counted from 0; in the evaluation section at a percent of a chain's steps."""
    return [value for first, value in schedule if first <= epoch][-1]


def last_sigma(config: Config) -> float:
    """Sigma of the last epoch; finished runs use it for inference."""
    return value_at(config.inference.sigma, config.training.epochs - 1)


def last_smoothness(config: Config) -> float:
    """Weight of the smoothness in the last epoch."""
    return value_at(config.inference.smoothness, config.training.epochs - 1)


def check_resumable(old: Config, new: Config) -> None:
    """Raises UserError naming the first setting that a resumed run must not change."""
    for key, before, after, rules in _pairs(old, new):
        if rules["fixed"] and before != after:
            raise UserError(f"{key} is {before!r} in this run and cannot become {after!r} when it is resumed; start "
                            "a new run in another --output")


def first_difference(old: Config, new: Config) -> str | None:
    """The first difference that affects the weights of two trainings, as text; None without one."""
    for key, before, after, rules in _pairs(old, new):
        if rules["trains"] and before != after:
            return f"{key} is {before!r} there, {after!r} here"
    return None


def _pairs(old: Config, new: Config) -> Iterator[tuple[str, Any, Any, dict[str, Any]]]:
    """(key, old value, new value, rules) of every field."""
    for section in dataclasses.fields(Config):
        before, after = getattr(old, section.name), getattr(new, section.name)
        for f in dataclasses.fields(before):
            rules = {"fixed": False, "trains": True, **f.metadata}
            yield f"{section.name}.{f.name}", getattr(before, f.name), getattr(after, f.name), rules


def changed(config: Config, **sections: dict[str, Any]) -> Config:
    """A config with other values: changed(config, model={"kind": "plain"}). Raises UserError for a value out of
    range."""
    return dataclasses.replace(config, **{name: dataclasses.replace(getattr(config, name), **values)
                                          for name, values in sections.items()})


def changed_as_supported(config: Config, **sections: dict[str, Any]) -> Config:
    """`changed`, and the options that the other values do not support (NEEDS) at their defaults. Raises UserError if
    these are _ESSENTIAL ones: the samples, and what their labels mean, are not switched off."""
    changes = {f"{section}.{name}": value for section, values in sections.items() for name, value in values.items()}
    for option, needs in NEEDS.items():
        if option not in _ESSENTIAL and any(changes.get(key, _value(config, key)) != wanted
                                            for key, wanted in needs.items()):
            section, name = option.split(".")
            changes[option] = _value(Config, option)
            sections[section] = {**sections.get(section, {}), name: changes[option]}
    return changed(config, **sections)


def with_crop(data: Data, crop: tuple[int, int, int, int] | None) -> Data:
    """Data with another crop; None: unchanged."""
    return data if crop is None else dataclasses.replace(data, crop=crop)


def _check_ranges(section: str, values: Any) -> None:
    for f in dataclasses.fields(values):
        key, value, rule = f"{section}.{f.name}", getattr(values, f.name), f.metadata
        if value is None:
            continue
        if "options" in rule and value not in rule["options"]:
            raise UserError(f"{key} is {value!r}; it must be one of {', '.join(rule['options'])}")
        if "low" in rule:
            low, above, high = rule["low"], rule["above"], rule["high"]
            if rule["scheduled"]:
                shown, subject, values_in = [list(step) for step in value], "every value", [v for _, v in value]
            else:
                shown, subject, values_in = value, "it", [value]
            if not all((low is None or low <= v) and (above is None or above < v) and v <= high for v in values_in):
                least = f"at least {low}" if above is None else f"above {above}"
                raise UserError(f"{key} is {shown}; {subject} must be {least} and at most {high}")
