"""Distillation: a copy of a level learns to take several sampling steps, with their guidance, at once.

The model (the teacher) generates brains with its own settings. Of these, the states at a few noise levels are kept.
Between two of them the path is deterministic, so that the estimates D are known from which the sampler's steps lead
from each state to the next. The copy (the student) learns these. It is the target of progressive distillation (Salimans
and Ho 2022), guided (Meng et al. 2023), on whole paths of the teacher, as in consistency mid-training (Hu et al. 2025,
arXiv 2509.24526); but the sampler is DPM-Solver++(2M), whose steps lead nearly there with the teacher's own estimates,
so that little is left to learn.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from braindiffusion.diffusion.condition import Condition
from braindiffusion.diffusion.denoiser import Denoiser
from braindiffusion.diffusion.samplers import dpmpp_2m
from braindiffusion.files import replacing
from braindiffusion.models.cascade.cascade import Level, Window
from braindiffusion.models.generator import LevelContext
from braindiffusion.training.optimizers import clip_gradients

LAST_SIGMA = 1.6
"""The last of n steps starts at the teacher's lowest noise level that is not below this over n squared."""
CROP, MARGIN = 1.5, 2
"""Edge of a crop, in training patches of the level, and sites at its border that are left out of the error: the teacher
saw what is beyond."""
CONVOLUTION_AXES = 5
"""Of the weights of a 3D convolution."""
WARMUP, MAX_NORM = 20, 1.0
"""Steps until the learning rate is reached, and the length to which gradients are cut."""


def chosen_noise_levels(sigmas: Tensor, steps: int) -> tuple[int, ...]:
    """Return which of a teacher's noise levels a student stops at, as indices; the last is that of the final 0.

    Args:
        sigmas: falling, with a final 0, as samplers take them.
        steps: of the student; no more than the teacher's.
    """
    steps = min(steps, len(sigmas) - 1)
    last = max(int((sigmas >= LAST_SIGMA / steps**2).sum()), steps) - 1
    indices = np.linspace(0, last, steps).round().astype(int)
    return (*indices.tolist(), len(sigmas) - 1)


@dataclass(frozen=True)
class Trajectory:
    """The path of a teacher from noise to its sample, at one level of one brain.

    Attributes:
        states: (states, bands, x, y, z), the last is the sample.
        sigmas: (states,) noise levels, falling to 0.
        box: (3, 2) first and last (exclusive) site that the level computed on each axis; all others are air.
        condition: what was asked for, batch of one; None where nothing was.
        coarse: (1, channels, x, y, z) normalised coarse band with its noise; None at level 0.
        coarse_sigma: (1,).
    """

    states: Tensor
    sigmas: Tensor
    box: Tensor
    condition: Condition | None
    coarse: Tensor | None = None
    coarse_sigma: Tensor | None = None

    @property
    def window(self) -> Window:
        """The box as slices."""
        x, y, z = (slice(int(first), int(last)) for first, last in self.box)
        return x, y, z

    def save(self, path: Path) -> None:
        """Write it to a file, which is whole or absent."""
        tensors = {name: getattr(self, name) for name in ("states", "sigmas", "box", "coarse", "coarse_sigma")}
        tensors |= {f"condition.{name}": value for name, value in (self.condition or {}).items()}
        with replacing(path) as part:
            save_file({name: t.cpu().contiguous() for name, t in tensors.items() if t is not None}, part)

    @classmethod
    def load(cls, path: Path, device: torch.device) -> "Trajectory":
        """Read what `save` wrote."""
        tensors = {name: t.to(device) for name, t in load_file(path).items()}
        condition = {n.removeprefix("condition."): tensors.pop(n) for n in [*tensors] if n.startswith("condition.")}
        return cls(condition=condition or None, **tensors)


class Recorder:
    """A hook that keeps the path of a batch of one. It comes after guidance, which is kept with it.

    Args:
        steps: of the student, by level; the other levels are left alone.
    """

    def __init__(self, steps: Mapping[int, int]) -> None:
        self._steps = steps
        self._found: dict[int, tuple[LevelContext, Condition | None, dict[float, Tensor]]] = {}

    def __call__(self, context: LevelContext, denoiser: Denoiser) -> Denoiser:
        """Return the denoiser of a level, with what comes in and what goes out last kept."""
        if context.level not in self._steps or context.moved:
            return denoiser
        kept = chosen_noise_levels(context.sigmas, self._steps[context.level])
        wanted = {float(np.float32(context.sigmas[index])) for index in kept}
        states: dict[float, Tensor] = {}

        def recorded(x: Tensor, sigma: Tensor, condition: Condition | None = None) -> Tensor:
            clean = denoiser(x, sigma, condition)
            if (level := float(sigma[0])) in wanted:
                states[level] = x[0].float()
            states[0.0] = clean[0].float()  # the last one is the sample
            self._found[context.level] = context, condition, states
            return clean

        return recorded

    def trajectories(self) -> dict[int, Trajectory]:
        """Return the paths by level, once the brain is done."""
        found = {}
        for level, (context, condition, states) in self._found.items():
            sigmas = sorted(states, reverse=True)
            computed = states[0.0].abs().sum(0) > 0  # outside of its box a level's estimate is 0
            sides = [computed.amax([a for a in range(3) if a != axis]).nonzero() for axis in range(3)]
            found[level] = Trajectory(
                torch.stack([states[sigma] for sigma in sigmas]),
                torch.tensor(sigmas),
                torch.tensor([[int(side.min()), int(side.max()) + 1] for side in sides]),
                condition,
                context.coarse,
                context.coarse_sigma,
            )
        return found


