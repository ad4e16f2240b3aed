"""What a generation will cost: memory counted level by level, time measured by three real steps of each."""

import math
import tempfile
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import cast

import torch

from braindiffusion.devices import choose_device, choose_precision
from braindiffusion.diffusion.samplers import SamplerName
from braindiffusion.estimate.device import free_bytes, held_bytes, settle
from braindiffusion.estimate.memory import parameters, sampling
from braindiffusion.estimate.result import Estimate, LevelEstimate
from braindiffusion.generation.background import clear_background
from braindiffusion.generation.guidance import guidance_from
from braindiffusion.generation.inputs import Conditions
from braindiffusion.generation.outputs import FRAMES_PER_LEVEL, as_volume
from braindiffusion.generation.sampling import sample_cascade
from braindiffusion.models.cascade import load_cascade, trained_levels
from braindiffusion.models.registry import find_model
from braindiffusion.runs import GenerateRequest
from braindiffusion.volume import save_volume

TRIED = 3
"""Steps of each level: the first chooses kernels, the last may be another (of a sampler of second order)."""


def estimate_generation(request: GenerateRequest) -> Estimate:
    """Memory and time of making all samples by this process on its device.

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
    """A generation that is made ready and does not begin.

    Attributes:
        begun: seconds that it took to make it ready.
    """

    def __init__(self, request: GenerateRequest) -> None:
        begun = perf_counter()
        self.request = request
        self.cascade, card = load_cascade(find_model(request.model))
        self.config, self.levels = self.cascade.config, trained_levels(card)
        self.stripped = (card.get("preprocessing") or {}).get("skull") == "strip"
        self.conditions = Conditions(request, self.config)
        self.guidance, _ = guidance_from(request, self.cascade, asked=bool(self.conditions))
        self.device = choose_device(request.device)
        self.dtype = choose_precision(self.device, request.precision)
        weak = self.guidance.weak if self.guidance else None
        self.models = [self.cascade, *([weak] if weak else [])]
        for model in self.models:
            model.to(self.device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.batch = min(request.batch_size, request.num_samples)
        self.batches = math.ceil(request.num_samples / request.batch_size)
        self.steps = self.config.steps(request.steps)[: self.levels]
        self.held = held_bytes(self.device)  # on a CPU the models are among it
        if self.device.type != "cpu":
            self.held = sum(sum(parameters(model.config)) for model in self.models)
        self.begun = perf_counter() - begun

    def bytes(self, index: int, batch: int) -> int:
        """Of memory while a level works."""
        both = 2 if self.guidance is not None and self.guidance.weak is None else 1  # asked and unasked in one batch
        frames = 0
        if self.request.trajectory:
            frames = 4 * math.prod(self.config.shape) * self.config.channels * FRAMES_PER_LEVEL * (index + 1) * batch
        return self.held + sampling(self.config, index, both * batch, self.dtype).working + frames

    def seconds(self) -> tuple[list[float], float]:
        """Of a step of each level, and of all that comes after the steps."""
        guidance = replace(self.guidance, interval=None) if self.guidance else None
        steps, last = [], perf_counter()
        for step in sample_cascade(
            self.cascade,
            [self.request.seed] * self.batch,
            condition=self.conditions.tensors(range(1, self.batch + 1), self.device),
            guidance=guidance,
            sampler=cast(SamplerName | None, self.request.sampler),
            steps=TRIED,
            eta=self.request.eta,
            until=self.levels - 1,
            dtype=self.dtype,
        ):
            settle(self.device)
            now = perf_counter()
            if step.step == TRIED - 1:
                steps.append((now - last) * self._guided(step.level))
            last = now
        begun = perf_counter()
        volume = as_volume(step.volume()[0], self.cascade)
        if self.stripped:
            volume = replace(volume, data=clear_background(volume.data))
        with tempfile.TemporaryDirectory() as folder:
            save_volume(volume, Path(folder) / "volume.nii.gz")
        written = perf_counter() - begun
        frames = FRAMES_PER_LEVEL * self.levels if self.request.trajectory else 0
        return steps, self.request.num_samples * written * (1 + frames)

    def _guided(self, index: int) -> float:
        """Cost of a level's mean step, of one that is guided: outside of the interval one evaluation is enough."""
        if self.guidance is None or self.guidance.interval is None:
            return 1.0
        low, high = self.guidance.interval
        sigmas = self.config.levels[index].sampling_sigmas(self.steps[index])[:-1]
        return (1 + float(((sigmas >= low) & (sigmas <= high)).double().mean())) / 2

    def advice(self, available: int) -> str:
        """What would make it fit."""
        for batch in (2**k for k in range(self.batch.bit_length() - 1, -1, -1)):
            if batch < self.batch and all(self.bytes(i, batch) <= available for i in range(self.levels)):
                return f"use batch size {batch}"
        return "use a device with more memory" if self.device.type == "cpu" else "use the CPU"
