"""Training a reader: the state of it, and one step after the other."""

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
from braindiffusion.training.trainer import StepDone, require_finite, seeded

WARMUP, MAX_NORM = 50, 1.0


class SegmentationTrainer:
    """Weights, optimizer, average of the weights, step.

    Args:
        fabric: device and precision.
        net: the network.
        steps: how many there will be: the learning rate comes down to zero with them, as a cosine.
        batch_size: windows a step.
        learning_rate: at its highest.
        seed: of every draw.
    """

    def __init__(
        self, fabric: Fabric, net: SegmentationNet, *, steps: int, batch_size: int, learning_rate: float, seed: int
    ) -> None:
        self.fabric, self.net, self.steps, self.seed = fabric, net, steps, seed
        self.batch_size, self.highest_rate = batch_size, learning_rate
        net.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.ema = PowerEma(net)
        optimizer = torch.optim.AdamW(net.parameters(), lr=learning_rate, weight_decay=1e-2)
        module, self.optimizer = fabric.setup(net, optimizer)
        self.module: nn.Module = module
        module.mark_forward_method("trunk")
        module.mark_forward_method("classify")
        self.step = 0

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then half a cosine."""
        warm = min(1.0, step / WARMUP)
        return self.highest_rate * warm * 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.steps)))

    def run(self, examples: Examples) -> Iterator[StepDone]:
        """Train to the last step; closing the generator stops after a whole step."""
        self.module.train()
        while self.step < self.steps:
            start = time.perf_counter()
            step = self.step + 1
            rate = self.learning_rate(step)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            loss = self.loss(examples.batch(self.step, self.batch_size), seeded(self.seed, step))
            self.optimizer.zero_grad(set_to_none=True)
            self.fabric.backward(loss)
            norm = self.fabric.clip_gradients(self.module, self.optimizer, max_norm=MAX_NORM, error_if_nonfinite=False)
            require_finite(norm, "the segmentation model", step)
            self.optimizer.step()
            self.ema.update(self.net, step)
            self.step = step
            yield StepDone(step, float(loss.detach()), rate, time.perf_counter() - start)

    def loss(self, batch: list[Example], generator: torch.Generator) -> Tensor:
        """Mean over a batch of windows."""
        device = self.fabric.device
        volume, regions, origin = (
            torch.stack([getattr(one, name) for one in batch]).to(device) for name in ("volume", "regions", "origin")
        )
        return segmentation_loss(self.module, volume, regions, origin, generator)  # type: ignore[arg-type]

    def averaged(self) -> SegmentationNet:
        """A reader with the averaged weights, on the CPU."""
        net = SegmentationNet(self.net.config)
        net.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        averages = {name: p.cpu() for name, p in self.ema.state().items()}
        net.load_state_dict({**{name: b.cpu() for name, b in self.net.named_buffers()}, **averages})
        return net.eval()

    def state(self) -> dict[str, Tensor]:
        """Everything that an exact resume needs, as tensors."""
        names = [name for name, _ in self.net.named_parameters()]
        tensors = {"step": torch.tensor(self.step)}
        tensors |= {f"weight.{name}": p.detach().cpu() for name, p in self.net.named_parameters()}
        tensors |= {f"ema.{name}": p.cpu() for name, p in self.ema.state().items()}
        for i, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"{key}.{names[i]}": value.cpu() for key, value in moments.items()}
        return tensors

    @torch.no_grad()
    def load(self, tensors: dict[str, Tensor]) -> None:
        """Continue from `state()`."""
        names = [name for name, _ in self.net.named_parameters()]
        self.step = int(tensors["step"])
        for name, parameter in self.net.named_parameters():
            parameter.copy_(tensors[f"weight.{name}"])
        for name, average in self.ema.state().items():
            average.copy_(tensors[f"ema.{name}"])
        state = self.optimizer.state_dict()
        keys = ("step", "exp_avg", "exp_avg_sq")
        state["state"] = {i: {k: tensors[f"{k}.{name}"] for k in keys} for i, name in enumerate(names)}
        self.optimizer.load_state_dict(state)
