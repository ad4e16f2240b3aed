"""Arithmetic operations of a training step, and how many a device reaches at best."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from time import perf_counter

import torch
from torch import Tensor, nn

SIDES = {"cpu": 1024, "cuda": 8192, "mps": 4096}
"""Side of the square matrices whose product is timed: large enough for the full speed of the device."""
TRIES = 5
FORWARD_AND_BACKWARD = 3
"""Operations of a step over those of its forward pass: the gradients of inputs and weights take as many each."""


class Operations:
    """A count of floating-point operations."""

    total = 0


@contextmanager
def counted_operations(network: nn.Module) -> Iterator[Operations]:
    """Count the operations of convolutions and linear layers in the forward passes of a network.

    Norms, activations and the products of attention are left out: few percent.
    """
    count = Operations()

    def add(layer: nn.Conv3d | nn.Linear, _: object, out: Tensor) -> None:
        # Weights of one output: input channels of its group times the kernel. Not `weight[0]`: weights may be sharded.
        weights = layer.weight.numel() // layer.weight.shape[0]
        count.total += 2 * weights * out.numel()

    layers = [one for one in network.modules() if isinstance(one, nn.Conv3d | nn.Linear)]
    hooks = [one.register_forward_hook(add) for one in layers]
    try:
        yield count
    finally:
        for hook in hooks:
            hook.remove()


@cache
def best_throughput(device: torch.device, dtype: torch.dtype) -> float:
    """Return the floating-point operations a second that a device reaches in the product of two large matrices."""
    side = SIDES.get(device.type, 1024)
    a = torch.ones(side, side, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(TRIES):
        begun = perf_counter()
        float((a @ a)[0, 0])  # reading a number waits for the device
        best = min(best, perf_counter() - begun)
    return 2 * side**3 / best