def targets(trajectory: Trajectory) -> list[Tensor]:
    """Return the estimates with which DPM-Solver++(2M) goes through the states of a path, one for each step.

    A step is x' = A + (sigma' / sigma) (x - A), where A = D + c (D - D of the step before), with c as in
    `samplers.dpmpp_2m`; c is 0 in the first step and in the last.
    """
    found: list[Tensor] = []
    last = math.nan
    for (x, reached), (sigma, lower) in zip(
        pairwise(trajectory.states), pairwise(trajectory.sigmas.tolist()), strict=True
    ):
        ratio = lower / sigma
        ahead = (reached - ratio * x) / (1 - ratio)
        if found and lower:
            share = math.log(sigma / lower) / (2 * last)
            ahead = (ahead + share * found[-1]) / (1 + share)
        last = math.log(sigma / lower) if lower else last
        found.append(ahead)
    return found


def learning_names(level: Level) -> list[str]:
    """Return the names of the parameters that a student changes: all but the convolutions at coarser resolutions.

    These hold most of the parameters, and with all others a student comes as near in less time.
    """
    coarse = re.compile(r"unet\.(down|up)_blocks\.[1-9]")
    return [n for n, p in level.named_parameters() if p.ndim < CONVOLUTION_AXES or not coarse.match(n)]


class Student:
    """A level that learns from trajectories.

    Args:
        level: a copy of the teacher's, which is changed.
        names: of its parameters that may change.
        learning_rate: of AdamW; it falls to zero over the last half.
        steps: of the whole training.
    """

    def __init__(self, level: Level, names: Sequence[str], learning_rate: float, steps: int) -> None:
        self.level, self.steps, self.learning_rate, self.step = level, steps, learning_rate, 0
        for name, parameter in level.named_parameters():
            parameter.requires_grad_(name in names)
        learning = [parameter for parameter in level.parameters() if parameter.requires_grad]
        self._optimizer = torch.optim.AdamW(learning, learning_rate, betas=(0.9, 0.99), weight_decay=0.0)

    def train(self, batch: Sequence[Trajectory], random: np.random.Generator) -> float:
        """Take a step of the optimizer, and return the mean squared error: each trajectory gives one step of its path.

        Raises:
            NotFiniteError: the error or its gradient is no number.
        """
        self.level.train()
        left = 1 - self.step / self.steps
        for group in self._optimizer.param_groups:
            group["lr"] = self.learning_rate * min(1.0, (self.step + 1) / WARMUP, 2 * left)
        self._optimizer.zero_grad(set_to_none=True)
        total, begin = 0.0, int(random.integers(1 << 30))
        for number, trajectory in enumerate(batch, start=begin):
            error = self._error(trajectory, number % (len(trajectory.sigmas) - 1), random) / len(batch)
            error.backward()
            total += float(error.detach())
        clip_gradients(self.level, MAX_NORM, f"level {self.level.index}", self.step + 1)
        self._optimizer.step()
        self.step += 1
        return total

    def _error(self, trajectory: Trajectory, index: int, random: np.random.Generator) -> Tensor:
        """Return the squared error of the estimate in one step of a path, in a random crop."""
        x, sigma, target = trajectory.states[index], trajectory.sigmas[index], targets(trajectory)[index]
        crop, inner = self._crop(trajectory.window, random)
        estimate = _denoiser(self.level, trajectory, crop)(x[None], sigma[None], trajectory.condition)[0]
        return (estimate - target)[:, *inner].square().mean()

    def _crop(self, box: Window, random: np.random.Generator) -> tuple[Window, Window]:
        """Return a random part of a box, and what of it counts; of levels that saw whole volumes, all of it."""
        if self.level.config.patch is None:
            return box, box
        crop, inner = [], []
        for side in box:
            edge = min(round(CROP * self.level.config.patch), side.stop - side.start) // 2 * 2  # the U-Net halves
            start = int(random.integers(side.start, side.stop - edge + 1)) // 2 * 2
            stop = start + edge
            crop.append(slice(start, stop))
            # The teacher's box ends there, too.
            inner.append(slice(start + MARGIN * (start > side.start), stop - MARGIN * (stop < side.stop)))
        return (crop[0], crop[1], crop[2]), (inner[0], inner[1], inner[2])


@torch.inference_mode()
def distance(level: Level, trajectory: Trajectory) -> float:
    """Return how far the sample of a level is that steps where a teacher stopped, from the same noise.

    Returns:
        squared distance to the teacher's sample, as a share of its mean square.
    """
    *_, last = dpmpp_2m(
        _denoiser(level.eval(), trajectory, trajectory.window),
        trajectory.states[:1],
        trajectory.sigmas,
        trajectory.condition,
    )
    there, here = (states[:, *trajectory.window] for states in (trajectory.states[-1], last.x[0]))
    return float((here - there).square().mean() / there.square().mean())


def _denoiser(level: Level, trajectory: Trajectory, window: Window) -> Denoiser:
    windows = None if level.config.patch is None else [window]
    return level.denoiser(trajectory.coarse, trajectory.coarse_sigma, windows)
