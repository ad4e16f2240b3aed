"""Training one level of the cascade: a generator that yields what a step found."""

import math
import time
from collections import deque
from collections.abc import Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from braindiffusion.diffusion.condition import Condition, drop_fields
from braindiffusion.diffusion.denoiser import denoising_loss
from braindiffusion.diffusion.weights import noise_weight, weighted
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.models.cascade.cascade import Cascade, Level
from braindiffusion.training.distributed import Distributed, gather_full, shard_like
from braindiffusion.training.ema import SIGMA_RELS, PowerEma
from braindiffusion.training.patches import Batch, PatchDataset
from braindiffusion.training.presets import LevelRecipe

AHEAD, FAR_AHEAD = 2, 8
"""Steps whose batches are made, each in a thread, while the network works: on this CPU, on another device."""
HELD_OUT = 32
"""Samples of a validation, or a whole batch where that is more."""
MEASURED = 32
"""Brains whose coefficients tell a level's mean and spread."""
TRAINING, VALIDATION = 2, 3


@dataclass(frozen=True)
class StepDone:
    """One optimizer step: its number from 1, the loss of the whole batch, the seconds it took."""

    step: int
    loss: float
    learning_rate: float
    seconds: float


def seeded(*key: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator that is a function of a key: what it draws depends on nothing that was drawn before."""
    return torch.Generator(device).manual_seed(int(np.random.default_rng(key).integers(2**62)))


def require_finite(norm: Tensor | None, stage: str, step: int) -> None:
    """Stop a training before a gradient that is not finite reaches the weights.

    Args:
        norm: length of the gradient; not finite where the loss is not.
        stage: what is trained, for the message.
        step: the step, from 1.

    Raises:
        BrainDiffusionError: the length is not finite.
    """
    if norm is not None and not bool(gather_full(norm).isfinite()):
        msg = (
            f"The loss or the gradient of {stage} is not finite at step {step}. What was learnt before is kept: "
            "begin again with a lower learning rate or in float32."
        )
        raise BrainDiffusionError(msg)


class LevelTrainer:
    """The state of training one level: weights, optimizer, averages of the weights, step.

    Args:
        distributed: device, precision, and who else trains.
        cascade: the model; only this level's weights are touched.
        index: the level.
        recipe: batch size, rates.
        seed: of every draw.

    Raises:
        BrainDiffusionError: the recipe weighs other bands than the level has.
    """

    def __init__(self, distributed: Distributed, cascade: Cascade, index: int, recipe: LevelRecipe, seed: int) -> None:
        self.distributed, self.index, self.recipe, self.seed = distributed, index, recipe, seed
        self.device = distributed.fabric.device
        self.level: Level = cascade.level(index)
        self.level.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.module = distributed.fabric.setup_module(self.level)
        adamw = torch.optim.AdamW(
            self.level.parameters(),
            lr=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            fused=self.device.type == "cuda",
        )
        self.optimizer = cast(torch.optim.Optimizer, distributed.fabric.setup_optimizers(adamw))
        self.averages = {width: PowerEma(self.level, width) for width in SIGMA_RELS}
        self.dropout = {field.name: field.dropout for field in cascade.config.condition.fields}
        self.samples = recipe.batch_size * recipe.accumulate * distributed.world
        """Samples of one step, of all processes together."""
        self.band_weights = None
        if recipe.band_weights is not None:
            self.band_weights = torch.tensor(recipe.band_weights, device=self.device)
            self.band_weights = self.band_weights.repeat_interleave(cascade.config.channels)
        self.step = 0

    @property
    def ema(self) -> PowerEma:
        """The average that is sampled with."""
        return self.averages[SIGMA_RELS[-1]]

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, constant, then 1 / sqrt(step)."""
        rate = self.recipe.learning_rate * min(1.0, step / max(1, self.recipe.warmup))
        return rate * min(1.0, math.sqrt(self.recipe.constant / step))

    def loss(self, batch: Batch, size: int, purpose: int = TRAINING) -> Tensor:
        """Mean error of the prediction for a batch; what is random about a sample is a function of its number.

        Args:
            batch: a share of a whole batch.
            size: samples of the whole batch, over which the noise levels are stratified.
            purpose: other draws for another purpose.
        """
        level, device, config = self.level, self.device, self.level.config
        step, start = divmod(batch.first, size)
        numbers = range(batch.first, batch.first + len(batch.bands))
        key = (self.seed, self.index, purpose)
        sigma = config.training_sigmas(size, seeded(*key, 0, step))[start : start + len(numbers)].to(device)
        draws = [seeded(*key, 1, number, device=device) for number in numbers]

        bands = level.normalise(batch.bands.to(device))
        clean = (bands[:, 1:] if level.has_coarse else bands).flatten(1, 2)
        noise = torch.stack([torch.randn(clean.shape[1:], generator=draw, device=device) for draw in draws])
        coarse = coarse_sigma = None
        if level.has_coarse:
            share = torch.cat([torch.rand(1, generator=draw, device=device) for draw in draws])
            coarse_sigma = config.coarse_sigma_max * share.square()
            hiss = [torch.randn(bands.shape[2:], generator=draw, device=device) for draw in draws]
            coarse = bands[:, 0] + torch.stack(hiss) * coarse_sigma[:, None, None, None, None]
        coordinates = level.coordinates(batch.origin, tuple(clean.shape[2:]))
        told = self._conditions(batch.condition, [seeded(*key, 2, number) for number in numbers])

        def network(x: Tensor, log_sigma: Tensor, condition: Condition | None) -> Tensor:
            out: Tensor = self.module(x, log_sigma, coarse, coarse_sigma, coordinates, condition)
            return out

        error = denoising_loss(network, clean, noise, sigma, told, prediction=config.prediction)
        recipe = self.recipe
        weight = noise_weight(recipe.weighting, config.prediction, sigma, gamma=recipe.min_snr_gamma)
        return weighted(error, weight, self.band_weights)

    def _conditions(self, condition: Condition, draws: list[torch.Generator]) -> Condition:
        """What each sample's network hears of its condition."""
        heard = [
            drop_fields({n: f[i : i + 1] for n, f in condition.items()}, self.dropout, d) for i, d in enumerate(draws)
        ]
        return {name: torch.cat([one[name] for one in heard]).to(self.device) for name in condition}

    def _shares(self, patches: PatchDataset, step: int, size: int, many: int) -> list[Batch]:
        """What this process does of a step's batch, so many samples at once."""
        mine = size // self.distributed.world
        first = self.distributed.rank * mine
        return [patches.batch(step, size, range(i, i + many)) for i in range(first, first + mine, many)]

    def run(self, patches: PatchDataset, until: int) -> Generator[StepDone]:
        """Train up to step `until`. Closing the generator stops after a whole step."""
        ahead_by = AHEAD if self.device.type == "cpu" else FAR_AHEAD
        with ThreadPoolExecutor(ahead_by, thread_name_prefix="batches") as background:

            def begin(step: int) -> Future[list[Batch]]:
                return background.submit(self._shares, patches, step, self.samples, self.recipe.batch_size)

            ahead = deque(begin(step) for step in range(self.step, min(until, self.step + ahead_by)))
            self.module.train()
            while self.step < until:
                start = time.perf_counter()
                batches = ahead.popleft().result()
                if self.step + ahead_by < until:
                    ahead.append(begin(self.step + ahead_by))
                loss, rate = self._step(batches)
                yield StepDone(self.step, loss, rate, time.perf_counter() - start)

    def _step(self, batches: list[Batch]) -> tuple[float, float]:
        fabric, step = self.distributed.fabric, self.step + 1
        rate = self.learning_rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.device)
        for i, batch in enumerate(batches):
            with fabric.no_backward_sync(self.module, enabled=self.distributed.world > 1 and i + 1 < len(batches)):
                loss = self.loss(batch, self.samples) / len(batches)
                fabric.backward(loss)
            total += loss.detach()
        norm = fabric.clip_gradients(
            self.module, self.optimizer, max_norm=self.recipe.max_norm, error_if_nonfinite=False
        )
        require_finite(norm, f"level {self.index}", step)
        self.optimizer.step()
        for average in self.averages.values():
            average.update(self.level, step)
        self.step = step
        return float(self.distributed.mean(total)), rate

    @torch.no_grad()
    def validate(self, patches: PatchDataset) -> float:
        """Loss of the averaged weights on held-out brains, always with the same patches and the same noise."""
        trained = {name: p.detach().clone() for name, p in self.level.named_parameters()}
        self._use(self.ema.state())
        self.module.eval()
        many = max(4, self.recipe.batch_size)
        share = many * self.distributed.world
        size = math.ceil(max(HELD_OUT, self.samples) / share) * share
        losses = [self.loss(batch, size, VALIDATION) for batch in self._shares(patches, 0, size, many)]
        self._use(trained)
        self.module.train()
        return float(self.distributed.mean(torch.stack(losses).mean()))

    @torch.no_grad()
    def _use(self, weights: Mapping[str, Tensor]) -> None:
        for name, p in self.level.named_parameters():
            p.copy_(weights[name])

    def averaged(self) -> dict[str, Tensor]:
        """Both averages, on the CPU: `ema.<width>.<parameter>`. All processes must ask."""
        return {
            f"ema.{w}.{n}": gather_full(t) for w, average in self.averages.items() for n, t in average.state().items()
        }

    def state(self) -> dict[str, Tensor]:
        """Everything that an exact resume needs, as tensors. All processes must ask."""
        names = [name for name, _ in self.level.named_parameters()]
        tensors = {"step": torch.tensor(self.step), **self.averaged()}
        tensors |= {f"weight.{name}": gather_full(p) for name, p in self.level.named_parameters()}
        for i, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"{key}.{names[i]}": gather_full(value) for key, value in moments.items()}
        return tensors

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from `state()`."""
        parameters = dict(self.level.named_parameters())
        self.step = int(tensors["step"])
        for width, average in self.averages.items():
            for name, value in average.state().items():
                value.copy_(shard_like(value, tensors[f"ema.{width}.{name}"]))
        for name, p in parameters.items():
            p.copy_(shard_like(p, tensors[f"weight.{name}"]))
        if self.step:
            state = self.optimizer.state_dict()
            state["state"] = {
                i: {"step": tensors[f"step.{name}"]}
                | {key: shard_like(p, tensors[f"{key}.{name}"]) for key in ("exp_avg", "exp_avg_sq")}
                for i, (name, p) in enumerate(parameters.items())
            }
            self.optimizer.load_state_dict(state)


def fit_normalisation(patches: PatchDataset, level: Level, brains: int = MEASURED) -> None:
    """Set the level's band means and standard deviations from some training brains.

    Detail bands are measured inside the brain (outside they are zero), the coarse band everywhere.
    """
    count, first, second = 0, torch.zeros_like(level.mean), torch.zeros_like(level.std)
    everywhere = 0
    sums = torch.zeros(2, dtype=torch.float64)
    for subject in patches.subjects[:brains]:
        brain = patches.brain(subject)
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
