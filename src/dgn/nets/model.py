"""The interface of every model: latent groups, the branch that decodes each, and their composition into an image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from dgn.errors import UserError

IMAGES_PER_BATCH = 100

Arrays = tuple[np.ndarray, ...]
Tensors = tuple[Tensor, ...]
Index = int | slice | Sequence[int] | np.ndarray  # an index, a slice or indices


def rows(samples: Any, chosen: Index) -> Any:
    """Latents or Decoded of the samples at an index, a slice or indices, from those of N samples."""
    return type(samples)(*[field if field is None else field[chosen] for field in samples])


class Decoded(NamedTuple):
    """The outputs of a model for N samples; for clips axis 1 is the frame.

    image: (N, C, H, W) in [0, 1], after the warp. appearance: (N, C, H, W) in [0, 1], before the warp. displacement:
    (N, 2, H, W) in pixels, (dx, dy): the image at (x, y) is the appearance at (x + dx, y + dy). The last two are None
    if the model has no warp.
    """

    image: np.ndarray
    appearance: np.ndarray | None = None
    displacement: np.ndarray | None = None

    @property
    def warp_inputs(self) -> tuple[np.ndarray, np.ndarray]:
        """Appearance and displacement of a model with a warp."""
        assert self.appearance is not None and self.displacement is not None
        return self.appearance, self.displacement


Decode = Callable[..., Decoded]  # of latents (n, d) of each group


def present(decoded: Decoded) -> list[np.ndarray]:
    """The fields that are not None."""
    return [field for field in decoded if field is not None]


class Latents(NamedTuple):
    """Latents of N samples of a deformable model.

    appearance: Z^a, (N, d_a); of clips (Z_0^a, xi_1^a .. xi_T^a). geometry: Z^g, (N, d_g), likewise. z.rows(slice(4)):
    the latents of the first four samples (z[:4] would be the first groups).
    """

    appearance: np.ndarray
    geometry: np.ndarray

    def rows(self, chosen: Index) -> Latents:
        """The latents of the samples at an index, a slice or indices."""
        return rows(self, chosen)


class PlainLatents(NamedTuple):
    """Latents of N samples of a plain model: z, (N, d)."""

    z: np.ndarray

    def rows(self, chosen: Index) -> PlainLatents:
        """The latents of the samples at an index, a slice or indices."""
        return rows(self, chosen)


class MotionLatents(NamedTuple):
    """Latents of N clips of a plain model (dgn.nets.motion_content).

    content: (N, d). motion: (N, m + F k), which is h_0, xi_1 .. xi_F.
    """

    content: np.ndarray
    motion: np.ndarray

    def rows(self, chosen: Index) -> MotionLatents:
        """The latents of the samples at an index, a slice or indices."""
        return rows(self, chosen)


AnyLatents = Any  # Latents, PlainLatents or MotionLatents, by the kind of model


class LatentGroup(NamedTuple):
    """One group of latents of a model, a standard normal under the prior."""

    name: str
    shape: tuple[int, ...]
    sampled: bool = True  # False: given with the data (a label), not updated by the sampler
    frames_affected: np.ndarray | None = None  # only for clips: (F, d), 1 where a latent affects a frame


class GroupText(NamedTuple):
    """The names of a latent group in pictures and on the page."""

    symbol: str  # in the paper
    name: str
    hint: str  # what the group should change


GROUP_TEXTS = {
    "z_app": GroupText("Z\u1d43", "appearance", "colour, light, identity"),  # with a superscript a, g, c, m
    "z_geo": GroupText("Z\u1d4d", "geometry", "pose, shape"),
    "z": GroupText("Z", "latent vector", "everything at once: this model does not separate appearance and geometry"),
    "z_content": GroupText("Z\u1d9c", "content", "what a clip shows"),
    "z_motion": GroupText("Z\u1d50", "motion", "how it moves")}


class Model(nn.Cell):
    """A generator: `construct(*latents)` returns the fields of Decoded.

    groups: the latent groups. branches: the network of each group. branch_names: names of the branches. channels, size:
    channels and side length (pixels) of an image. frames: frames of a clip, 0 for images. latents_type: tuple type of
    the latents. A model that warps has the groups and branches of the appearance and of the geometry, in this order.
    The sampler updates one group at a time, so it calls the branches and `compose` instead of `construct`.
    """

    groups: tuple[LatentGroup, ...]
    branches: nn.CellList
    branch_names: tuple[str, ...] = ()
    channels: int
    size: int
    frames = 0
    latents_type: type = Latents
    image_channels = "branches.0.stack.last."  # parameter prefix of the layer that outputs the image

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """(C, H, W) of an image, (F, C, H, W) of a clip."""
        return (*[self.frames] * (self.frames > 0), self.channels, self.size, self.size)

    @property
    def warps(self) -> bool:
        """Whether the image is a warped appearance: a branch named geometry generates the displacement."""
        return "geometry" in self.branch_names

    def compose(self, outputs: tuple[Tensor, ...]) -> Tensor:
        """The image (N, C, H, W) of the branches' outputs."""
        raise NotImplementedError

    def names_from(self, frames: int) -> dict[str, str]:
        """Maps a checkpoint of the same config with `frames` frames to this model: {prefix there: prefix here}."""
        return {"": ""}


