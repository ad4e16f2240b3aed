"""Training one level of the cascade: a generator that yields what a step or a validation found."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from braindiffusion.diffusion.condition import Condition, dropped
from braindiffusion.diffusion.denoiser import denoising_loss
from braindiffusion.diffusion.noise import lognormal_sigmas
from braindiffusion.model.cascade import Cascade, Level
from braindiffusion.training.ema import PowerEma
from braindiffusion.training.patches import Batch, Patches
from braindiffusion.training.presets import LevelRecipe

MAX_NORM = 1.0


@dataclass(frozen=True)
class StepDone:
    """One optimizer step: its number from 1, the loss, the seconds it took."""

    step: int
    loss: float
    learning_rate: float
    seconds: float


def seeded(*key: int) -> torch.Generator:
    """A CPU generator that is a function of a key: what is drawn at a step depends on nothing before it."""
    return torch.Generator().manual_seed(int(np.random.default_rng(key).integers(2**62)))


class LevelTrainer:
    """The state of training one level: weights, optimizer, average of the weights, step.

    Args:
        fabric: device and precision.
        cascade: the model; only this level's weights are touched.
        index: the level.
        recipe: batch size, rates.
        seed: of every draw.
    """

    def __init__(self, fabric: Fabric, cascade: Cascade, index: int, recipe: LevelRecipe, seed: int) -> None:
        self.fabric, self.index, self.recipe, self.seed = fabric, index, recipe, seed
        self.level: Level = cascade.level(index)
        self.level.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.ema = PowerEma(self.level)
        optimizer = torch.optim.AdamW(self.level.parameters(), lr=recipe.learning_rate, weight_decay=1e-2)
        module, self.optimizer = fabric.setup(self.level, optimizer)
        self.module: nn.Module = module
        module.mark_forward_method("network")
        self.dropout = {field.name: field.dropout for field in cascade.config.condition.fields}
        self.step = 0

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, constant, then 1 / sqrt(step)."""
        rate = self.recipe.learning_rate * min(1.0, step / max(1, self.recipe.warmup))
        return rate * min(1.0, math.sqrt(self.recipe.constant / step))

    def loss(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Mean error of the prediction for a batch, everything random drawn from `generator`."""
        level, device = self.level, self.fabric.device
        bands = level.normalise(batch.bands.to(device))
        size = len(bands)
        sigma = lognormal_sigmas(size, level.config.log_sigma_mean, level.config.log_sigma_std, generator)
        clean = (bands[:, 1:] if level.has_coarse else bands).flatten(1, 2)
        noise = torch.randn(clean.shape, generator=generator).to(device)
        coarse = coarse_sigma = None
        if level.has_coarse:
            coarse_sigma = level.config.coarse_sigma_max * torch.rand(size, generator=generator).square()
            hiss = torch.randn(bands[:, 0].shape, generator=generator) * coarse_sigma[:, None, None, None, None]
            coarse, coarse_sigma = bands[:, 0] + hiss.to(device), coarse_sigma.to(device)
        coordinates = level.coordinates(batch.origin, tuple(clean.shape[2:]))

        def network(x: Tensor, log_sigma: Tensor, condition: Condition | None) -> Tensor:
            predict: Callable[..., Tensor] = self.module.network  # type: ignore[assignment]
            return predict(x, log_sigma, coarse, coarse_sigma, coordinates, condition)

        told = dropped(batch.condition, self.dropout, generator)
        told = {name: field.to(device) for name, field in told.items()}
        prediction = level.config.prediction
        return denoising_loss(network, clean, noise, sigma.to(device), told, prediction=prediction).mean()

    def run(self, patches: Patches, until: int) -> Iterator[StepDone]:
        """Train up to and including step `until`; closing the generator stops after a whole step."""
        self.module.train()
        while self.step < until:
            start = time.perf_counter()
            step = self.step + 1
            rate = self.learning_rate(step)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            loss = self.loss(patches.batch(self.step, self.recipe.batch_size), seeded(self.seed, self.index, step, 2))
            self.optimizer.zero_grad(set_to_none=True)
            self.fabric.backward(loss)
            self.fabric.clip_gradients(self.module, self.optimizer, max_norm=MAX_NORM)
            self.optimizer.step()
            self.ema.update(self.level, step)
            self.step = step
            yield StepDone(step, float(loss.detach()), rate, time.perf_counter() - start)

    @torch.no_grad()
    def validate(self, patches: Patches, batches: int = 4) -> float:
        """Loss of the averaged weights on held-out brains, always with the same patches and the same noise."""
        trained = {name: p.detach().clone() for name, p in self.level.named_parameters()}
        self.use(self.ema.state())
        self.module.eval()
        size = max(4, self.recipe.batch_size)
        losses = [float(self.loss(patches.batch(i, size), seeded(self.seed, self.index, i, 3))) for i in range(batches)]
        self.use(trained)
        return sum(losses) / len(losses)

    @torch.no_grad()
    def use(self, weights: dict[str, Tensor]) -> None:
        """Put these weights into the level."""
        for name, p in self.level.named_parameters():
            p.copy_(weights[name])

    def state(self) -> dict[str, Tensor]:
        """Everything that an exact resume needs, as tensors: weights, average, moments, step."""
        names = [name for name, _ in self.level.named_parameters()]
        tensors = {"step": torch.tensor(self.step)}
        tensors |= {f"weight.{name}": p.detach().cpu() for name, p in self.level.named_parameters()}
        tensors |= {f"ema.{name}": p.cpu() for name, p in self.ema.state().items()}
        for i, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"{key}.{names[i]}": value.cpu() for key, value in moments.items()}
        return tensors

    @torch.no_grad()
    def load(self, tensors: dict[str, Tensor]) -> None:
        """Continue from `state()`."""
        parameters = dict(self.level.named_parameters())
        self.step = int(tensors["step"])
        self.use({name: tensors[f"weight.{name}"] for name in parameters})
        self.ema.load({name: tensors[f"ema.{name}"] for name in parameters})
        if self.step:
            state = self.optimizer.state_dict()
            keys = ("step", "exp_avg", "exp_avg_sq")
            state["state"] = {i: {k: tensors[f"{k}.{name}"] for k in keys} for i, name in enumerate(parameters)}
            self.optimizer.load_state_dict(state)


def fit_normalisation(patches: Patches, level: Level, brains: int = 32) -> None:
    """Set the level's band means and standard deviations from some training brains.

    Detail bands are measured inside the brain (outside they are zero), the coarse band everywhere.
    """
    count, first, second = 0, torch.zeros_like(level.mean), torch.zeros_like(level.std)
    everywhere = 0
    sums = torch.zeros(2, dtype=torch.float64)
    for subject in patches.subjects[:brains]:
        brain = patches.whole(subject)
        within = brain.bands[:, :, brain.inside > 0].double()
        count += within.shape[-1] * within.shape[1]
        first += within.sum((1, 2)).to(first)
        second += within.square().sum((1, 2)).to(second)
        coarse = brain.bands[0].double()
        everywhere += coarse.numel()
        sums += torch.stack((coarse.sum(), coarse.square().sum()))
    mean = first / count
    std = (second / count - mean.square()).clamp_min(1e-12).sqrt()
    mean[1:] = 0
    mean[0] = sums[0] / everywhere
    std[0] = (sums[1] / everywhere - mean[0].double().square()).clamp_min(1e-12).sqrt()
    level.mean.copy_(mean)
    level.std.copy_(std)
