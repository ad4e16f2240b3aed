"""The configuration of a cascade: networks, training noise and sampling of each level, as its card has it."""

import itertools
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from braindiffusion.cohort.preprocessing import Side, check_size
from braindiffusion.conditions import ConditionSchema, MapField
from braindiffusion.diffusion.denoiser import Prediction
from braindiffusion.diffusion.noise import NoiseSchedule, Schedule, lognormal_sigmas
from braindiffusion.diffusion.samplers import SamplerName
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.regions.codes import CHANNELS as CODE_CHANNELS
from braindiffusion.runs.requests.base import Content

MOST_SIGMA = 1e6
Width = Annotated[int, Field(ge=1, le=16_384)]
Blocks = Annotated[int, Field(ge=0, le=100)]


class _Config(BaseModel):
    """Numbers are bounded, so that a card cannot ask for memory or time without end."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class UNetConfig(_Config):
    """A 3D U-Net: one entry of `widths` and `blocks` for each resolution, finest first."""

    network: Literal["unet", "monai"] = "unet"
    """`monai` is MONAI's `DiffusionModelUNet` (the extra `monai`), for levels of whole volumes."""
    widths: tuple[Width, ...] = Field(default=(32, 128), min_length=1)
    """Channels."""
    blocks: tuple[Blocks, ...] = (1, 2)
    """Residual blocks on the way down, and as many on the way up."""
    attention: tuple[bool, ...] = (False, False)
    """Full self-attention after each block. Only where tokens are few, and never in a level that trains on patches."""
    embedding: int = Field(default=256, ge=8, le=16_384)
    """Width of the noise-level embedding."""
    map_width: int = Field(default=32, ge=1, le=16_384)
    """Features that a label map becomes at each site, where the model has one among its conditions."""
    map_places: int = Field(default=4, ge=1, le=64)
    """Places along the edge of a site at which a label map is read: as many as it has voxels, 8 at the two coarsest
    levels of a cascade of depth 3, tell the most. Models of earlier versions were trained with 4."""
    checkpointing: bool = False
    """Forget what each block computed and compute it again on the way back: less memory, a third more time."""

    @model_validator(mode="after")
    def _same_length(self) -> "UNetConfig":
        if not len(self.widths) == len(self.blocks) == len(self.attention):
            msg = "widths, blocks and attention need one entry for each resolution."
            raise ValueError(msg)
        if self.network == "monai" and (any(width % 8 for width in self.widths) or not all(self.blocks)):
            msg = "a network of MONAI's needs widths in multiples of 8, and a block at each resolution."
            raise ValueError(msg)
        return self


class LevelConfig(_Config):
    """One level of the cascade: its network, how it learns, how it is sampled.

    Sigmas are in units of the normalised coefficients' standard deviation.
    """

    unet: UNetConfig = UNetConfig()
    prediction: Prediction = "v"
    """What the network predicts: `v`, `flow`, `x0`, `noise` or `edm`."""
    patch: int | None = Field(default=None, ge=1)
    """Edge of the training patches in coefficient sites; None trains on whole volumes."""
    noise: Literal["lognormal", "schedule"] = "lognormal"
    """Noise levels of training: log-normal (Karras et al. 2022, table 1), or even in the time of `schedule`."""
    log_sigma_mean: float = Field(default=-0.3, ge=-20, le=20)
    log_sigma_std: float = Field(default=1.3, gt=0, le=20)
    coarse_sigma_max: float = Field(default=0.3, ge=0, le=MOST_SIGMA)
    """Highest noise level of the coarse band in training: a level learns to correct errors of the level before it."""
    coarse_sigma: float = Field(default=0.03, ge=0, le=MOST_SIGMA)
    """Noise level of the coarse band in sampling."""
    sampler: SamplerName = "ddim"
    steps: int = Field(default=10, ge=1, le=10_000)
    """Sampler steps."""
    noise_levels: tuple[Annotated[float, Field(gt=0, le=MOST_SIGMA)], ...] | None = None
    """Noise levels of the sampler, falling, without the final 0, of a level that was distilled: it has learnt to step
    between these alone. None takes those of `schedule`."""
    schedule: Schedule = "karras"
    """Noise levels of the sampler: see `NoiseSchedule`, which the next five are of, too."""
    sigma_min: float = Field(default=0.01, gt=0)
    sigma_max: float = Field(default=20.0, gt=0, le=MOST_SIGMA)
    rho: float = Field(default=7.0, ge=0.1, le=1000)
    """Spacing of `karras` (Karras et al. 2022, equation 5)."""
    zero_terminal_snr: bool = False
    shift: float = Field(default=1.0, gt=0, le=1000)
    temperature: float = Field(default=1.0, ge=0, le=1)
    """Scale of the noise that sampling starts from. For Gaussian data the sample is the conditional mean plus this
    times the spread: below 1, a level that has not learnt its finest texture gives less of it, and cleaner."""
    refinement: float | None = Field(default=None, gt=0, le=MOST_SIGMA)
    """Noise level from which a level samples once more on a moved grid (`models.cascade.refinement`); None does not,
    nor does the coarsest level, which has no blocks."""

    def refinement_sigmas(self, steps: int) -> Tensor:
        """Noise levels of the refinement, falling, with a final 0: its own, then those of the sampler below it."""
        first = self.refinement or 0.0
        below = [sigma for sigma in self.sampling_sigmas(steps).tolist() if sigma < first * (1 - 1e-6)]
        return torch.tensor([first, *below], dtype=torch.float64)

    def sampling_sigmas(self, steps: int) -> Tensor:
        """Noise levels of the sampler, falling, with a final 0: (steps + 1,) float64; a distilled level has its own."""
        if self.noise_levels is None:
            return self._schedule().sampling_sigmas(steps)
        return torch.tensor([*self.noise_levels, 0.0], dtype=torch.float64)

    def training_sigmas(self, count: int, generator: torch.Generator) -> Tensor:
        """Noise levels of a training batch: (count,) float32."""
        if self.noise == "schedule":
            return self._schedule().training_sigmas(count, generator)
        return self.shift * lognormal_sigmas(count, self.log_sigma_mean, self.log_sigma_std, generator)

    def _schedule(self) -> NoiseSchedule:
        return NoiseSchedule(
            self.schedule, self.sigma_max, self.sigma_min, self.rho, self.zero_terminal_snr, self.shift
        )

    @model_validator(mode="after")
    def _valid_schedule(self) -> "LevelConfig":
        self._schedule()  # says what is wrong with it
        if self.noise_levels is not None and (
            len(self.noise_levels) != self.steps
            or any(low >= high for high, low in itertools.pairwise(self.noise_levels))
        ):
            msg = f"noise_levels must be {self.steps} numbers, as many as steps, that fall."
            raise ValueError(msg)
        if self.noise_levels is not None and self.refinement not in (None, *self.noise_levels):
            msg = "refinement must be one of noise_levels: a level that was distilled knows these alone."
            raise ValueError(msg)
        if self.unet.network == "monai" and self.patch is not None:
            msg = "a network of MONAI's normalizes over space, and cannot train on patches: leave patch out."
            raise ValueError(msg)
        return self


