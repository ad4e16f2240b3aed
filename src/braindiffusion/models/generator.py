"""The protocol that every kind of generative model follows, and the hooks around its denoisers.

Jobs, editing and evaluation know this protocol only. `braindiffusion.models.registry` lists the kinds.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from braindiffusion.conditions import ConditionSchema
from braindiffusion.diffusion.condition import Condition
from braindiffusion.diffusion.denoiser import Denoiser
from braindiffusion.diffusion.samplers import SamplerName
from braindiffusion.models.card import ModelCard


@dataclass(frozen=True)
class LevelContext:
    """Context of a hook: the level whose denoiser it wraps.

    Attributes:
        level: 0 is the coarsest. A model without levels has this one only.
        seeds: one for each sample of the batch.
        sigmas: noise levels of the sampler, falling, (steps + 1,).
        coarse: (batch, channels, x, y, z), the normalised coarse band that the level is given; None at level 0.
        coarse_sigma: (batch,), noise level of that band; None at level 0.
        moved: whether the level's grid is moved by half a site (`cascade.refinement`): its coefficients are then not
            those of `EditableGenerator.coefficients`, and a hook that knows some of these returns the denoiser it got.
        windows: the box of sites (x, y, z) of each sample outside of which the level takes its estimate for 0; None
            where it computes all.
    """

    level: int
    seeds: tuple[int, ...]
    sigmas: Tensor
    coarse: Tensor | None = None
    coarse_sigma: Tensor | None = None
    moved: bool = False
    windows: Sequence[tuple[slice, slice, slice]] | None = None


Hook = Callable[[LevelContext, Denoiser], Denoiser]
"""Wraps the denoiser of a level: D in, D out."""

BandEdit = Callable[[int, Tensor], Tensor]
"""Changes the normalised coarse band that a level is given: (level, band without noise) to band, of the same shape."""


def apply_hooks(hooks: Sequence[Hook], context: LevelContext, denoiser: Denoiser) -> Denoiser:
    """Return a denoiser with hooks around it.

    The first hook wraps the network, each further one wraps all before it. Guidance comes first: it evaluates the
    network twice in one batch. A hook that replaces known coefficients comes later, so that guidance does not
    extrapolate what it replaced.
    """
    for hook in hooks:
        denoiser = hook(context, denoiser)
    return denoiser


@dataclass(frozen=True)
class GenerationStep:
    """One sampler step.

    Attributes:
        level: 0 is the coarsest.
        step: of this level, from 1. Step 0, which level 0 begins with, is the initial noise.
        of: steps of this level.
        sigma: noise level that is left at this level.
        denoised: (batch, channels, x, y, z), the estimate of what this level hands on.
        noisy: returns the noisy sample, shaped as `denoised`.
    """

    level: int
    step: int
    of: int
    sigma: float
    denoised: Tensor
    noisy: Callable[[], Tensor]

    @property
    def last(self) -> bool:
        """Whether `volume()` is the result at full resolution."""
        return self.step == self.of

    def volume(self) -> Tensor:
        """Return the denoised estimate as a volume, (batch, channels, x, y, z) in [-1, 1]."""
        return self.denoised.clamp(-1, 1)

    def smooth(self) -> Tensor:
        """Return the denoised estimate for display: detail that is missing is interpolated."""
        return self.volume()

    def noisy_volume(self) -> Tensor:
        """Return the noisy sample as a volume, scaled to unit variance, (batch, channels, x, y, z) in [-1, 1]."""
        return self.noisy().clamp(-1, 1)


class SeededNoise:
    """Unit noise for a batch, each sample from its own seed: sample i does not depend on the rest of the batch."""

    def __init__(self, seeds: Sequence[int], level: int, shape: tuple[int, ...], device: torch.device) -> None:
        self._shape, self._device = shape, device
        keys = (int(np.random.default_rng((abs(seed), seed < 0, level)).integers(2**62)) for seed in seeds)
        self._generators = [torch.Generator().manual_seed(key) for key in keys]

    def __call__(self, *shape: int) -> Tensor:
        """Draw (batch, *shape); without a shape, that of the level's coefficients."""
        wanted = shape or self._shape
        drawn = [torch.randn(wanted, generator=generator) for generator in self._generators]
        return torch.stack(drawn).to(self._device)


