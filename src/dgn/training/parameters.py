"""Files of parameters (.ckpt), in which a parameter's name is its path in the Cell."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import mindspore as ms
import numpy as np
from google.protobuf.message import DecodeError
from mindspore import nn
from mindspore.train.checkpoint_pb2 import Checkpoint

from dgn import device
from dgn.errors import UserError, first_line
from dgn.files import apply_umask


class Conversion(NamedTuple):
    """How parameters of one model become initial parameters of another.

    prefixes: {prefix in the checkpoint: prefix in the Cell}; parameters without such a prefix keep their values.
    image_channels: prefix of the layer that outputs the image's channels, where the weights of a greyscale model are
        repeated for a colour model (5.2: greyscale expressions to colour faces); empty: never.
    """

    prefixes: Mapping[str, str] = {"": ""}
    image_channels: str = ""


def save(path: Path, cell: nn.Cell, half: bool = False) -> None:
    """Writes the parameters of a Cell to a .ckpt file. half: whether to store float16."""
    parameters = [{"name": name, "data": ms.Tensor(p.asnumpy().astype(np.float16)) if half else p}
                  for name, p in _by_path(cell).items()]
    with device.silenced():  # the exception has the reason; its log repeats it over several lines
        ms.save_checkpoint(parameters, str(path))
    apply_umask(path)


def load(folder: Path, cells: Mapping[str, nn.Cell], conversion: Conversion = Conversion()) -> None:
    """Loads `cells`, by file name, from a checkpoint or another folder. Call this before their first compiled call,
    which may not see later changes.

    Raises UserError if the parameters belong to another model.
    """
    for name, cell in cells.items():
        _load_parameters(folder / f"{name}.ckpt", cell, conversion)


def _load_parameters(path: Path, cell: nn.Cell, conversion: Conversion) -> None:
    if not path.parent.is_dir():
        raise UserError(f"{path.parent} is no longer there: a training that is running has replaced it by a newer "
                        "checkpoint; run the command again")
    if not path.is_file():
        raise UserError(f"{path.parent} holds no {path.name}: it belongs to another training method, or to a packaged "
                        "model, which has no optimizer and cannot be resumed")
    try:
        _check_sizes(path)
        loaded = ms.load_checkpoint(str(path))
    except (DecodeError, ValueError, RuntimeError, OSError) as error:  # others are faults of a program, not of the file
        raise UserError(f"{path} is damaged, or no checkpoint of MindSpore ({first_line(error)}); restore it") from None
    prefixes = conversion.prefixes
    stored = {here + name[len(there):]: p for name, p in loaded.items()
              for there, here in prefixes.items() if name.startswith(there)}
    wanted = {name: p for name, p in _by_path(cell).items() if name.startswith(tuple(prefixes.values()))}
    if isinstance(cell, nn.Optimizer) and set(stored) != set(wanted) and len(stored) == len(wanted):
        # MindSpore names moments after the Cells that held the weights: the names differ between versions, but not
        # their order
        stored = dict(zip(wanted, stored.values()))
    extra = [name for name in stored if name not in wanted]
    if extra:
        raise UserError(f"{path} belongs to another model: it holds {extra[0]}, which this config does not have")
    for name, parameter in wanted.items():
        if name not in stored:
            raise UserError(f"{path} belongs to another model: {name} {tuple(parameter.shape)} is missing")
        values, shape = stored[name].asnumpy(), tuple(parameter.shape)
        if conversion.image_channels and name.startswith(conversion.image_channels):
            values = _grey_to_colour(values, shape)
        if values.size != parameter.size or (values.shape != shape and shape):  # a scalar is stored with one dimension
            raise UserError(f"{path} belongs to another model: {name} has shape {tuple(stored[name].shape)} there, not "
                            f"{shape}")
        parameter.set_data(ms.Tensor(np.ascontiguousarray(values).reshape(shape), parameter.dtype))


def _grey_to_colour(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Weights of one channel repeated along each axis that has three channels in `shape`."""
    for axis, sizes in enumerate(zip(values.shape, shape)):
        if sizes == (1, 3):
            values = values.repeat(3, axis)
    return values


def _check_sizes(path: Path) -> None:
    """Raises ValueError if a parameter in a .ckpt file has more or fewer bytes than its shape: MindSpore would write
    beyond the end of its memory. Other exceptions are raised for a damaged file."""
    for name, parts in itertools.groupby(Checkpoint.FromString(path.read_bytes()).value, lambda part: part.tag):
        tensors = [part.tensor for part in parts]  # several of a large parameter
        shape = [1] if tensors[-1].dims == [0] else tensors[-1].dims  # [0]: a scalar
        try:
            itemsize = np.dtype(tensors[-1].tensor_type.lower()).itemsize
        except TypeError as error:
            raise ValueError(f"{name}: {error}") from None
        wanted = math.prod(shape) * itemsize
        size = sum(len(tensor.tensor_content) for tensor in tensors)
        if min(shape, default=0) < 0 or size != wanted:
            raise ValueError(f"{name} has {size} bytes, but its shape {list(shape)} needs {wanted}")


def _by_path(cell: nn.Cell) -> dict[str, ms.Parameter]:
    """Parameters by their path in the Cell: Parameter.name depends on the Cells that hold it."""
    return dict(cell.parameters_and_names())
