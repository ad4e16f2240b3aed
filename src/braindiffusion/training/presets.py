"""Presets: a cascade, and how each of its levels is trained."""

from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from braindiffusion.conditions import ConditionSchema
from braindiffusion.devices import memory_of
from braindiffusion.diffusion.weights import Weighting
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig, UNetConfig
from braindiffusion.training.augment import Warp


class LevelRecipe(BaseModel):
    """How one level is trained."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch_size: int = Field(ge=1)
    """Samples at once, of each process."""
    accumulate: int = Field(default=1, ge=1)
    """Batches that make one step: the step is that of a batch so many times as large, in the memory of one."""
    epochs: float = Field(gt=0)
    """Passes over the training subjects (one patch a subject and pass)."""
    augmented_copies: int = Field(default=2, ge=0)
    """Augmented versions of each brain: 2 only mirrors, the others differ by the next three; 0 takes it as it is."""
    affine: bool = True
    """Turn, scale and shift a little."""
    elastic: float = Field(default=0.0, ge=0, le=20)
    """Bend by up to so many mm."""
    bias: float = Field(default=0.0, ge=0, le=1)
    """Light unevenly: coefficients of the polynomial up to this; 0.1 is a few per cent."""
    learning_rate: float = Field(default=1e-3, gt=0)
    warmup: int = Field(default=100, ge=0)
    """Steps of linear warm-up."""
    constant: int = Field(default=1500, ge=1)
    """Steps after which the rate falls as one over the square root of the step (Karras et al. 2024)."""
    weight_decay: float = Field(default=1e-2, ge=0)
    """Of AdamW."""
    max_norm: float = Field(default=1.0, gt=0)
    """Gradients are clipped to this length."""
    weighting: Weighting = "none"
    """How much each noise level counts: see `diffusion.weights`."""
    min_snr_gamma: float = Field(default=5.0, gt=0)
    """Where the weight `min_snr` stops to grow."""
    band_weights: tuple[float, ...] | None = None
    """How much each band counts (7 for details, 1 for the coarsest), relative to each other; None counts all alike."""
    validations: int = Field(default=20, ge=1)
    """How often the held-out subjects are asked, evenly over the training."""
    patience: int | None = Field(default=None, ge=1)
    """Stop after so many validations without a better one; None trains to the end. What is best is kept either way."""
    snapshots: int = Field(default=8, ge=0)
    """How often both averages of the weights are written down, evenly: for an average of another width afterwards."""

    @model_validator(mode="before")
    @classmethod
    def _earlier_names(cls, values: Any) -> Any:
        """Read the field names of earlier preset files and model cards."""
        if isinstance(values, dict) and "variants" in values:
            values = {**values, "augmented_copies": values["variants"]}
            del values["variants"]
        return values

    @property
    def warp(self) -> Warp:
        """The deformations of the augmented copies."""
        return Warp(self.affine, self.elastic, self.bias)


class Preset(BaseModel):
    """A cascade without its shape and spacing, which come from the cohort."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = ""
    """What it is called in a model's card; empty for a file of one's own."""
    about: str = ""
    """What it is for."""
    depth: int
    levels: tuple[LevelConfig, ...]
    recipes: tuple[LevelRecipe, ...]

    @model_validator(mode="after")
    def _one_recipe_a_level(self) -> "Preset":
        if len(self.recipes) != len(self.levels):
            msg = "there must be one recipe for each level."
            raise ValueError(msg)
        return self

    def cascade(
        self, shape: tuple[int, int, int], spacing: float, channels: int, condition: ConditionSchema
    ) -> CascadeConfig:
        """The cascade for volumes of this shape; one level less or more where the shape asks for it.

        Raises:
            BrainDiffusionError: the shape cannot be halved so often.
        """
        if any(n % 2**self.depth for n in shape):
            side = 2**self.depth
            msg = f"Volumes of {shape} cannot be halved {self.depth} times: prepare sides in multiples of {side}."
            raise BrainDiffusionError(msg)
        return CascadeConfig(
            shape=shape, spacing=spacing, channels=channels, depth=self.depth, levels=self.levels, condition=condition
        )


def _below_the_finest(widths: tuple[int, ...]) -> tuple[bool, ...]:
    """Attention at every resolution but the finest, whose tokens cost more than they bring."""
    return (False,) + (True,) * (len(widths) - 1)


def _base(widths: tuple[int, ...], blocks: tuple[int, ...], steps: int) -> LevelConfig:
    unet = UNetConfig(widths=widths, blocks=blocks, attention=_below_the_finest(widths))
    return LevelConfig(unet=unet, log_sigma_mean=0.3, log_sigma_std=1.6, sigma_max=80.0, steps=steps)


def _details(widths: tuple[int, ...], blocks: tuple[int, ...], steps: int, *, attention: bool = False,
             patch: int | None = None) -> LevelConfig:  # fmt: skip
    attend = _below_the_finest(widths) if attention else (False,) * len(widths)
    unet = UNetConfig(widths=widths, blocks=blocks, attention=attend)
    return LevelConfig(unet=unet, patch=patch, steps=steps)


