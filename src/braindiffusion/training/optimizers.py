"""Optimizers of a network, their learning rate, and their state by parameter name.

Muon (Jordan et al. 2024) orthogonalises the update of every weight matrix. `torch.optim.Muon` takes two dimensions and
whole tensors only; this one takes convolutions and sharded weights too.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim.adamw import adamw

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.training.distributed import full_tensor, gather_full, local_part, shard_like

COEFFICIENTS, ITERATIONS, MOMENTUM = (3.4445, -4.7750, 2.0315), 5, 0.95
"""Newton-Schulz iteration and Nesterov momentum of the reference implementation and of `torch.optim.Muon`."""
SMALLEST_SIDE = 16
"""Rows and columns below which a weight matrix is left to AdamW."""
ADAMW_ONLY = ("stem", "head", "place")
"""Modules at the ends of a network, whose weights are left to AdamW."""


class Optimizer:
    """An optimizer of some parameters. Those of `torch.optim` import PyTorch's compiler: 1.5 s, and 0.07 GB.

    Args:
        parameters: what is optimized.
        learning_rate: the highest.
        weight_decay: share of a weight that is taken away, times the learning rate.

    Attributes:
        learning_rate: of the next step.
        state: tensors of each parameter that has had a step.
    """

    kinds: ClassVar[tuple[str, ...]]
    """Names of the tensors that the state of a parameter has, shaped as it is."""

    def __init__(self, parameters: Sequence[Tensor], learning_rate: float, weight_decay: float) -> None:
        self.parameters, self.weight_decay = list(parameters), weight_decay
        self.highest_rate = self.learning_rate = learning_rate
        self.state: dict[Tensor, dict[str, Tensor]] = {}

    def zero_grad(self) -> None:
        """Free the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        raise NotImplementedError

    def _with_gradients(self) -> Iterator[tuple[Tensor, Tensor, dict[str, Tensor]]]:
        """Yield each parameter that has a gradient, its gradient and its state."""
        for parameter in self.parameters:
            if parameter.grad is not None:
                if parameter not in self.state:
                    self.state[parameter] = {kind: torch.zeros_like(parameter.detach()) for kind in self.kinds}
                yield parameter, parameter.grad, self.state[parameter]


