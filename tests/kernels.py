"""The kernels that MindSpore's libraries for Ascend and GPU hold, read from the names of their C++ classes.

MindSpore's wheel comes with the libraries of every device, which cannot be loaded without the device's own, but the
names of classes with virtual functions (run-time type information, Itanium mangling) can be read from the files. In
graph mode an operator runs on Ascend by one of

  aclnn   a class <Operator>Ascend, <Operator>AclnnKernelMod or Aclnn<Operator>KernelMod in libmindspore_ops_ascend.so
  acl     the older interface, by an adapter of the operator: a class OpAdapter<cz<Operator>> in
          libmindspore_ascend_res_manager.so
  hccl    a collective: a class Hcom<Operator>Kernel in libmindspore_ops_ascend.so

and on GPU by a kernel class in libmindspore_gpu.so, or as other operators, by which MindSpore's expander replaces it.
"""

from __future__ import annotations

import functools
import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import mindspore as ms

LIBRARIES = Path(ms.__file__).parent / "lib"
PLUGINS = LIBRARIES / "plugin"
ASCEND_KERNELS = PLUGINS / "libmindspore_ops_ascend.so"
ASCEND_ADAPTERS = PLUGINS / "ascend" / "libmindspore_ascend_res_manager.so"
GPU_KERNELS = PLUGINS / "libmindspore_gpu.so.11.6"
EXPANDER = LIBRARIES / "libmindspore_backend_common.so"

# operators whose kernel or adapter has another name
ACLNN_CLASSES = {"BatchMatMul": "BMMAclnnKernelMod", "GridSampler2D": "GridSampler2dAscend",
                 "MatMulExt": "MMExtAclnnKernelMod"}
ACL_ADAPTERS = {"Adam": "ApplyAdam", "Gather": "GatherV2", "Stack": "Pack", "Unstack": "Unpack",
                "AdamWeightDecay": "AdamApplyOneWithDecayAssign"}  # by MindSpore's pass AdamWeightDecayUnifyMindIR
COLLECTIVES = ("AllReduce",)
GPU_CLASSES = {
    **dict.fromkeys(("Add", "Div", "Greater", "Less", "LogicalAnd", "Maximum", "Minimum", "Mul", "RealDiv", "Sub"),
                    "BroadcastOptGpuKernelMod"),
    **dict.fromkeys(("Abs", "Exp", "Floor", "Neg", "Sign", "Sqrt", "Square"), "ElementwiseOpsGpuKernel"),
    **dict.fromkeys(("ReduceMean", "ReduceSum"), "ArrayReduceGpuKernelMod"),
    **dict.fromkeys(("ReLU", "Sigmoid", "Tanh"), "ActivationFwdGpuKernelMod"),
    **dict.fromkeys(("SigmoidGrad", "TanhGrad"), "ActivationGradGpuKernelMod"),
    "BatchMatMul": "MatMulGpuKernelMod", "LogSoftmax": "SoftmaxGpuKernelMod",
    "AddN": "AddNFwdGpuKernelMod", "AllReduce": "NcclCollectiveGpuKernel", "AssignAdd": "AssignAddFwdGpuKernelMod",
    "Conv2D": "Conv2dFwdGpuKernelMod", "Conv2DBackpropFilter": "Conv2dFilterGradGpuKernelMod",
    "Conv2DBackpropInput": "Conv2dInputGradGpuKernelMod", "Conv2DTranspose": "Conv2dInputGradGpuKernelMod",
    "GridSampler2DGrad": "GridSampler2DGradKernelMod", "ReluGrad": "ReLUGradGpuKernelMod",
    "Reshape": "MemcpyGpuKernelMod", "Stack": "PackFwdGpuKernelMod", "Unstack": "UnpackFwdGpuKernelMod"}
GPU_EXPANDED = ("MatMulExt", "Muls", "PowTensorScalar", "SumExt", "ZerosLikeExt")


class Kernel(NamedTuple):
    """How an operator runs on a device: by which interface, and by which class or adapter."""

    interface: str
    name: str


def on_ascend(operator: str) -> Kernel | None:
    """The kernel of an operator on Ascend; None if the libraries hold none."""
    kernels = classes(ASCEND_KERNELS)
    for name in (ACLNN_CLASSES.get(operator, f"{operator}Ascend"), f"{operator}AscendCall",
                 f"{operator}AclnnKernelMod", f"Aclnn{operator}KernelMod"):
        if name in kernels:
            return Kernel("aclnn", name)
    adapter = ACL_ADAPTERS.get(operator, operator)
    if adapter in adapters():
        return Kernel("acl", adapter)
    collective = f"Hcom{operator}Kernel"
    return Kernel("hccl", collective) if operator in COLLECTIVES and collective in kernels else None


def on_gpu(operator: str) -> Kernel | None:
    """The kernel of an operator on GPU; None if the libraries hold none."""
    name = GPU_CLASSES.get(operator, f"{operator}GpuKernelMod")
    if name in classes(GPU_KERNELS) and _names(GPU_KERNELS, operator):
        return Kernel("kernel", name)
    if operator in GPU_EXPANDED and _names(EXPANDER, operator):
        return Kernel("expanded", operator)
    return None


@functools.cache
def classes(library: Path) -> frozenset[str]:
    """Names of the classes in mindspore::kernel and namespaces in it, except pyboost, whose kernels are for PyNative
    mode."""
    names = set()
    with open(library, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for match in re.finditer(rb"N9mindspore6kernel(?=\d)", content):
            path = list(_components(content, match.end()))
            if path and path[0] != "pyboost":
                names.add(path[-1])
    return frozenset(names)


@functools.cache
def adapters() -> frozenset[str]:
    """Names of the operators of the older interface for which MindSpore has an adapter."""
    with open(ASCEND_ADAPTERS, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        names = {next(_components(content, match.end())) for match in re.finditer(rb"OpAdapterINS\d_(?=\d)", content)}
    return frozenset(name.removeprefix("cz") for name in names)


def _components(content: mmap.mmap, start: int) -> Iterator[str]:
    """The names of a mangled nested name: each is preceded by its length in decimal."""
    while match := re.compile(rb"\d{1,3}").match(content, start):
        end = match.end() + int(match.group())
        yield content[match.end():end].decode("latin-1")
        start = end


def _names(library: Path, operator: str) -> bool:
    """Whether a library holds the name of an operator as text, by which kernels are registered."""
    with open(library, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(operator.encode() + b"\0") >= 0