_TINY = Preset(
    name="tiny",
    about="about a minute on two laptop cores: shows that everything works, not what a brain looks like",
    depth=3,
    levels=(
        _base((16, 32), (1, 1), 12),
        _details((16, 32), (1, 1), 6, attention=True),
        _details((8, 16), (1, 1), 4, patch=12),
        _details((8, 16), (1, 1), 3, patch=12),
    ),
    recipes=(
        LevelRecipe(batch_size=4, epochs=10, augmented_copies=2),
        LevelRecipe(batch_size=4, epochs=10, augmented_copies=2),
        LevelRecipe(batch_size=2, epochs=5, augmented_copies=2),
        LevelRecipe(batch_size=2, epochs=5, augmented_copies=2),
    ),
)
# The packaged ixi-2mm was trained with it.
_LAPTOP = Preset(
    name="laptop",
    about="an afternoon or a night on a laptop without a GPU",
    depth=3,
    levels=(
        _base((48, 96), (1, 2), 30),
        _details((64, 128), (1, 2), 15, attention=True),
        _details((48, 128), (1, 2), 10, patch=16),
        _details((32, 128), (1, 2), 8, patch=16),
    ),
    recipes=(
        LevelRecipe(batch_size=8, epochs=150, augmented_copies=16),
        LevelRecipe(batch_size=8, epochs=100, augmented_copies=16),
        LevelRecipe(batch_size=4, epochs=100, augmented_copies=4),
        LevelRecipe(batch_size=4, epochs=200, augmented_copies=2),
    ),
)
# Those for GPUs are as large as fits beside a desktop at 1 mm, by the count of `braindiffusion.estimate`. How long they
# take was not measured; `estimate` tells on the GPU itself.
_GPU_8GB = Preset(
    name="gpu-8gb",
    about="a GPU of 8 GB",
    depth=3,
    levels=(
        _base((96, 192), (2, 3), 40),
        _details((96, 192), (2, 3), 20, attention=True),
        _details((64, 128, 192), (2, 3, 2), 15, patch=24),
        _details((48, 96, 192), (2, 3, 3), 12, patch=24),
    ),
    recipes=(
        LevelRecipe(batch_size=32, epochs=1600, augmented_copies=32, elastic=4.0, learning_rate=5e-4),
        LevelRecipe(batch_size=32, epochs=2000, augmented_copies=32, elastic=4.0, learning_rate=5e-4),
        LevelRecipe(batch_size=16, epochs=1000, augmented_copies=8, learning_rate=5e-4),
        LevelRecipe(batch_size=16, epochs=2000, augmented_copies=2, learning_rate=5e-4),
    ),
)
_GPU_24GB = Preset(
    name="gpu-24gb",
    about="a GPU of 24 GB",
    depth=3,
    levels=(
        _base((128, 256), (2, 3), 40),
        _details((128, 256), (2, 3), 20, attention=True),
        _details((96, 192, 256), (2, 3, 2), 15),
        _details((64, 128, 256), (2, 3, 3), 12, patch=24),
    ),
    recipes=(
        LevelRecipe(batch_size=32, epochs=1600, augmented_copies=32, elastic=4.0, learning_rate=5e-4),
        LevelRecipe(batch_size=32, epochs=2000, augmented_copies=32, elastic=4.0, learning_rate=5e-4),
        LevelRecipe(batch_size=16, epochs=1000, augmented_copies=8, learning_rate=5e-4),
        LevelRecipe(batch_size=16, epochs=2500, augmented_copies=2, learning_rate=5e-4),
    ),
)
_GPU_80GB = Preset(
    name="gpu-80gb",
    about="a GPU of 80 GB",
    depth=3,
    levels=(
        _base((192, 384), (2, 4), 40),
        _details((192, 384), (2, 4), 20, attention=True),
        _details((128, 256, 384), (2, 3, 3), 15),
        _details((96, 192, 384), (2, 3, 4), 12, patch=40),
    ),
    recipes=(
        LevelRecipe(batch_size=64, epochs=3200, augmented_copies=32, elastic=4.0, learning_rate=5e-4),
        LevelRecipe(batch_size=64, epochs=4000, augmented_copies=32, elastic=4.0, learning_rate=5e-4),
        LevelRecipe(batch_size=32, epochs=2000, augmented_copies=8, learning_rate=5e-4),
        LevelRecipe(batch_size=16, epochs=1500, augmented_copies=2, learning_rate=5e-4),
    ),
)
PRESETS = {one.name: one for one in (_TINY, _LAPTOP, _GPU_8GB, _GPU_24GB, _GPU_80GB)}
"""By name, smallest first."""
AUTO = "auto"
"""The preset that suits the device."""
_SUITS_FROM = {_GPU_80GB.name: 75e9, _GPU_24GB.name: 22e9, _GPU_8GB.name: 7.5e9}
"""Bytes of a GPU: a little less than it is sold for, which is what the driver leaves."""


def preset_for(device: torch.device) -> str:
    """Name of the preset that suits a device: by a GPU's whole memory, whatever is free of it now.

    Apple's GPUs share the memory of the whole computer and are not as fast as it is large: they take the smallest.
    """
    if device.type == "cpu":
        return _LAPTOP.name
    memory = memory_of(device)
    fitting = [name for name, least in _SUITS_FROM.items() if memory >= least] or [_LAPTOP.name]
    return fitting[-1] if device.type == "mps" else fitting[0]


def preset(name: str) -> Preset:
    """A preset by name, or from a JSON file (`braindiffusion preset laptop` writes one to begin with).

    Raises:
        BrainDiffusionError: there is none of that name, or the file is none.
    """
    if name in PRESETS:
        return PRESETS[name]
    try:
        return Preset.model_validate_json(Path(name).read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        msg = f"{name} is no preset ({'.'.join(map(str, first['loc']))}: {first['msg']})."
        raise BrainDiffusionError(msg) from error
    except OSError as error:
        msg = f"There is no preset '{name}': choose one of {AUTO}, {', '.join(PRESETS)}, or a file."
        raise BrainDiffusionError(msg) from error
