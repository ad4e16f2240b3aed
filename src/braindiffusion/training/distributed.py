"""The processes that train together: one, or as many as torchrun or SLURM started. Fabric does the work.

All do the same steps, each with its share of every batch. The first alone decides, tells and writes.
"""

from datetime import timedelta
from enum import IntEnum
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from lightning_fabric.strategies.strategy import Strategy
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from braindiffusion.devices import choose_device, choose_precision
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.models.cascade.unet import ResidualBlock
from braindiffusion.runs import TrainRequest
from braindiffusion.runs.process_rank import Launch

PATIENCE = timedelta(hours=1)
"""How long processes wait for the first, which alone prepares volumes and makes samples."""


class Command(IntEnum):
    """What the first process tells all, before each step."""

    STOP = 0
    GO = 1
    KEEP = 2
    """Go, and keep a checkpoint after the step."""


class Distributed:
    """This process and its fellows, met and ready.

    Args:
        request: device, precision, strategy.

    Raises:
        BrainDiffusionError: the device is not there, or there is nothing to share a model out over.
    """

    def __init__(self, request: TrainRequest) -> None:
        launch = Launch.of_this_process()
        self.rank, self.world = launch.rank, launch.world
        device = choose_device(request.device)
        dtype = choose_precision(device, request.precision)
        if request.strategy == "fsdp" and self.world == 1:
            raise BrainDiffusionError("Strategy fsdp shares a model out over processes: start them with torchrun.")
        self.fabric = Fabric(
            accelerator=device.type,
            devices=self.world // launch.machines,
            num_nodes=launch.machines,
            strategy=_strategy(request.strategy, self.world) if self.world > 1 else "auto",
            precision="bf16-mixed" if dtype == torch.bfloat16 else "32-true",
            plugins=[] if self.world > 1 else LightningEnvironment(),  # a job of SLURM's may be one process
        )
        self.fabric.launch()
        if device.type == "cuda":
            torch.backends.cudnn.benchmark = True
            torch.set_float32_matmul_precision("high")

    @property
    def is_main(self) -> bool:
        """Whether this process decides, tells and writes."""
        return self.rank == 0

    def broadcast_command(self, order: Command) -> Command:
        """The first process's order."""
        if self.world == 1:
            return order
        said = torch.tensor(int(order), device=self.fabric.device)
        torch.distributed.broadcast(said, 0)
        return Command(int(said))

    def broadcast(self, text: str) -> str:
        """The first process's text."""
        said: str = self.fabric.broadcast(text)
        return said

    def mean(self, value: Tensor) -> Tensor:
        """The mean over all processes."""
        if self.world == 1:
            return value
        mean = self.fabric.all_reduce(value, reduce_op="mean")
        assert isinstance(mean, Tensor)  # noqa: S101 what goes in comes out
        return mean


def _strategy(name: str, world: int) -> Strategy:
    if name == "fsdp":
        return ModelParallelStrategy(_shard, world, 1, timeout=PATIENCE)
    return DDPStrategy(timeout=PATIENCE)


def _shard(level: nn.Module, mesh: Any) -> nn.Module:
    """Each process keeps its part of every block, and borrows the rest while the block works."""
    level.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # as fully_shard needs it
    for module in level.modules():
        if isinstance(module, ResidualBlock):
            fully_shard(module, mesh=mesh["data_parallel"])
    fully_shard(level, mesh=mesh["data_parallel"], reshard_after_forward=True)  # validation has no way back
    return level


def gather_full(tensor: Tensor) -> Tensor:
    """A copy, on the CPU, of a tensor that may be shared out; all processes must ask."""
    tensor = tensor.detach()
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).to("cpu", copy=True)


def shard_like(tensor: Tensor, value: Tensor) -> Tensor:
    """A whole value, shared out as `tensor` is."""
    value = value.to(tensor.device)
    return distribute_tensor(value, tensor.device_mesh, tensor.placements) if isinstance(tensor, DTensor) else value
