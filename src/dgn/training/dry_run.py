"""Size, memory and steps of a training, without running it (`dgn train --dry-run`)."""

from __future__ import annotations

from dgn import recipe
from dgn.config import Config
from dgn.nets.layers import parameter_count
from dgn.nets.model import Model
from dgn.nets.stack import stacks
from dgn.training.adversarial import NETWORKS
from dgn.training.batches import batch_size
from dgn.training.trainer import Trainer

MEBIBYTE = 2 ** 20
FLOAT = 4  # bytes


def activations(model: Model) -> int:
    """Number of values that one sample's forward pass keeps: outputs of every layer of the generators and the warp."""
    layers = sum(channels * side ** 2 for stack in stacks(model) for channels, side in stack.architecture.maps)
    return max(model.frames, 1) * (layers + 2 * model.channels * model.size ** 2)


def step_values(config: Config, trainer: Trainer) -> int:
    """Number of values that an update keeps for each sample: in the worst case every activation and its gradient.

    The critic's step scores two images, and R1 keeps the backward pass of the real image for the second derivative. The
    actor's step decodes a prior sample in addition to the reconstruction, and runs the critic on it.
    """
    generators = activations(trainer.model)
    critics = [trainer.networks[name] for name in NETWORKS if name in trainer.networks]
    if not critics:
        return 2 * generators
    critic = sum(critic.activations for critic in critics)
    return 2 * max((3 if config.training.r1_weight > 0 else 2) * critic, 2 * generators + critic)


def describe(config: Config, trainer: Trainer, count: int, device: str) -> str:
    """The complete config, parameter counts, memory and steps as text."""
    model = trainer.model
    batch = batch_size(config.training, count)
    batches = -(-count // batch)
    others = [(key, cell) for key, cell in trainer.networks.items() if key != "weights"]
    rest = [(name, cell) for name, cell in model.name_cells().items() if name != "branches" and parameter_count(cell)]
    counts = {name: parameter_count(part)
              for name, part in [*zip(model.branch_names, model.branches), *rest, *others]}
    weights = ", ".join(f"{name} {number:,}" for name, number in counts.items() if number)
    inference = (f"{config.inference.steps} Langevin steps" if config.training.method == "abp"
                 else "a pass through the encoder")
    latents = sum(group.shape[0] for group in model.groups)
    updates = "a step of Adam for the critic and one for the generators" if "critic" in counts else "one step of Adam"
    step = FLOAT * batch // config.training.micro_batches * step_values(config, trainer) / MEBIBYTE
    state = 4 * FLOAT * sum(counts.values()) / MEBIBYTE  # weights, gradients, and Adam's two moments
    chains = FLOAT * count * latents / MEBIBYTE
    saved = chains + state  # optimizer.ckpt repeats the weights
    checkpoints = config.training.checkpoints_kept + 1  # an old one is removed when the new one is complete
    frames = config.data.frames
    samples = f"{count} of {model.channels}x{model.size}x{model.size}, {batches} batches of {batch} an epoch"
    lines = {
        "device": device, **({"clips": f"of {frames} frames", "samples": samples} if frames else {"images": samples}),
        "parameters": f"{sum(counts.values()):,} ({weights})",
        "steps": f"{config.training.epochs * batches:,} iterations, each {inference} and {updates}",
        "memory": f"about {step:.0f} MiB activations, {state:.0f} MiB weights and Adam, besides MindSpore's own (about "
                  "700 MiB)",
        "disk": f"{chains + checkpoints * saved:.1f} MiB: {chains:.1f} MiB chains, and up to {checkpoints} checkpoints "
                f"of {saved:.1f} MiB"}
    return "\n".join([recipe.dump(config), *(f"{name:12} {text}" for name, text in lines.items())])
