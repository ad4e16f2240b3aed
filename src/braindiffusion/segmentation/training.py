"""Training of the segmentation network: a generator of steps."""

import math
import time
from collections.abc import Iterator

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from braindiffusion.segmentation.examples import Example, Examples
from braindiffusion.segmentation.loss import segmentation_loss
from braindiffusion.segmentation.network import SegmentationNet
from braindiffusion.training.ema import PowerEma
from braindiffusion.training.optimizers import (
    clip_gradients,
    load_optimizer_tensors,
    make_optimizers,
    optimizer_tensors,
    scale_learning_rates,
)
from braindiffusion.training.trainer import StepDone, seeded

WARMUP, MAX_NORM = 50, 1.0


class SegmentationTrainer:
    """The trainer of the segmentation network: weights, optimizer, average of the weights, step.

    Args:
        fabric: device and precision.
        net: the network.
        steps: length of the training, over which the learning rate falls to zero as a cosine.
        batch_size: windows of a step.
        learning_rate: highest learning rate, of AdamW.
        muon_learning_rate: highest learning rate of Muon, for the matrices; None for AdamW alone.
        seed: seed of every random draw.
    """

    def __init__(
        self,
        fabric: Fabric,
        net: SegmentationNet,
        *,
        steps: int,
        batch_size: int,
        learning_rate: float,
        muon_learning_rate: float | None,
        seed: int,
    ) -> None:
        self.fabric, self.net, self.steps, self.seed = fabric, net, steps, seed
        self.batch_size, self.highest_rate = batch_size, learning_rate
        net.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.ema = PowerEma(net)
        module = fabric.setup_module(net)
        self.optimizers = make_optimizers(
            net, learning_rate=learning_rate, weight_decay=1e-2, muon_learning_rate=muon_learning_rate
        )
        self.module: nn.Module = module
        module.mark_forward_method("trunk")
        module.mark_forward_method("classify")
        self.step = 0

    def rate_scale(self, step: int) -> float:
        """Return the learning rate of a step as a share of the highest: linear warm-up, then half a cosine."""
        warm = min(1.0, step / WARMUP)
        return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.steps)))

    def run(self, examples: Examples) -> Iterator[StepDone]:
        """Train to the last step; closing the generator stops after a whole step."""
        self.module.train()
        while self.step < self.steps:
            start = time.perf_counter()
            step = self.step + 1
            scale = self.rate_scale(step)
            scale_learning_rates(self.optimizers, scale)
            loss = self.loss(examples.batch(self.step, self.batch_size), seeded(self.seed, step))
            for optimizer in self.optimizers:
                optimizer.zero_grad()
            self.fabric.backward(loss)
            clip_gradients(self.net, MAX_NORM, "the segmentation model", step)
            for optimizer in self.optimizers:
                optimizer.step()
            self.ema.update(self.net, step)
            self.step = step
            yield StepDone(step, float(loss.detach()), scale * self.highest_rate, time.perf_counter() - start)

    def loss(self, batch: list[Example], generator: torch.Generator) -> Tensor:
        """Return the mean loss of a batch of windows."""
        device = self.fabric.device
        volume, regions, origin = (
            torch.stack([getattr(one, name) for one in batch]).to(device) for name in ("volume", "regions", "origin")
        )
        return segmentation_loss(self.module, volume, regions, origin, generator)  # type: ignore[arg-type]

    def averaged(self) -> SegmentationNet:
        """Return a network with the averaged weights on the CPU."""
        net = SegmentationNet(self.net.config)
        net.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        averages = {name: p.cpu() for name, p in self.ema.state().items()}
        net.load_state_dict({**{name: b.cpu() for name, b in self.net.named_buffers()}, **averages})
        return net.eval()

    def state(self) -> dict[str, Tensor]:
        """Return all that an exact resume needs, as tensors."""
        tensors = {"step": torch.tensor(self.step)}
        tensors |= {f"weight.{name}": p.detach().cpu() for name, p in self.net.named_parameters()}
        tensors |= {f"ema.{name}": p.cpu() for name, p in self.ema.state().items()}
        return tensors | optimizer_tensors(self.net, self.optimizers)

    @torch.no_grad()
    def load(self, tensors: dict[str, Tensor]) -> None:
        """Continue from `state()`."""
        self.step = int(tensors["step"])
        for name, parameter in self.net.named_parameters():
            parameter.copy_(tensors[f"weight.{name}"])
        for name, average in self.ema.state().items():
            average.copy_(tensors[f"ema.{name}"])
        if self.step:
            load_optimizer_tensors(self.net, self.optimizers, tensors)
