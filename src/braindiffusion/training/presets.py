"""Presets: the networks of a cascade, each with the recipe of its training, by name or from a file."""

from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from braindiffusion.conditions import ConditionSchema
from braindiffusion.devices import memory_of
from braindiffusion.diffusion.samplers import SamplerName
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig, UNetConfig
from braindiffusion.runs.requests.base import Content
from braindiffusion.training.recipe import LevelRecipe

SAMPLER: SamplerName = "dpmpp_2m"
"""DDIM's second-order form. With so few steps DDIM itself loses contrast: for Gaussian data 10 steps from sigma 20 give
0.82 of the standard deviation, DPM-Solver++ 1.08 (`tests/diffusion/test_gaussians.py`)."""
MAP_PLACES = 16
"""Label maps are read at every voxel of a site, up to sites of 16 voxels."""
REFINEMENT = 0.35
"""Noise level from which the finest level samples once more on a moved grid, so that its blocks do not show."""


class Preset(BaseModel):
    """Networks and recipes of a cascade; its shape and spacing come from the cohort."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = ""
    """Name in a model's card; empty for a user's file."""
    about: str = ""
    """Purpose, in a few words."""
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
        self,
        shape: tuple[int, int, int],
        spacing: float,
        channels: int,
        condition: ConditionSchema,
        content: Content = "image",
    ) -> CascadeConfig:
        """Return the configuration of the cascade for volumes of this shape.

        Raises:
            BrainDiffusionError: the shape cannot be halved so often.
        """
        if any(n % 2**self.depth for n in shape):
            side = 2**self.depth
            msg = f"Volumes of {shape} cannot be halved {self.depth} times: prepare sides in multiples of {side}."
            raise BrainDiffusionError(msg)
        return CascadeConfig(
            shape=shape,
            spacing=spacing,
            channels=channels,
            content=content,
            depth=self.depth,
            levels=self.levels,
            condition=condition,
        )


def _below_the_finest(widths: tuple[int, ...]) -> tuple[bool, ...]:
    """Return attention at every resolution but the finest, where it costs more than it gains."""
    return (False,) + (True,) * (len(widths) - 1)


def _base(widths: tuple[int, ...], blocks: tuple[int, ...], steps: int) -> LevelConfig:
    unet = UNetConfig(widths=widths, blocks=blocks, attention=_below_the_finest(widths), map_places=MAP_PLACES)
    return LevelConfig(unet=unet, log_sigma_mean=0.3, log_sigma_std=1.6, sigma_max=80.0, sampler=SAMPLER, steps=steps)


def _details(widths: tuple[int, ...], blocks: tuple[int, ...], steps: int, *, attention: bool = False,
             patch: int | None = None, refinement: float | None = None) -> LevelConfig:  # fmt: skip
    attend = _below_the_finest(widths) if attention else (False,) * len(widths)
    unet = UNetConfig(widths=widths, blocks=blocks, attention=attend, map_places=MAP_PLACES)
    return LevelConfig(unet=unet, patch=patch, sampler=SAMPLER, steps=steps, refinement=refinement)


_TINY = Preset(
    name="tiny",
    about="a check that everything works, about a minute on two laptop cores; samples are blobs",
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
# The packaged ixi-2mm has its networks, and a wider one at the level from 8 to 4 mm. Deformed copies are for the levels
# that overfitted without them.
_LAPTOP = Preset(
    name="laptop",
    about="an afternoon or a night on a laptop without a GPU",
    depth=3,
    levels=(
        _base((48, 96), (1, 2), 30),
        _details((64, 128), (1, 2), 15, attention=True),
        _details((48, 128), (1, 2), 10, patch=16),
        _details((64, 128), (2, 2), 8, patch=16, refinement=REFINEMENT),
    ),
    recipes=(
        LevelRecipe(batch_size=8, epochs=150, augmented_copies=28, elastic=3.0, unaugmented=0.2, decay=0.5),
        LevelRecipe(batch_size=8, epochs=240, augmented_copies=28, elastic=3.0, unaugmented=0.2, decay=0.5),
        LevelRecipe(batch_size=4, epochs=100, augmented_copies=12, elastic=3.0, interpolation="cubic", decay=0.5),
        LevelRecipe(batch_size=4, epochs=200, augmented_copies=2, decay=0.5),
    ),
)
# The packaged ixi-2mm-anatomy has its two finest networks, trained for half as long.
_LAPTOP_REGIONS = Preset(
    name="laptop-regions",
    about="region maps (content `regions`), an afternoon on a laptop without a GPU",
    depth=3,
    levels=(
        _base((64, 128), (1, 2), 30),
        _details((64, 128), (1, 2), 15, attention=True),
        _details((64, 128), (1, 2), 10, patch=16),
        _details((32, 64), (1, 2), 4, patch=16),
    ),
    recipes=(
        LevelRecipe(batch_size=8, epochs=120, augmented_copies=10, elastic=3.0, muon_learning_rate=3e-3, decay=0.5),
        LevelRecipe(batch_size=4, epochs=90, augmented_copies=10, elastic=3.0, muon_learning_rate=3e-3, decay=0.5),
        LevelRecipe(
            batch_size=4,
            epochs=120,
            augmented_copies=6,
            elastic=3.0,
            interpolation="cubic",
            muon_learning_rate=3e-3,
            decay=0.5,
        ),
        LevelRecipe(
            batch_size=4,
            epochs=200,
            augmented_copies=4,
            elastic=3.0,
            interpolation="cubic",
            muon_learning_rate=3e-3,
            decay=0.5,
        ),
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
        _details((48, 96, 192), (2, 3, 3), 12, patch=24, refinement=REFINEMENT),
    ),
    recipes=(
        LevelRecipe(batch_size=32, epochs=1600, augmented_copies=32, elastic=4.0, unaugmented=0.02),
        LevelRecipe(batch_size=32, epochs=2000, augmented_copies=32, elastic=4.0, unaugmented=0.02),
        LevelRecipe(batch_size=16, epochs=1000, augmented_copies=8),
        LevelRecipe(batch_size=16, epochs=2000, augmented_copies=2),
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
        _details((64, 128, 256), (2, 3, 3), 12, patch=24, refinement=REFINEMENT),
    ),
    recipes=(
        LevelRecipe(batch_size=32, epochs=1600, augmented_copies=32, elastic=4.0, unaugmented=0.02),
        LevelRecipe(batch_size=32, epochs=2000, augmented_copies=32, elastic=4.0, unaugmented=0.02),
        LevelRecipe(batch_size=16, epochs=1000, augmented_copies=8),
        LevelRecipe(batch_size=16, epochs=2500, augmented_copies=2),
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
        _details((96, 192, 384), (2, 3, 4), 12, patch=40, refinement=REFINEMENT),
    ),
    recipes=(
        LevelRecipe(batch_size=64, epochs=3200, augmented_copies=32, elastic=4.0, unaugmented=0.02),
        LevelRecipe(batch_size=64, epochs=4000, augmented_copies=32, elastic=4.0, unaugmented=0.02),
        LevelRecipe(batch_size=32, epochs=2000, augmented_copies=8),
        LevelRecipe(batch_size=16, epochs=1500, augmented_copies=2),
    ),
)
FINER = _details((24, 48), (1, 1), 6, patch=32, refinement=1.0)
"""The level that is added to an initial model at twice the voxel size: small, since it works on eight times as many
sites as the level before. So small a one leaves blocks unless it is refined from more noise than others."""
PRESETS = {one.name: one for one in (_TINY, _LAPTOP, _LAPTOP_REGIONS, _GPU_8GB, _GPU_24GB, _GPU_80GB)}
"""All presets by name, smallest first."""
AUTO = "auto"
"""Choose the preset by the device."""
_SUITS_FROM = {_GPU_80GB.name: 75e9, _GPU_24GB.name: 22e9, _GPU_8GB.name: 7.5e9}
"""Least memory of a GPU in bytes: a little less than its nominal memory, since the driver takes some."""


def preset_for(device: torch.device) -> str:
    """Return the name of the preset for a device: by the total memory of a GPU.

    Apple's GPUs share the computer's memory and are slower than its size suggests: they take the smallest that fits.
    """
    if device.type == "cpu":
        return _LAPTOP.name
    memory = memory_of(device)
    fitting = [name for name, least in _SUITS_FROM.items() if memory >= least] or [_LAPTOP.name]
    return fitting[-1] if device.type == "mps" else fitting[0]


def preset(name: str) -> Preset:
    """Return a preset by name, or from a JSON file.

    Raises:
        BrainDiffusionError: there is no such preset, or the file is not valid.
    """
    if name in PRESETS:
        return PRESETS[name]
    try:
        return Preset.model_validate_json(Path(name).read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        msg = f"{name} is not a valid preset ({'.'.join(map(str, first['loc']))}: {first['msg']})."
        raise BrainDiffusionError(msg) from error
    except OSError as error:
        msg = f"There is no preset '{name}': choose one of {AUTO}, {', '.join(PRESETS)}, or a file."
        raise BrainDiffusionError(msg) from error
