"""Optimizers of a network, their learning rate, and their state by parameter name.

Muon (Jordan et al. 2024) orthogonalises the update of every weight matrix. `torch.optim.Muon` takes two dimensions and
whole tensors only; this one takes convolutions and sharded weights too.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.utils import clip_grad_norm_

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.training.distributed import gather_full, shard_like

COEFFICIENTS, ITERATIONS, MOMENTUM = (3.4445, -4.7750, 2.0315), 5, 0.95
"""Newton-Schulz iteration and Nesterov momentum of the reference implementation and of `torch.optim.Muon`."""
SMALLEST_SIDE = 16
"""Rows and columns below which a weight matrix is left to AdamW."""
ADAMW_ONLY = ("stem", "head", "place")
"""Modules at the ends of a network, whose weights are left to AdamW."""


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum and decoupled weight decay; the update has the size of AdamW's (Liu et al. 2025).

    Args:
        parameters: weights of two dimensions or more; all but the first are one.
        lr: learning rate.
        weight_decay: share of a weight that is taken away, times the learning rate.
        dtype: precision of the iterations; bfloat16 where the hardware multiplies it.
    """

    def __init__(
        self, parameters: Sequence[Tensor], lr: float, weight_decay: float, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update every weight that has a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(weight)
                momentum = state["momentum_buffer"].lerp_(weight.grad, 1 - MOMENTUM)
                update = weight.grad.lerp(momentum, MOMENTUM)
                full = update.full_tensor() if isinstance(update, DTensor) else update
                matrix = orthogonalize(full.flatten(1).to(self.dtype))
                rate = group["lr"] * 0.2 * math.sqrt(max(matrix.shape))
                change = shard_like(weight, matrix.to(full.dtype).reshape(full.shape))
                weight.mul_(1 - group["lr"] * group["weight_decay"]).add_(change, alpha=-rate)


def orthogonalize(matrix: Tensor) -> Tensor:
    """Return about U V^T of a matrix U S V^T, by Newton-Schulz iterations (rows, columns)."""
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


def muon_weights(network: nn.Module) -> dict[str, Tensor]:
    """Return the weights of a network that Muon updates, by name.

    These are the matrices within linear layers and convolutions. Embeddings, biases, the layers at both ends and what
    has a side below `SMALLEST_SIDE` are AdamW's.
    """
    found = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear | nn.Conv3d) and name.rpartition(".")[2] not in ADAMW_ONLY:
            rows = module.weight.shape[0]
            if min(rows, module.weight.numel() // rows) >= SMALLEST_SIDE:
                found[f"{name}.weight"] = module.weight
    return found


def make_optimizers(
    network: nn.Module,
    *,
    learning_rate: float,
    weight_decay: float,
    muon_learning_rate: float | None = None,
    dtype: torch.dtype = torch.float32,
) -> list[torch.optim.Optimizer]:
    """Return AdamW for all of a network, or Muon for its matrices and AdamW for the rest.

    Args:
        network: on its device, and sharded where it will be.
        learning_rate: of AdamW.
        weight_decay: of both.
        muon_learning_rate: of Muon; None for AdamW alone.
        dtype: precision of Muon's iterations.
    """
    matrices = {} if muon_learning_rate is None else muon_weights(network)
    rest = [p for name, p in network.named_parameters() if name not in matrices]
    fused = rest[0].device.type == "cuda"
    found: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(rest, lr=learning_rate, weight_decay=weight_decay, fused=fused)
    ]
    if matrices and muon_learning_rate is not None:
        found.append(Muon(list(matrices.values()), muon_learning_rate, weight_decay, dtype))
    for optimizer in found:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return found


def scale_learning_rates(optimizers: Sequence[torch.optim.Optimizer], scale: float) -> None:
    """Set every learning rate to a share of what it was made with."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * scale


class NotFiniteError(BrainDiffusionError):
    """A loss or a gradient is no number or infinite; the weights are those before the step."""


def clip_gradients(network: nn.Module, max_norm: float, stage: str, step: int) -> None:
    """Scale the gradients of a network down to a length, and stop where they are not finite.

    Args:
        network: after the backward pass; of all processes.
        max_norm: the length.
        stage: what is trained, for the message.
        step: the step, from 1.

    Raises:
        NotFiniteError: a gradient is not finite, which it is where the loss is not. No weight was changed.
    """
    norm = gather_full(clip_grad_norm_(network.parameters(), max_norm))
    if not norm.isfinite():
        raise NotFiniteError(f"The loss or the gradient of {stage} is not finite at step {step}.")


def optimizer_tensors(network: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """Return the state of the optimizers on the CPU: `<kind>.<parameter>`. All processes must call it."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in network.named_parameters()}
    return {
        f"{kind}.{names[parameter]}": gather_full(value)
        for optimizer in optimizers
        for parameter, state in optimizer.state.items()
        for kind, value in state.items()
    }


def load_optimizer_tensors(
    network: nn.Module, optimizers: Sequence[torch.optim.Optimizer], tensors: Mapping[str, Tensor]
) -> None:
    """Continue from `optimizer_tensors`, after at least one step.

    Args:
        network: whose parameters the optimizers update.
        optimizers: as they were made.
        tensors: the state; others may be among it.
    """
    names: dict[Tensor, str] = {parameter: name for name, parameter in network.named_parameters()}
    for optimizer in optimizers:
        kinds = ("momentum_buffer",) if isinstance(optimizer, Muon) else ("exp_avg", "exp_avg_sq")
        state = optimizer.state_dict()
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        state["state"] = {
            i: {kind: shard_like(p, tensors[f"{kind}.{names[p]}"]) for kind in kinds} for i, p in enumerate(parameters)
        }
        if not isinstance(optimizer, Muon):
            for i, p in enumerate(parameters):
                state["state"][i]["step"] = tensors[f"step.{names[p]}"]
        optimizer.load_state_dict(state)