class CascadeConfig(_Config):
    """A volume, how often the Haar transform takes it apart, and the levels that put it together, coarsest first.

    `depth` 0 with one level is pixel space; `depth` 1 with `joint_base` is the one-level Haar model (WDM, WaveDiT).
    """

    shape: tuple[Side, Side, Side] = (80, 104, 88)
    """Voxels of the volume."""
    spacing: float = Field(default=2.0, gt=0, le=50)
    """Millimetres."""
    channels: int = Field(default=1, ge=1, le=1000)
    """Channels of the volume."""
    content: Content = "image"
    """What the volume is: intensities, or a region map in the codes of `braindiffusion.regions.codes`."""
    depth: int = Field(default=3, ge=0, le=11)
    joint_base: bool = False
    """The base generates the coarsest band and its seven detail bands together."""
    levels: tuple[LevelConfig, ...]
    condition: ConditionSchema = ConditionSchema()
    """What the model can be asked for."""

    @model_validator(mode="after")
    def _fits(self) -> "CascadeConfig":
        check_size(self.shape, self.channels)
        if any(n % 2**self.depth for n in self.shape):
            msg = (
                f"shape {self.shape} cannot be halved {self.depth} times: make each side a multiple of {2**self.depth}."
            )
            raise ValueError(msg)
        if self.joint_base and not self.depth:
            msg = "joint_base needs depth of at least 1."
            raise ValueError(msg)
        if self.content == "regions" and self.channels != CODE_CHANNELS:
            msg = f"region maps have {CODE_CHANNELS} channels, not {self.channels}."
            raise ValueError(msg)
        if len(self.levels) != self.number_of_levels:
            msg = f"depth {self.depth} needs {self.number_of_levels} levels, not {len(self.levels)}."
            raise ValueError(msg)
        return self

    @property
    def has_maps(self) -> bool:
        """Whether it can be asked for label maps."""
        return any(isinstance(field, MapField) for field in self.condition.fields)

    @property
    def number_of_levels(self) -> int:
        """The base and the levels of details."""
        return self.depth if self.joint_base else self.depth + 1

    def steps(self, wanted: int | Sequence[int] | None = None) -> tuple[int, ...]:
        """Sampler steps of each level: these at every level, or these by level, or each level's own.

        Raises:
            BrainDiffusionError: not one number for each level, or another than a level was distilled for.
        """
        levels = self.number_of_levels
        if wanted is None:
            return tuple(level.steps for level in self.levels)
        by_level = (wanted,) * levels if isinstance(wanted, int) else tuple(wanted)
        if len(by_level) != levels:
            raise BrainDiffusionError(f"The model has {levels} levels: say one number of steps, or {levels}.", "steps")
        for index, (level, steps) in enumerate(zip(self.levels, by_level, strict=True)):
            if level.noise_levels is not None and steps != level.steps:
                msg = f"This model was distilled for {level.steps} steps at level {index}, not {steps}: leave out the"
                raise BrainDiffusionError(f"{msg} number of steps, or take the model it is distilled from.", "steps")
        return by_level

    def halvings(self, level: int) -> int:
        """Return the number of halvings from the volume to the grid of a level's coefficients."""
        return self.depth - level if self.joint_base or level == 0 else self.depth - level + 1

    def grid(self, level: int) -> tuple[int, int, int]:
        """Coefficient sites of a level (x, y, z)."""
        x, y, z = (n // 2 ** self.halvings(level) for n in self.shape)
        return x, y, z

    def bands(self, level: int) -> int:
        """Bands that a level generates: 1 (the coarsest, or pixels), 7 (details) or 8 (both)."""
        if level:
            return 7
        return 8 if self.joint_base else 1
