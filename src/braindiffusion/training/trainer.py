"""Training of one level of the cascade: a generator of steps."""

import math
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from braindiffusion.devices import choose_layout
from braindiffusion.diffusion.condition import Condition, drop_fields
from braindiffusion.diffusion.denoiser import denoising_loss
from braindiffusion.diffusion.weights import noise_weight, weighted
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.models.cascade.cascade import Cascade, Level
from braindiffusion.training.distributed import Distributed, gather_full, shard_like
from braindiffusion.training.ema import SIGMA_RELS, PowerEma
from braindiffusion.training.optimizers import (
    NotFiniteError,
    clip_gradients,
    load_optimizer_tensors,
    make_optimizers,
    optimizer_tensors,
    scale_learning_rates,
)
from braindiffusion.training.patches import Batch, PatchDataset
from braindiffusion.training.recipe import LevelRecipe
from braindiffusion.training.throughput import FORWARD_AND_BACKWARD, best_throughput, counted_operations

AHEAD, FAR_AHEAD = 2, 8
"""Batches made ahead in threads while the network runs: on the same CPU, on another device."""
HELD_OUT = 32
"""Samples of a validation, or those of a step where that is more."""
SITES_AT_ONCE = 8192
"""Sites of a batch that a CPU computes at once: larger batches are not faster there, and take more memory."""
MEASURED = 32
"""Brains from which the means and standard deviations of a level's bands are computed."""
TRAINING, VALIDATION = 2, 3


def samples_at_once(batch_size: int, sites: int, device: torch.device) -> int:
    """Return how many samples of a batch are computed at once; the gradients of its parts are added.

    A single sample would be slower: PyTorch takes oneDNN for small volumes only where there are several.

    Args:
        batch_size: samples of the batch.
        sites: of a sample.
        device: that computes them.
    """
    if device.type != "cpu":
        return batch_size
    parts = [n for n in range(2, batch_size + 1) if batch_size % n == 0] or [batch_size]
    return max((n for n in parts if n * sites <= SITES_AT_ONCE), default=parts[0])


@dataclass(frozen=True)
class StepDone:
    """An optimizer step.

    Attributes:
        step: number, from 1.
        loss: of the whole batch.
        learning_rate: of AdamW.
        seconds: duration.
        waiting: seconds of these in which the batch was not ready yet.
    """

    step: int
    loss: float
    learning_rate: float
    seconds: float
    waiting: float = 0.0