class AdamW(Optimizer):
    """AdamW (Loshchilov and Hutter 2019), by PyTorch's function and fused kernel."""

    kinds = ("exp_avg", "exp_avg_sq")

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter that has a gradient."""
        parts: tuple[list[Tensor], ...] = ([], [], [], [])
        steps = []
        for parameter, gradient, state in self._with_gradients():
            steps.append(state.setdefault("step", torch.zeros((), device=parameter.device)))
            if gradient.stride() != parameter.stride():  # the kernel goes through memory
                gradient = torch.empty_like(parameter).copy_(gradient)
            for part, tensor in zip(parts, (parameter, gradient, *(state[kind] for kind in self.kinds)), strict=True):
                part.append(local_part(tensor))
        parameters, gradients, *moments = parts
        adamw(
            parameters,
            gradients,
            moments[0],
            moments[1],
            max_exp_avg_sqs=[],
            state_steps=steps,
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=self.learning_rate,
            weight_decay=self.weight_decay,
            eps=1e-8,
            maximize=False,
        )


class Muon(Optimizer):
    """Muon with Nesterov momentum and decoupled weight decay; the update has the size of AdamW's (Liu et al. 2025).

    Args:
        parameters: weights of two dimensions or more; all but the first are one.
        learning_rate: the highest.
        weight_decay: share of a weight that is taken away, times the learning rate.
        dtype: precision of the iterations; bfloat16 where the hardware multiplies it.
        replicated: whether several processes have the same weights and gradients. Each then orthogonalises a part of
            the updates, and all receive them.
    """

    kinds = ("momentum_buffer",)

    def __init__(
        self,
        parameters: Sequence[Tensor],
        learning_rate: float,
        weight_decay: float,
        dtype: torch.dtype = torch.float32,
        *,
        replicated: bool = False,
    ) -> None:
        super().__init__(parameters, learning_rate, weight_decay)
        self.dtype, self.replicated = dtype, replicated

    @torch.no_grad()
    def step(self) -> None:
        """Update every weight that has a gradient."""
        updates = ((weight, self._update(gradient, state)) for weight, gradient, state in self._with_gradients())
        orthogonal = self._by_all_processes(updates) if self.replicated else self._by_this_process(updates)
        for weight, matrix in orthogonal:
            rate = self.learning_rate * 0.2 * math.sqrt(max(matrix.shape))
            change = shard_like(weight, matrix.to(weight.dtype).reshape(weight.shape))
            weight.mul_(1 - self.learning_rate * self.weight_decay).add_(change, alpha=-rate)

    def _update(self, gradient: Tensor, state: dict[str, Tensor]) -> Tensor:
        """Return Nesterov's update of a weight as a matrix."""
        momentum = state["momentum_buffer"].lerp_(gradient, 1 - MOMENTUM)
        return full_tensor(gradient.lerp(momentum, MOMENTUM)).flatten(1).to(self.dtype)

    @staticmethod
    def _by_this_process(updates: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
        for weight, update in updates:
            yield weight, orthogonalize(update)

    @staticmethod
    def _by_all_processes(updates: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield each weight with its orthogonalised update, which one of the processes made and sent to the others."""
        rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
        parts: list[list[tuple[Tensor, Tensor]]] = [[] for _ in range(world)]
        operations = [0] * world
        for weight, update in updates:
            owner = operations.index(min(operations))
            operations[owner] += min(update.shape) * update.numel()
            parts[owner].append((weight, update))
        received = []
        for owner, part in enumerate(parts):
            if part:
                matrices = [(orthogonalize(update) if owner == rank else update).flatten() for _, update in part]
                flat = torch.cat(matrices)
                received.append((part, flat, torch.distributed.broadcast(flat, owner, async_op=True)))
        for part, flat, sent in received:
            sent.wait()
            for (weight, update), matrix in zip(part, flat.split([one.numel() for _, one in part]), strict=True):
                yield weight, matrix.view(update.shape)


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
    replicated: bool = False,
) -> list[Optimizer]:
    """Return AdamW for all of a network, or Muon for its matrices and AdamW for the rest.

    Args:
        network: on its device, and sharded where it will be.
        learning_rate: of AdamW.
        weight_decay: of both.
        muon_learning_rate: of Muon; None for AdamW alone.
        dtype: precision of Muon's iterations.
        replicated: whether several processes have the same network and gradients.
    """
    matrices = {} if muon_learning_rate is None else muon_weights(network)
    rest = [p for name, p in network.named_parameters() if name not in matrices]
    found: list[Optimizer] = [AdamW(rest, learning_rate, weight_decay)]
    if matrices and muon_learning_rate is not None:
        weights = list(matrices.values())
        found.append(Muon(weights, muon_learning_rate, weight_decay, dtype, replicated=replicated))
    return found


def scale_learning_rates(optimizers: Sequence[Optimizer], scale: float) -> None:
    """Set every learning rate to a share of what it was made with."""
    for optimizer in optimizers:
        optimizer.learning_rate = optimizer.highest_rate * scale


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


def optimizer_tensors(network: nn.Module, optimizers: Sequence[Optimizer]) -> dict[str, Tensor]:
    """Return the state of the optimizers on the CPU: `<kind>.<parameter>`. All processes must call it."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in network.named_parameters()}
    return {
        f"{kind}.{names[parameter]}": gather_full(value)
        for optimizer in optimizers
        for parameter, state in optimizer.state.items()
        for kind, value in state.items()
    }


def load_optimizer_tensors(network: nn.Module, optimizers: Sequence[Optimizer], tensors: Mapping[str, Tensor]) -> None:
    """Continue from `optimizer_tensors`, after at least one step.

    Args:
        network: whose parameters the optimizers update.
        optimizers: as they were made.
        tensors: the state; others may be among it.
    """
    names: dict[Tensor, str] = {parameter: name for name, parameter in network.named_parameters()}
    for optimizer in optimizers:
        for p in optimizer.parameters:
            state = {kind: shard_like(p, tensors[f"{kind}.{names[p]}"]) for kind in optimizer.kinds}
            optimizer.state[p] = {kind: torch.zeros_like(p.detach()).copy_(value) for kind, value in state.items()}
            if isinstance(optimizer, AdamW):
                optimizer.state[p]["step"] = tensors[f"step.{names[p]}"].to(p.device, copy=True)
