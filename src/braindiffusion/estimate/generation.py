"""Estimate of a generation: memory counted level by level, time measured by three real steps of each."""

import math
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import cast

from braindiffusion.devices import choose_device, choose_precision
from braindiffusion.diffusion.samplers import SamplerName
from braindiffusion.estimate.device import free_bytes, held_bytes, settle
from braindiffusion.estimate.memory import parameters, sampling
from braindiffusion.estimate.result import Estimate, LevelEstimate
from braindiffusion.files import PrivateFolder
from braindiffusion.generation.background import clear_background
from braindiffusion.generation.guidance import guidance_from
from braindiffusion.generation.inputs import Conditions
from braindiffusion.generation.outputs import FRAMES_PER_LEVEL, as_volume
from braindiffusion.generation.plan import steps_of, with_fast_decided
from braindiffusion.models.cascade.generator import SampledCascade
from braindiffusion.models.registry import load_generator, sampled_model
from braindiffusion.runs import GenerateRequest
from braindiffusion.volume import save_volume

TRIED = 3
"""Measured steps of each level: the first chooses kernels, the last of a second-order sampler may differ."""


def estimate_generation(request: GenerateRequest) -> Estimate:
    """Return memory and time of generating all samples in this process.

    Raises:
        BrainDiffusionError: what the generation itself would raise before its first step.
    """
    trial = _Trial(request)
    needs = [trial.bytes(index, trial.batch) for index in range(trial.levels)]
    available = free_bytes(trial.device)
    steps = [n * trial.batches for n in trial.steps]
    if max(needs) > available:
        levels = tuple(LevelEstimate(i, need, n) for i, (need, n) in enumerate(zip(needs, steps, strict=True)))
        return Estimate(str(trial.device), levels, available, advice=trial.advice(available))
    seconds, around = trial.seconds()
    levels = tuple(
        LevelEstimate(index, need, n, step, n * step)
        for index, (need, n, step) in enumerate(zip(needs, steps, seconds, strict=True))
    )
    return Estimate(str(trial.device), levels, available, trial.begun + around)


class _Trial:
    """A generation that is prepared and not started.

    Attributes:
        begun: seconds that it took to make it ready.
    """

    def __init__(self, request: GenerateRequest) -> None:
        begun = perf_counter()
        self.request = request = with_fast_decided(request)
        self.device = choose_device(request.device)
        self.dtype = choose_precision(self.device, request.precision)
        self.generator = load_generator(sampled_model(request.model, fast=request.fast))
        self.generator.to(self.device)
        self.conditions = Conditions(request, self.generator)
        self.guidance, _ = guidance_from(request, self.generator, asked=self.conditions.names)
        weak = self.guidance.weak if self.guidance else None
        models = (self.generator, weak)
        self.configs = [model.cascade.config for model in models if isinstance(model, SampledCascade)]
        self.batch = min(request.batch_size, request.num_samples)
        self.batches = math.ceil(request.num_samples / request.batch_size)
        self.steps = self.generator.steps(steps_of(request, self.generator))
        self.levels = len(self.steps)
        self._tried = self.steps if self.generator.card.distilled else (TRIED,) * self.levels
        self.held = held_bytes(self.device)  # on a CPU the models are among it
        if self.device.type != "cpu":
            self.held = sum(sum(parameters(config)) for config in self.configs)
        self.begun = perf_counter() - begun

    def bytes(self, index: int, batch: int) -> int:
        """Return the memory while a level is sampled."""
        both = 2 if self.guidance is not None and self.guidance.weak is None else 1  # asked and unasked in one batch
        frames = 0
        if self.request.trajectory:
            frames = 4 * math.prod(self.generator.shape) * self.generator.channels * FRAMES_PER_LEVEL
            frames *= (index + 1) * batch
        working = sampling(self.configs[0], index, both * batch, self.dtype).working if self.configs else 0
        return self.held + working + frames

    def seconds(self) -> tuple[list[float], float]:
        """Return the time of a step of each level, and of all that follows the steps."""
        guidance = replace(self.guidance, interval=None) if self.guidance else None
        steps, last = [], perf_counter()
        for step in self.generator.sample(
            [self.request.seed] * self.batch,
            condition=self.conditions.tensors(range(1, self.batch + 1), self.device),
            hooks=[guidance] if guidance else [],
            sampler=cast(SamplerName | None, self.request.sampler),
            steps=self._tried,
            eta=self.request.eta,
            refine_from=None,
            dtype=self.dtype,
        ):
            settle(self.device)
            now = perf_counter()
            if step.step == self._tried[step.level] - 1:
                steps.append((now - last) * self._guided(step.level) * self._refined(step.level))
            last = now
        begun = perf_counter()
        volume = as_volume(step.volume()[0], self.generator.spacing)
        if self.generator.card.skull_stripped:
            volume = replace(volume, data=clear_background(volume.data))
        with PrivateFolder() as folder:
            save_volume(volume, Path(folder) / "volume.nii.gz")
        written = perf_counter() - begun
        frames = FRAMES_PER_LEVEL * self.levels if self.request.trajectory else 0
        return steps, self.request.num_samples * written * (1 + frames)

    def _guided(self, index: int) -> float:
        """Return the cost of a level's mean step over that of a guided one, which takes two passes."""
        if self.guidance is None or self.guidance.interval is None or not self.configs:
            return 1.0
        low, high = self.guidance.interval
        sigmas = self.configs[0].levels[index].sampling_sigmas(self.steps[index])[:-1]
        return (1 + float(((sigmas >= low) & (sigmas <= high)).double().mean())) / 2

    def _refined(self, index: int) -> float:
        """Return the evaluations of a level over its steps: its refinement adds some."""
        level = self.configs[0].levels[index] if self.configs else None
        if level is None or level.refinement is None:
            return 1.0
        steps = self.steps[index]
        return 1 + (len(level.refinement_sigmas(steps)) - 1) / steps

    def advice(self, available: int) -> str:
        """Return the change that would make it fit."""
        for batch in (2**k for k in range(self.batch.bit_length() - 1, -1, -1)):
            if batch < self.batch and all(self.bytes(i, batch) <= available for i in range(self.levels)):
                return f"use batch size {batch}"
        return "use a device with more memory" if self.device.type == "cpu" else "use the CPU"
