"""Distributed training: one process, or as many as torchrun or SLURM started, connected by Lightning Fabric.

All processes do the same steps, each with its part of every batch. Only the main process decides and writes. A single
process imports neither Fabric nor sharded tensors, which take 0.1 GB.
"""

from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from braindiffusion.devices import choose_device, choose_precision
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.models.cascade.unet import ResidualBlock
from braindiffusion.runs import TrainRequest
from braindiffusion.runs.process_rank import ProcessRank

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.strategy import Strategy

PATIENCE = timedelta(hours=1)
"""Longest wait for the main process, which alone prepares volumes and generates samples."""


class Command(IntEnum):
    """A command of the main process to all, before each step."""

    STOP = 0
    STEP = 1
    SAVE = 2
    """Do a step, then write a checkpoint."""


class Distributed:
    """The process group of a training, initialized.

    Args:
        request: device, precision, strategy.

    Raises:
        BrainDiffusionError: the device is not available, or strategy fsdp was asked of one process.
    """

    def __init__(self, request: TrainRequest) -> None:
        process = ProcessRank.current()
        self.rank, self.world = process.rank, process.world
        self.device = choose_device(request.device)
        self.dtype = choose_precision(self.device, request.precision)
        self.replicated = self.world > 1 and request.strategy == "ddp"
        self._fabric = None if self.world == 1 else _connected(process, self.device, request.strategy)
        if self._fabric is not None:
            self.device = self._fabric.device
        elif request.strategy == "fsdp":
            raise BrainDiffusionError("Strategy fsdp shards a model over processes: start several with torchrun.")
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark = True
            torch.set_float32_matmul_precision("high")

    def setup(self, network: nn.Module) -> nn.Module:
        """Return a network on the device, connected with those of the other processes."""
        return network.to(self.device) if self._fabric is None else self._fabric.setup_module(network)

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context in which a network computes in the chosen precision."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients of a loss."""
        if self._fabric is None:
            loss.backward()
        else:
            self._fabric.backward(loss)

    def without_exchange(self, network: Any, *, enabled: bool) -> AbstractContextManager[Any]:
        """Return a context in which gradients stay in this process: those of all but the last part of a batch."""
        return nullcontext() if self._fabric is None else self._fabric.no_backward_sync(network, enabled=enabled)

    @property
    def is_main(self) -> bool:
        """Whether this is the main process, which decides and writes."""
        return self.rank == 0

    def broadcast_command(self, command: Command) -> Command:
        """Return the main process's command."""
        if self.world == 1:
            return command
        number = torch.tensor(int(command), device=self.device)
        torch.distributed.broadcast(number, 0)
        return Command(int(number))

    def broadcast(self, text: str) -> str:
        """Return the main process's text."""
        return text if self._fabric is None else self._fabric.broadcast(text)

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean over all processes."""
        if self._fabric is None:
            return value
        mean = self._fabric.all_reduce(value, reduce_op="mean")
        assert isinstance(mean, Tensor)  # noqa: S101 what goes in comes out
        return mean


def _connected(process: ProcessRank, device: torch.device, strategy: str) -> "Fabric":
    """Return the connection of this process with the others of its launch."""
    from lightning_fabric import Fabric

    fabric = Fabric(
        accelerator=device.type,
        devices=process.world // process.machines,
        num_nodes=process.machines,
        strategy=_strategy(strategy, process.world),
    )
    fabric.launch()
    return fabric


def _strategy(name: str, world: int) -> "Strategy":
    from lightning_fabric.strategies.ddp import DDPStrategy
    from lightning_fabric.strategies.model_parallel import ModelParallelStrategy

    if name == "fsdp":
        return ModelParallelStrategy(_shard, world, 1, timeout=PATIENCE)
    return DDPStrategy(timeout=PATIENCE)


def _shard(level: nn.Module, mesh: Any) -> nn.Module:
    """Shard every block over the processes; a block is gathered while it runs."""
    from torch.distributed.fsdp import fully_shard

    level.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # as fully_shard needs it
    for module in level.modules():
        if isinstance(module, ResidualBlock):
            fully_shard(module, mesh=mesh["data_parallel"])
    fully_shard(level, mesh=mesh["data_parallel"], reshard_after_forward=True)  # validation has no way back
    return level


def full_tensor(tensor: Tensor) -> Tensor:
    """Return a tensor whole, sharded (`DTensor`) or not. All processes must call it."""
    full: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return full


def local_part(tensor: Tensor) -> Tensor:
    """Return this process's part of a tensor, sharded or not; it has the same memory."""
    local: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return local


def gather_full(tensor: Tensor) -> Tensor:
    """Return a tensor whole on the CPU, sharded or not; one that is there keeps its memory.

    All processes must call it.
    """
    return full_tensor(tensor.detach()).cpu()


def shard_like(tensor: Tensor, value: Tensor) -> Tensor:
    """Return a full value, sharded as `tensor` is."""
    value = value.to(tensor.device)
    if not hasattr(tensor, "placements"):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value, tensor.device_mesh, tensor.placements)  # type: ignore[attr-defined]
