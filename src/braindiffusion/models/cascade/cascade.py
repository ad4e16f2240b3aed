"""The cascade: a list of levels, and the transforms between a volume and what each level generates.

Level 0 generates the coarsest band, each finer level seven detail bands, given the band of the level before. All levels
work on normalised coefficients (zero mean, unit variance inside brains); the constants are part of the model.
"""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from braindiffusion.devices import CompiledNetwork
from braindiffusion.diffusion.condition import Condition
from braindiffusion.diffusion.denoiser import Denoiser, denoise
from braindiffusion.models.cascade.conditioning import Conditioning
from braindiffusion.models.cascade.config import CascadeConfig
from braindiffusion.models.cascade.monai_unet import MonaiUNet
from braindiffusion.models.cascade.unet import UNet
from braindiffusion.models.cascade.wavelet import BANDS, haar, inverse_haar

Window = tuple[slice, slice, slice]
"""A box of coefficient sites."""
WINDOW_MARGIN = 4
"""Sites around what is edited: a level that was trained on patches saw no more than its patch."""
AIR_MARGIN = 1
"""Sites around what is no air, so that the detail of the outermost voxels is generated."""
AIR = 0.1
"""What is brighter than the background by so much, of a range of 2, is no air."""
MAP_AXES = 4
"""Of a label map among the conditions, (batch, x, y, z); numbers have two."""
CUDA_BOX_MULTIPLE = 8
"""Sides of boxes on CUDA are multiples of it, in sites: a compiled network is one of fixed shapes, so that few of them
must recur."""


