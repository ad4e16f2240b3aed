"""Distributed training with Lightning Fabric: one process, or as many as torchrun or SLURM started.

All processes do the same steps, each with its part of every batch. Only the main process decides and writes.
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
from braindiffusion.runs.process_rank import ProcessRank

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
        device = choose_device(request.device)
        self.dtype = choose_precision(device, request.precision)
        if request.strategy == "fsdp" and self.world == 1:
            raise BrainDiffusionError("Strategy fsdp shards a model over processes: start several with torchrun.")
        self.fabric = Fabric(
            accelerator=device.type,
            devices=self.world // process.machines,
            num_nodes=process.machines,
            strategy=_strategy(request.strategy, self.world) if self.world > 1 else "auto",
            precision="bf16-mixed" if self.dtype == torch.bfloat16 else "32-true",
            plugins=[] if self.world > 1 else LightningEnvironment(),  # a job of SLURM's may be one process
        )
        self.fabric.launch()
        if device.type == "cuda":
            torch.backends.cudnn.benchmark = True
            torch.set_float32_matmul_precision("high")

    @property
    def is_main(self) -> bool:
        """Whether this is the main process, which decides and writes."""
        return self.rank == 0

    def broadcast_command(self, command: Command) -> Command:
        """Return the main process's command."""
        if self.world == 1:
            return command
        number = torch.tensor(int(command), device=self.fabric.device)
        torch.distributed.broadcast(number, 0)
        return Command(int(number))

    def broadcast(self, text: str) -> str:
        """Return the main process's text."""
        main: str = self.fabric.broadcast(text)
        return main

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean over all processes."""
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
    """Shard every block over the processes; a block is gathered while it runs."""
    level.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # as fully_shard needs it
    for module in level.modules():
        if isinstance(module, ResidualBlock):
            fully_shard(module, mesh=mesh["data_parallel"])
    fully_shard(level, mesh=mesh["data_parallel"], reshard_after_forward=True)  # validation has no way back
    return level


def gather_full(tensor: Tensor) -> Tensor:
    """Return a full copy of a tensor on the CPU, sharded or not. All processes must call it."""
    tensor = tensor.detach()
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).to("cpu", copy=True)


def shard_like(tensor: Tensor, value: Tensor) -> Tensor:
    """Return a full value, sharded as `tensor` is."""
    value = value.to(tensor.device)
    return distribute_tensor(value, tensor.device_mesh, tensor.placements) if isinstance(tensor, DTensor) else value