def state_sizes(model: Model) -> list[int]:
    """Number of dimensions of each group's state: all latents of an image, Z_0 of a clip."""
    return [branch.state_size if model.frames else group.shape[0]
            for group, branch in zip(model.groups, model.branches)]


def samples_per_batch(model: Model) -> int:
    """The number of samples (images or clips) in a batch of about 100 images."""
    return max(IMAGES_PER_BATCH // max(model.frames, 1), 1)


def apply(net: nn.Cell, *inputs: np.ndarray, batch_size: int) -> tuple[np.ndarray, ...]:
    """The outputs of a network (a model, a branch, an encoder) for NumPy arrays (N, ...), as NumPy arrays.

    It is called for batches of `batch_size`; a smaller last batch is padded, because another size would be compiled
    again.
    """
    count, results = len(inputs[0]), []
    for start in range(0, count, batch_size):
        batch = [z[start:start + batch_size] for z in inputs]
        size = len(batch[0])
        if count > batch_size:
            batch = [pad(z, batch_size) for z in batch]
        outputs = net(*[ms.Tensor(np.ascontiguousarray(z)) for z in batch])
        results.append([t.asnumpy()[:size] for t in (outputs if isinstance(outputs, tuple) else (outputs,))])
    return tuple(np.concatenate(output) for output in zip(*results))


def pad(a: np.ndarray, size: int) -> np.ndarray:
    """Appends copies of the first row to `a` until it has `size` rows."""
    return np.concatenate([a, a[:1].repeat(size - len(a), 0)]) if len(a) < size else a


def decode(model: Model, *latents: np.ndarray, batch_size: int | None = None) -> Decoded:
    """Decodes NumPy latents (N, d) of each group to NumPy arrays."""
    return Decoded(*apply(model, *latents, batch_size=batch_size or samples_per_batch(model)))


def checked_latents(model: Model, latents: Sequence[Any]) -> list[np.ndarray]:
    """Latents as float32: an array (N, d) for each group, or one tuple or list of them. Clips may have another number
    of frames than those of the training. Raises UserError for other types and shapes, or values that are not
    finite."""
    if len(latents) == 1 and _holds_groups(latents[0]):
        latents = latents[0]
    groups, arrays = model.groups, [_numbers(z) for z in latents]
    fits = len(arrays) == len(groups) and all(z.ndim == 2 and len(z) == len(arrays[0]) > 0 for z in arrays)
    widths = [z.shape[1] for z in arrays] if fits else []
    if not fits or not (_are_of_equal_clips(model, widths) if model.frames else
                        widths == [group.shape[0] for group in groups]):
        wanted = ", ".join(f"{group.name} (N, {group.shape[0]})" for group in groups)
        several = f" for clips of {model.frames} frames" if model.frames else ""
        raise UserError(f"latents have the shapes {[z.shape for z in arrays]}; this model has {wanted}{several}")
    if not all(np.isfinite(z).all() for z in arrays):
        raise UserError("latents have values that are not finite (NaN or infinite)")
    return arrays


def checked_given(model: Model, given: Any, count: int) -> dict[str, np.ndarray]:
    """Latents (count, *shape), float32, by the names of their groups, from such a dictionary or from latents of every
    group. Raises UserError for unknown names and other types and shapes, and if a group that is not sampled is
    missing."""
    names = [group.name for group in model.groups]
    if not isinstance(given, Mapping):
        if not (isinstance(given, (tuple, list)) and len(given) == len(names)):
            raise UserError(f"given is {type(given).__name__}; it must be latents of {', '.join(names)}, as infer "
                            "returns them, or a dictionary with these names")
        given = dict(zip(names, given))
    if unknown := [str(name) for name in given if name not in names]:
        raise UserError(f"given has {', '.join(unknown)}; the latents of this model are {', '.join(names)}")
    arrays = {name: _numbers(z) for name, z in given.items()}
    for group in model.groups:
        z = arrays.get(group.name)
        if z is None and not group.sampled:
            raise UserError(f"given has no {group.name}, which this model takes as the label of each image")
        if z is not None and (z.shape != (count, *group.shape) or not np.isfinite(z).all()):
            raise UserError(f"given {group.name} has the shape {z.shape}; it must be {(count, *group.shape)}, of "
                            "finite numbers")
    return arrays


def _holds_groups(latents: Any) -> bool:
    """Whether these are the latents of all groups, not of one."""
    return isinstance(latents, tuple) or isinstance(latents, list) and all(getattr(z, "ndim", 0) == 2 for z in latents)


def _numbers(latents: Any) -> np.ndarray:
    """An array of float32. Raises UserError for anything but real numbers."""
    try:
        array = np.asarray(latents)
    except ValueError:  # lists of unequal length
        array = np.array(None)
    if array.dtype.kind not in "fiub":
        raise UserError(f"latents are {type(latents).__name__} of {array.dtype}; they must be an array (N, d) of real "
                        "numbers for each group")
    return array.astype(np.float32, copy=False)


def _are_of_equal_clips(model: Model, widths: Sequence[int]) -> bool:
    """Whether latents with these numbers of dimensions belong to clips with the same number of frames."""
    lengths = {branch.first + (width - branch.state_size) // branch.noise_size
               for branch, width in zip(model.branches, widths) if branch.noise_size}
    length = max(lengths, default=model.frames)
    return length > 0 and all(branch.length(length) == width for branch, width in zip(model.branches, widths))