class Level(nn.Module):
    """One level: its network and the constants that normalise its coefficients.

    `mean` and `std` are those of the eight bands of the level's grid, coarse first (for a level of one band, of that
    one).

    Attributes:
        compiled: runs `unet` in sampling where it is compiled; None where it is not.
        box_multiple: the sides of boxes are multiples of it, in sites, or those of the grid.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: CascadeConfig, index: int) -> None:
        super().__init__()
        self.index = index
        self.config = config.levels[index]
        self.grid = config.grid(index)
        self.channels = config.channels
        self.has_coarse = index > 0
        self.site_mm = config.spacing * 2 ** config.halvings(index)
        outputs = config.bands(index) * config.channels
        inputs = outputs + (config.channels if self.has_coarse else 0)
        self.outputs = outputs
        network = MonaiUNet if self.config.unet.network == "monai" else UNet
        self.unet = network(
            self.config.unet, inputs, outputs, signals=2 if self.has_coarse else 1, maps=config.has_maps
        )
        self.compiled: CompiledNetwork | None = None
        self.box_multiple = 1
        self.voxels = 2 ** config.halvings(index)  # edge of a site
        unet = self.config.unet
        self.conditioning = Conditioning(config.condition, unet.embedding, unet.map_width, unet.map_places, self.voxels)
        bands = outputs // config.channels + (1 if self.has_coarse else 0)
        self.register_buffer("mean", torch.zeros(bands))
        self.register_buffer("std", torch.ones(bands))

    def lay_out(self, layout: torch.memory_format) -> None:
        """Store the weights, and compute, in a memory layout."""
        self.to(memory_format=layout)  # type: ignore[call-overload]
        self.unet.layout = layout

    def coordinates(self, origin: Tensor | None = None, size: tuple[int, ...] | None = None) -> Tensor:
        """Millimetres from the middle of the box, (batch, 3, x, y, z).

        Args:
            origin: (batch, 3) first sites of patches; None for the whole grid.
            size: sites of a patch.
        """
        size = size or self.grid
        device = self.mean.device
        origin = torch.zeros(1, 3) if origin is None else origin
        middle = torch.tensor([(n - 1) / 2 for n in self.grid])
        axes = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in size), indexing="ij")
        offset = (origin.cpu().float() - middle)[..., None, None, None]
        millimetres: Tensor = (torch.stack(axes) + offset) * self.site_mm
        return millimetres.to(device)

    def normalise(self, bands: Tensor) -> Tensor:
        """(batch, bands, channels, x, y, z) coefficients to unit variance."""
        return (bands - self._wide(self.mean)) / self._wide(self.std)

    def restore(self, bands: Tensor) -> Tensor:
        """The inverse of `normalise`."""
        return bands * self._wide(self.std) + self._wide(self.mean)

    @staticmethod
    def _wide(constants: Tensor) -> Tensor:
        return constants[:, None, None, None, None]

    def forward(self, x: Tensor, log_sigma: Tensor, coarse: Tensor | None, coarse_sigma: Tensor | None,
                coordinates: Tensor, condition: Condition | None = None) -> Tensor:  # fmt: skip
        """Predict what `config.prediction` says.

        Args:
            x: (batch, outputs, x, y, z) noisy coefficients, scaled to unit variance.
            log_sigma: (batch,) log noise level / 4.
            coarse: (batch, channels, x, y, z) normalised coarse band, noised by coarse_sigma; None at level 0.
            coarse_sigma: (batch,).
            coordinates: (batch, 3, x, y, z) mm.
            condition: a tensor for each field of the model's schema; None is no condition.
        """
        signals = [log_sigma]
        if self.has_coarse:
            if coarse is None or coarse_sigma is None:
                msg = f"Level {self.index} needs its coarse band."
                raise ValueError(msg)
            x = torch.cat((x, coarse), dim=1)
            signals.append((coarse_sigma + 1e-3).log() / 4)
        embedding, places = self.conditioning(condition)
        where = coordinates.expand(len(x), -1, -1, -1, -1)
        network = self.unet if self.compiled is None else self.compiled
        out: Tensor = network(x, torch.stack(signals, dim=1), where, embedding, places)
        return out

    def window(self, where: Tensor) -> Window:
        """Return the box of sites around some voxels, with a margin, at least a training patch long.

        Args:
            where: (x, y, z) bool, voxels; none at all is the whole grid.
        """
        sites = F.max_pool3d(where[None].float(), self.voxels)[0] > 0
        return self._box(sites, WINDOW_MARGIN)

    def windows_without_air(self, coarse: Tensor) -> list[Window] | None:
        """Return the box of sites of each sample outside of which its coarse band shows air, whose detail is zero.

        Args:
            coarse: (batch, channels, x, y, z), the band of this level's grid, not normalised.

        Returns:
            None at a level that learned on whole volumes.
        """
        if self.config.patch is None:
            return None
        intensity = coarse / self.voxels**1.5  # the band of an orthonormal transform
        return [self._box((one > AIR - 1).any(0), AIR_MARGIN) for one in intensity]

    def _box(self, where: Tensor, margin: int) -> Window:
        """Return the box around some sites (x, y, z), with a margin, at least a training patch long."""
        box = []
        for axis, sites in enumerate(self.grid):
            others = [other for other in range(3) if other != axis]
            found = where.any(others[1]).any(others[0]).nonzero()
            first, last = (int(found.min()), int(found.max())) if len(found) else (0, sites)
            start, stop = first - margin, last + 1 + margin
            patch = min(self.config.patch or 0, sites)
            short = max(0, patch - (stop - start))
            start = min(start - short // 2, sites - patch)
            start = max(0, start // 2 * 2)  # even: the U-Net halves
            stop = min(sites, max(stop, start + patch))
            length = -(-(stop - start) // self.box_multiple) * self.box_multiple
            start = max(0, min(start, (sites - length) // 2 * 2))
            stop = min(sites, start + length)
            box.append(slice(start, stop))
        return box[0], box[1], box[2]

    def denoiser(
        self,
        coarse: Tensor | None = None,
        coarse_sigma: Tensor | None = None,
        windows: Sequence[Window] | None = None,
        *,
        moved: bool = False,
    ) -> Denoiser:
        """D(x, sigma, condition) of this level, given the normalised coarse band of the whole grid.

        Args:
            coarse: the band, noised by coarse_sigma; None at level 0.
            coarse_sigma: (batch,).
            windows: the box of sites to compute of each sample; elsewhere its estimate is 0. None computes the whole
                grid.
            moved: the grid is moved by half a site (`cascade.refinement`).
        """
        everywhere = self.coordinates(torch.full((1, 3), 0.5) if moved else None)

        def network(x: Tensor, sigma: Tensor, condition: Condition | None, window: Window, rows: slice) -> Tensor:
            sites = (slice(None), slice(None), *window)
            # Guidance hands over both its halves in one batch.
            given, given_sigma = _repeated(coarse, rows, len(x)), _repeated(coarse_sigma, rows, len(x))
            given = None if given is None else given[sites]
            coordinates = everywhere[sites]

            def predict(x: Tensor, log_sigma: Tensor, condition: Condition | None) -> Tensor:
                out: Tensor = self(x, log_sigma, given, given_sigma, coordinates, condition)
                return out

            return denoise(predict, x, sigma, condition, prediction=self.config.prediction)

        def denoiser(x: Tensor, sigma: Tensor, condition: Condition | None = None) -> Tensor:
            if windows is None:
                return network(x, sigma, condition, (slice(None),) * 3, slice(None))
            estimate = torch.zeros_like(x)
            for number, window in enumerate(windows):  # one by one: a sample does not depend on the others of its batch
                rows = slice(number, None, len(windows))
                voxels = (rows, *(slice(one.start * self.voxels, one.stop * self.voxels) for one in window))
                part = None
                if condition is not None:
                    part = {n: one[voxels] if one.ndim == MAP_AXES else one[rows] for n, one in condition.items()}
                sites = (rows, slice(None), *window)
                estimate[sites] = network(x[sites], sigma[rows], part, window, rows)
            return estimate

        return denoiser


def _repeated(given: Tensor | None, rows: slice, batch: int) -> Tensor | None:
    """Return some rows of a tensor, repeated to the length of a batch."""
    if given is None:
        return None
    given = given[rows]
    return given.repeat(batch // len(given), *(1,) * (given.ndim - 1))


class Cascade(nn.Module):
    """All levels, and the transforms between them."""

    def __init__(self, config: CascadeConfig) -> None:
        super().__init__()
        self.config = config
        self.levels = nn.ModuleList(Level(config, i) for i in range(config.number_of_levels))

    def level(self, index: int) -> Level:
        """One of its levels."""
        level = self.levels[index]
        return cast(Level, level)

    @torch.no_grad()
    def load_coarser(self, coarser: "Cascade") -> None:
        """Load all levels but the finest from a model at twice the voxel size.

        The coarsest band of a volume that is halved once more is larger by the square root of 8, since the transform
        is orthonormal; so are the constants of all levels.
        """
        for index in range(coarser.config.number_of_levels):
            level = self.level(index)
            level.load_state_dict(coarser.level(index).state_dict())
            for constant in (level.mean, level.std):
                constant.mul_(BANDS**0.5)

    def decompose(self, volume: Tensor, index: int) -> Tensor:
        """A volume as the (unnormalised) coefficients of one level's grid.

        Args:
            volume: (batch, channels, x, y, z), intensities in [-1, 1].
            index: the level.

        Returns:
            (batch, 8, channels, x, y, z); (batch, 1, ...) for a base of one band.
        """
        halvings = self.config.halvings(index)
        for _ in range(halvings - 1):
            volume = haar(volume)[:, 0]
        if self.config.bands(index) == 1:
            return haar(volume)[:, :1] if halvings else volume[:, None]
        return haar(volume)

    def reconstruct(self, index: int, generated: Tensor, coarse: Tensor | None) -> Tensor:
        """Return the next coarse band from what a level generated and the band that it was given.

        Args:
            index: the level.
            generated: (batch, outputs, x, y, z) normalised coefficients.
            coarse: (batch, channels, x, y, z), not normalised; None at level 0.

        Returns:
            (batch, channels, ...): the coarse band for the next level (or, after the last, the volume itself).
        """
        level = self.level(index)
        bands = generated.unflatten(1, (-1, self.config.channels))
        if coarse is not None:
            bands = torch.cat((torch.zeros_like(bands[:, :1]), bands), dim=1)
        bands = level.restore(bands)
        if coarse is not None:
            bands = torch.cat((coarse[:, None], bands[:, 1:]), dim=1)
        return inverse_haar(bands) if bands.shape[1] == BANDS else bands[:, 0]
