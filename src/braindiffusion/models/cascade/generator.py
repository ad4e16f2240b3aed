"""The cascade as a `Generator`: the kind of model that a card without a kind is of."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from braindiffusion.conditions import ConditionSchema
from braindiffusion.devices import CompiledNetwork, choose_layout, compile_after
from braindiffusion.diffusion.condition import Condition
from braindiffusion.diffusion.denoiser import Denoiser
from braindiffusion.diffusion.samplers import SamplerName
from braindiffusion.models.card import ModelCard, trained_levels
from braindiffusion.models.cascade.cascade import CUDA_BOX_MULTIPLE, Cascade
from braindiffusion.models.cascade.files import load_cascade
from braindiffusion.models.cascade.sampling import CascadeStep, blocks, sample_cascade
from braindiffusion.models.generator import BandEdit, Generator, Hook, LevelContext


class SampledCascade:
    """A trained cascade, see `Generator`. Of one that was distilled, this is all that can be done with it.

    Args:
        cascade: the network.
        card: tells which levels have been trained.
    """

    def __init__(self, cascade: Cascade, card: ModelCard) -> None:
        self.cascade, self.card = cascade, card
        self._prepared: tuple[torch.device, torch.memory_format, int | None] | None = None
        self.levels = cascade.config.number_of_levels
        if card.level_steps:
            self.levels = min(self.levels, trained_levels(card.level_steps))

    @property
    def conditions(self) -> ConditionSchema:
        """Schema of its conditions."""
        return self.cascade.config.condition

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels (x, y, z)."""
        return self.cascade.config.shape

    @property
    def spacing(self) -> float:
        """Voxel size in mm."""
        return self.cascade.config.spacing

    @property
    def channels(self) -> int:
        """Channels of its volumes."""
        return self.cascade.config.channels

    @property
    def device(self) -> torch.device:
        """Device of its weights."""
        return next(self.cascade.parameters()).device

    @property
    def voxel_sizes(self) -> tuple[float, ...]:
        """Voxel size in mm of the band that each trained level hands on."""
        config = self.cascade.config
        return tuple(config.spacing * 2 ** (config.halvings(i) - (config.bands(i) > 1)) for i in range(self.levels))

    def to(self, device: torch.device) -> None:
        """Move the weights, in the memory layout that is fastest, and compile the networks where that pays."""
        layout, after = choose_layout(device), compile_after(device)
        if self._prepared == (device, layout, after):  # to go through all weights takes as long as a preview's step
            return
        self._prepared = device, layout, after
        self.cascade.to(device)
        for index in range(self.cascade.config.number_of_levels):
            level = self.cascade.level(index)
            level.lay_out(layout)
            level.box_multiple = CUDA_BOX_MULTIPLE if device.type == "cuda" else 1
            if after is None:
                level.compiled = None
            elif level.compiled is None:
                level.compiled = CompiledNetwork(level.unet, after)

    def steps(self, steps: int | Sequence[int] | None = None) -> tuple[int, ...]:
        """Return the sampler steps of each trained level."""
        return self.cascade.config.steps(steps)[: self.levels]

    def samplers(self, sampler: SamplerName | None = None) -> tuple[SamplerName, ...]:
        """Return the sampler of each trained level."""
        return tuple(sampler or level.sampler for level in self.cascade.config.levels[: self.levels])

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
    ) -> Iterator[CascadeStep]:
        """Generate volumes, one for each seed."""
        return sample_cascade(
            self.cascade,
            seeds,
            condition=condition,
            hooks=hooks,
            edit_band=edit_band,
            sampler=sampler,
            steps=steps,
            eta=eta,
            levels=min(levels or self.levels, self.levels),
            refine_from=refine_from,
            dtype=dtype,
        )


class CascadeGenerator(SampledCascade):
    """A trained cascade whose levels can be asked at any noise level, see `EditableGenerator`."""

    def denoiser(self, context: LevelContext, where: Tensor | None = None) -> Denoiser:
        """Return D(x, sigma, condition) of a level, without hooks; levels trained on patches compute a box only."""
        level = self.cascade.level(context.level)
        windows = context.windows if where is None else [level.window(where)] * len(context.seeds)
        windows = None if level.config.patch is None else windows
        return level.denoiser(context.coarse, context.coarse_sigma, windows, moved=context.moved)

    def coefficients(self, volume: Tensor, level: int) -> Tensor:
        """Return the normalised coefficients that a level would generate of a volume, (batch, bands, x, y, z)."""
        module = self.cascade.level(level)
        bands = module.normalise(self.cascade.decompose(volume, level))
        return bands[:, int(module.has_coarse) :].flatten(1, 2)

    def coarse_band(self, volume: Tensor, level: int) -> Tensor | None:
        """Return the normalised coarse band that a level is given of a volume; None at level 0."""
        module = self.cascade.level(level)
        if not module.has_coarse:
            return None
        return module.normalise(self.cascade.decompose(volume, level))[:, 0]

    def assemble(self, level: int, coarse: Tensor | None, coefficients: Tensor | None = None) -> Tensor:
        """Return the volume of a level's normalised coefficients, finer detail zero, not clipped."""
        module = self.cascade.level(level)
        if coarse is not None:
            coarse = coarse * module.std[0] + module.mean[0]
        halvings = self.cascade.config.halvings(level)
        if coefficients is None:
            if coarse is None:
                msg = "Level 0 has no coarse band to make a volume of."
                raise ValueError(msg)
            return blocks(coarse, halvings)
        band = self.cascade.reconstruct(level, coefficients, coarse)
        return blocks(band, halvings - (self.cascade.config.bands(level) > 1))

    def generates_as(self, other: Generator) -> bool:
        """Return whether another cascade has the same bands, constants and conditions; networks may differ."""
        if not isinstance(other, CascadeGenerator):
            return False
        a, b = ({**one.cascade.config.model_dump(), "levels": None} for one in (self, other))
        buffers = zip(self.cascade.buffers(), other.cascade.buffers(), strict=True)
        return a == b and all(torch.equal(x, y) for x, y in buffers)


def load_generator(folder: Path) -> SampledCascade:
    """Read a model folder of this kind: a `CascadeGenerator`, unless it was distilled.

    Raises:
        BrainDiffusionError: a file is missing, damaged, or of another model.
    """
    cascade, card = load_cascade(folder)
    return SampledCascade(cascade, card) if card.distilled else CascadeGenerator(cascade, card)