class Generator(Protocol):
    """A model that makes brains.

    Attributes:
        card: what it was trained on, and how well it does.
    """

    card: ModelCard

    @property
    def conditions(self) -> ConditionSchema:
        """Schema of its conditions."""
        ...

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels of its volumes (x, y, z), RAS+."""
        ...

    @property
    def spacing(self) -> float:
        """Voxel size in mm, isotropic."""
        ...

    @property
    def channels(self) -> int:
        """Channels of its volumes."""
        ...

    @property
    def device(self) -> torch.device:
        """Device of its weights."""
        ...

    @property
    def voxel_sizes(self) -> tuple[float, ...]:
        """Voxel size in mm of what each trained level hands on, coarsest first; one entry for each level."""
        ...

    def to(self, device: torch.device) -> None:
        """Move it to a device."""
        ...

    def steps(self, steps: int | Sequence[int] | None = None) -> tuple[int, ...]:
        """Return the sampler steps of each trained level; None takes the model's own.

        Raises:
            BrainDiffusionError: there is not one number for each level.
        """
        ...

    def samplers(self, sampler: SamplerName | None = None) -> tuple[SamplerName, ...]:
        """Return the sampler of each trained level; None takes the model's own."""
        ...

    def sample(
        self,
        seeds: Sequence[int],
        *,
        condition: Condition | None = None,
        hooks: Sequence[Hook] = (),
        edit_band: BandEdit | None = None,
        sampler: SamplerName | None = None,
        steps: int | Sequence[int] | None = None,
        eta: float = 0.0,
        levels: int | None = None,
        refine_from: int | None = 0,
        dtype: torch.dtype = torch.float32,
    ) -> Iterator[GenerationStep]:
        """Generate volumes, one for each seed.

        Args:
            seeds: one for each sample of the batch. One seed makes one brain, whatever the batch.
            condition: a tensor for each field, on the same device; None leaves all to the model.
            hooks: around the denoiser of every level, see `apply_hooks`. Guidance is one.
            edit_band: changes the band that a level hands on to the next one.
            sampler: of every level; None takes the model's own.
            steps: sampler steps, see `steps`.
            eta: DDIM's.
            levels: how many levels to run, coarsest first; None runs all that are trained.
            refine_from: the first level that may be sampled once more on a moved grid, where the model does so; None
                is none. That changes what hooks and `edit_band` keep of a volume.
            dtype: precision of the network. Noise levels, noise and samples are float32.

        Yields:
            the initial noise, then each step; the last one's `volume()` is the result.
        """
        ...


@runtime_checkable
class EditableGenerator(Generator, Protocol):
    """A `Generator` with which real volumes can be edited, and which can guide another."""

    def denoiser(self, context: LevelContext, where: Tensor | None = None) -> Denoiser:
        """Return D(x, sigma, condition) of a level, without hooks.

        Args:
            context: the level.
            where: (x, y, z) bool, the voxels whose estimate is needed; a level may leave all others 0 and save time.
                None is those of the context's windows.
        """
        ...

    def coefficients(self, volume: Tensor, level: int) -> Tensor:
        """Return what a level would generate of a volume: normalised coefficients, (batch, bands, x, y, z).

        Args:
            volume: (batch, channels, x, y, z) in [-1, 1].
            level: the level.
        """
        ...

    def coarse_band(self, volume: Tensor, level: int) -> Tensor | None:
        """Return the normalised coarse band that a level is given of a volume, without noise; None at level 0."""
        ...

    def assemble(self, level: int, coarse: Tensor | None, coefficients: Tensor | None = None) -> Tensor:
        """Return the volume of a level's coefficients; detail that finer levels would add is zero.

        Args:
            level: the level.
            coarse: its normalised coarse band without noise, (batch, channels, x, y, z); None at level 0.
            coefficients: normalised, (batch, bands, x, y, z); None where the level's detail is zero, too.

        Returns:
            (batch, channels, x, y, z), not clipped.
        """
        ...

    def generates_as(self, other: "Generator") -> bool:
        """Return whether another model makes the same coefficients from the same conditions."""
        ...