def seeded(*key: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a random generator that is a function of a key alone."""
    return torch.Generator(device).manual_seed(int(np.random.default_rng(key).integers(2**62)))


class LevelTrainer:
    """The trainer of one level: weights, optimizers, averages of the weights, step.

    Args:
        distributed: device, precision, processes.
        cascade: the model; only this level's weights change.
        index: the level.
        recipe: batch size, rates.
        seed: seed of every random draw.
        steps: length of the whole training, at whose end the learning rate falls; None if it never falls.
    """

    def __init__(
        self,
        distributed: Distributed,
        cascade: Cascade,
        index: int,
        recipe: LevelRecipe,
        seed: int,
        steps: int | None = None,
    ) -> None:
        self.distributed, self.index, self.recipe, self.seed = distributed, index, recipe, seed
        self.device = distributed.device
        self.level: Level = cascade.level(index)
        for parameter in self.level.parameters():
            parameter.data = parameter.data.clone()  # the first checkpoint has those before
        self.level.lay_out(choose_layout(self.device))
        self.module = distributed.setup(self.level)
        self.optimizers = make_optimizers(
            self.level,
            learning_rate=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            muon_learning_rate=recipe.muon_learning_rate if recipe.optimizer == "muon" else None,
            dtype=distributed.dtype,
            replicated=distributed.replicated,
        )
        self.averages = {width: PowerEma(self.level, width) for width in SIGMA_RELS}
        self.dropout = {field.name: field.dropout for field in cascade.config.condition.fields}
        self.steps = steps
        self.samples = recipe.samples(distributed.world)
        """Samples of one step of all processes together."""
        sites = math.prod(min(self.level.config.patch or side, side) for side in self.level.grid)
        self.at_once = samples_at_once(recipe.batch_size, sites, self.device)
        """Samples of this process that the network computes at once."""
        self.operations = 0
        """Floating-point operations of a step of this process, counted in its first one."""
        self.band_weights = None
        if recipe.band_weights is not None:
            self.band_weights = torch.tensor(recipe.band_weights, device=self.device)
            self.band_weights = self.band_weights.repeat_interleave(cascade.config.channels)
        self.step = 0

    @property
    def ema(self) -> PowerEma:
        """The average that models are sampled with."""
        return self.averages[SIGMA_RELS[-1]]

    def speed(self, done: StepDone) -> dict[str, float]:
        """Return what a step took, as named numbers for the record.

        `utilization` is the share of the throughput that the device reaches in a matrix product of the same precision
        (model FLOP utilization, arXiv 2204.02311, with a measured peak).
        """
        throughput = self.operations / done.seconds
        best = best_throughput(self.device, self.distributed.dtype)
        return {
            "seconds_per_step": done.seconds,
            "waiting_for_data": done.waiting / done.seconds,
            "teraflops": throughput / 1e12,
            "utilization": throughput / best,
        }

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of AdamW at a step, from 1; Muon's has the same course."""
        return self.recipe.learning_rate * self.recipe.rate_scale(step, self.steps)

    def loss(self, batch: Batch, size: int, purpose: int = TRAINING) -> Tensor:
        """Return the mean weighted error of a batch. All randomness of a sample is a function of its number.

        Args:
            batch: part of a whole batch.
            size: samples of the whole batch, over which the noise levels are stratified.
            purpose: key of the draws: `TRAINING` or `VALIDATION`.
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
            uniform = torch.cat([torch.rand(1, generator=draw, device=device) for draw in draws])
            coarse_sigma = config.coarse_sigma_max * uniform.square()
            coarse_noise = [torch.randn(bands.shape[2:], generator=draw, device=device) for draw in draws]
            coarse = bands[:, 0] + torch.stack(coarse_noise) * coarse_sigma[:, None, None, None, None]
        coordinates = level.coordinates(batch.origin, tuple(clean.shape[2:]))
        condition = self._conditions(batch.condition, [seeded(*key, 2, number) for number in numbers])

        def network(x: Tensor, log_sigma: Tensor, condition: Condition | None) -> Tensor:
            with self.distributed.autocast():
                out: Tensor = self.module(x, log_sigma, coarse, coarse_sigma, coordinates, condition)
            return out

        error = denoising_loss(network, clean, noise, sigma, condition, prediction=config.prediction)
        recipe = self.recipe
        weight = noise_weight(recipe.weighting, config.prediction, sigma, gamma=recipe.min_snr_gamma)
        return weighted(error, weight, self.band_weights)

    def _conditions(self, condition: Condition, draws: list[torch.Generator]) -> Condition:
        """Return the condition with the fields of each sample dropped at random."""
        kept = [
            drop_fields({n: f[i : i + 1] for n, f in condition.items()}, self.dropout, d) for i, d in enumerate(draws)
        ]
        return {name: torch.cat([one[name] for one in kept]).to(self.device) for name in condition}

    def _batches(self, patches: PatchDataset, step: int, size: int, at_once: int) -> Iterator[Batch]:
        """Yield this process's part of a step's samples, in batches of `at_once`."""
        mine = size // self.distributed.world
        first = self.distributed.rank * mine
        for start in range(first, first + mine, at_once):
            yield patches.batch(step, size, range(start, start + at_once))

    def run(self, patches: PatchDataset, until: int) -> Generator[StepDone]:
        """Train up to step `until`. Closing the generator stops after a whole step."""
        ahead_by = AHEAD if self.device.type == "cpu" else FAR_AHEAD
        with ThreadPoolExecutor(ahead_by, thread_name_prefix="batches") as background:

            def begin(step: int) -> Future[list[Batch]]:
                return background.submit(lambda: list(self._batches(patches, step, self.samples, self.at_once)))

            ahead = deque(begin(step) for step in range(self.step, min(until, self.step + ahead_by)))
            self.module.train()
            while self.step < until:
                start = time.perf_counter()
                batches = ahead.popleft().result()
                waiting = time.perf_counter() - start
                if self.step + ahead_by < until:
                    ahead.append(begin(self.step + ahead_by))
                try:
                    loss, rate = self._step(batches)
                except NotFiniteError as error:
                    names = ", ".join(patches.subjects_of(self.step, self.samples))
                    msg = (
                        f"{error} The batch was of {names}. What was learnt before is kept: check these subjects, or "
                        "begin again with a lower learning rate or in float32."
                    )
                    raise NotFiniteError(msg) from error
                yield StepDone(self.step, loss, rate, time.perf_counter() - start, waiting)

    def _step(self, batches: list[Batch]) -> tuple[float, float]:
        distributed, step = self.distributed, self.step + 1
        scale_learning_rates(self.optimizers, self.recipe.rate_scale(step, self.steps))
        total = torch.zeros((), device=self.device)
        counted, operations = self.operations > 0, 0
        for i, batch in enumerate(batches):
            with distributed.without_exchange(self.module, enabled=i + 1 < len(batches)):
                with nullcontext() if counted else counted_operations(self.level) as count:
                    loss = self.loss(batch, self.samples) / len(batches)
                operations += 0 if count is None else FORWARD_AND_BACKWARD * count.total
                distributed.backward(loss)
            total += loss.detach()
        self.operations = self.operations or operations
        clip_gradients(self.level, self.recipe.max_norm, f"level {self.index}", step)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        for average in self.averages.values():
            average.update(self.level, step)
        self.step = step
        return float(distributed.mean(total)), self.learning_rate(step)

    @torch.no_grad()
    def validate(self, patches: PatchDataset) -> float:
        """Return the loss of the averaged weights on held-out brains, always of the same patches and noise."""
        trained = {name: p.detach().clone() for name, p in self.level.named_parameters()}
        at_once = max(4, self.recipe.batch_size)
        multiple = at_once * self.distributed.world
        size = math.ceil(max(HELD_OUT, self.samples) / multiple) * multiple
        self._use(self.ema.state())
        self.module.eval()
        try:
            losses = [self.loss(batch, size, VALIDATION) for batch in self._batches(patches, 0, size, at_once)]
        finally:  # a training that stops here writes a checkpoint of these
            self._use(trained)
            self.module.train()
        return float(self.distributed.mean(torch.stack(losses).mean()))

    @torch.no_grad()
    def _use(self, weights: Mapping[str, Tensor]) -> None:
        for name, p in self.level.named_parameters():
            p.copy_(weights[name])

    def averaged(self) -> dict[str, Tensor]:
        """Return both averages on the CPU: `ema.<width>.<parameter>`; they change with the next step.

        All processes must call it.
        """
        return {
            f"ema.{w}.{n}": gather_full(t) for w, average in self.averages.items() for n, t in average.state().items()
        }

    def state(self) -> dict[str, Tensor]:
        """Return all that an exact resume needs, as tensors that change with the next step.

        All processes must call it.
        """
        weights = {f"weight.{name}": gather_full(p) for name, p in self.level.named_parameters()}
        moments = optimizer_tensors(self.level, self.optimizers)
        numbers = {"step": torch.tensor(self.step), "samples": torch.tensor(self.samples)}
        return {**numbers, **self.averaged(), **weights, **moments}

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from `state()`.

        Raises:
            BrainDiffusionError: the training was begun by another number of processes, and so has other batches.
        """
        self.step, begun_with = int(tensors["step"]), int(tensors.get("samples", self.samples))
        if begun_with != self.samples:
            processes = begun_with // self.recipe.samples()
            msg = f"This training was begun by {processes} process{'es' * (processes != 1)}, with {begun_with} samples"
            raise BrainDiffusionError(f"{msg} in a step, not {self.samples}: resume it by as many processes.")
        for width, average in self.averages.items():
            for name, value in average.state().items():
                value.copy_(shard_like(value, tensors[f"ema.{width}.{name}"]))
        for name, p in self.level.named_parameters():
            p.copy_(shard_like(p, tensors[f"weight.{name}"]))
        if self.step:
            load_optimizer_tensors(self.level, self.optimizers, tensors)


def fit_normalisation(patches: PatchDataset, level: Level) -> None:
    """Set the level's band means and standard deviations from some training brains.

    Detail bands are measured inside the brain (outside they are zero), the coarse band everywhere.
    """
    count, first, second = 0, torch.zeros_like(level.mean), torch.zeros_like(level.std)
    everywhere = 0
    sums = torch.zeros(2, dtype=torch.float64)
    for subject in patches.subjects[:MEASURED]:
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
