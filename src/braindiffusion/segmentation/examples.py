"""Training examples of the segmentation model: whole heads and stripped brains, with augmented position and contrast.

Every example is a function of its key alone, so that an interrupted training resumes exactly.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from braindiffusion.cohort.store import Cohort
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.regions import MIRRORED, REGIONS, regions_of
from braindiffusion.segmentation.network import PRIOR

SHIFT = 5
"""Largest error of the box of an unknown head, in voxels along each axis."""
DEGREES, SCALE = 8.0, 0.08
RARE = 1e-3
"""Added to every frequency in the prior, so that no region is impossible."""
RIM = 2
"""Largest rim around the brain that a skull stripper may leave, in voxels."""


@dataclass(frozen=True)
class Example:
    """A window of one head.

    Attributes:
        volume: (1, x, y, z) float32 in [-1, 1].
        regions: (x, y, z) uint8.
        origin: (3,) first voxel of the window in the box.
    """

    volume: Tensor
    regions: Tensor
    origin: Tensor


def grouped(cohort: Cohort, row: int) -> Tensor:
    """Return the regions of one head, (x, y, z) uint8.

    Raises:
        BrainDiffusionError: the cohort has no label maps.
    """
    if cohort.labels is None:
        raise BrainDiffusionError(f"{cohort.path} has no label maps: prepare it with a folder of label maps.")
    return torch.from_numpy(regions_of(np.asarray(cohort.labels[row])))


class Examples:
    """The training examples from a cohort of whole heads.

    Args:
        cohort: prepared with the skull kept and with label maps, in a box with room for `SHIFT` around the model's.
        rows: subjects to draw from.
        box: voxels of the model's box.
        window: voxels of an example.
        seed: seed of every random draw.

    Raises:
        BrainDiffusionError: the cohort was prepared in another way.
    """

    def __init__(
        self, cohort: Cohort, rows: list[int], box: tuple[int, int, int], window: tuple[int, int, int], seed: int
    ) -> None:
        self.cohort, self.rows, self.seed = cohort, rows, seed
        self.box, self.window = np.array(box), np.minimum(window, box)
        self._heads: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
        self.margin = (np.array(cohort.preprocessing.shape) - self.box) // 2
        if cohort.preprocessing.skull != "keep" or (self.margin < SHIFT).any():
            needed = " x ".join(str(side + 2 * SHIFT) for side in box)
            msg = f"{cohort.path} has no whole heads: prepare it with the skull kept, on {needed} voxels or more."
            raise BrainDiffusionError(msg)

    def batch(self, step: int, size: int) -> list[Example]:
        """Return the examples of a step: each of another subject, every other one stripped."""
        made = []
        for position in range(step * size, (step + 1) * size):
            epoch, index = divmod(position, len(self.rows))
            order = np.random.default_rng((self.seed, epoch)).permutation(len(self.rows))
            made.append(self.example(self.rows[order[index]], position, stripped=position % 2 == 1))
        return made

    def example(self, row: int, key: int, *, stripped: bool) -> Example:
        """Return one window of one head."""
        rng = np.random.default_rng((self.seed, key, 1))
        volume, regions = self._head(row, rng, stripped=stripped)
        if rng.random() < 0.5:  # x runs from left to right in RAS+
            volume, regions = volume.flip(0), torch.from_numpy(MIRRORED)[regions.flip(0).long()]
        origin = rng.integers(0, (self.box - self.window) // 2 + 1) * 2  # the first voxel of a site
        shift = np.rint(rng.normal(0, SHIFT / 3, 3)).clip(-SHIFT, SHIFT).astype(int)
        if rng.random() < 0.5:
            volume, regions = self._moved(volume, regions, origin, shift, rng)
        else:  # held-out heads are not interpolated either
            first = self.margin + origin + shift
            cut = tuple(slice(int(a), int(a + n)) for a, n in zip(first, self.window, strict=True))
            volume, regions = volume[cut], regions[cut]
        volume = _vary_contrast(volume, rng, quiet_air=stripped)
        return Example(volume[None] * 2 - 1, regions.contiguous(), torch.from_numpy(origin).float())

    def plain(self, row: int, *, stripped: bool) -> tuple[Tensor, Tensor]:
        """Return one head in the model's box without augmentation: (x, y, z) in [-1, 1], and its regions."""
        volume, regions = self._head(row, None, stripped=stripped)
        cut = tuple(slice(int(a), int(a + n)) for a, n in zip(self.margin, self.box, strict=True))
        return volume[cut] * 2 - 1, regions[cut]

    def prior(self) -> Tensor:
        """Return the log frequency of each region in each cell of the box, over these heads and their mirror images."""
        side = [int(n) // PRIOR for n in self.box]
        cells = torch.arange(math.prod(side)).reshape(side)
        for axis in range(3):
            cells = cells.repeat_interleave(PRIOR, axis)
        counts = torch.zeros(math.prod(side) * len(REGIONS), dtype=torch.long)
        for row in self.rows:
            _, regions = self.plain(row, stripped=False)
            counts += torch.bincount((cells * len(REGIONS) + regions).flatten(), minlength=len(counts))
        frequency = counts.reshape(*side, len(REGIONS)).movedim(-1, 0).double()
        frequency = frequency + frequency.flip(1)[torch.from_numpy(MIRRORED).long()]
        return (frequency / frequency.sum(0) + RARE).log().float()

    def _head(self, row: int, rng: np.random.Generator | None, *, stripped: bool) -> tuple[Tensor, Tensor]:
        """Return intensities in [0, 1] and regions of a whole volume; a stripped one has a random rim."""
        if row not in self._heads:  # 4 bytes a voxel: half a gigabyte for 120 heads
            self._heads[row] = (
                torch.from_numpy(np.asarray(self.cohort.volumes[row])[0]),
                _distance_outside(torch.from_numpy(np.asarray(self.cohort.masks[row]))),
                grouped(self.cohort, row),
            )
        half, around, regions = self._heads[row]
        volume = half.float().add_(1).mul_(0.5)
        if stripped:
            volume *= around <= (0 if rng is None else int(rng.integers(0, RIM + 1)))
        return volume, regions

    def _moved(
        self, volume: Tensor, regions: Tensor, origin: np.ndarray, shift: np.ndarray, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return the window rotated, scaled and shifted: linear interpolation, nearest neighbour for the regions."""
        angles = np.radians(rng.uniform(-DEGREES, DEGREES, 3))
        linear = np.diag(1 + rng.uniform(-SCALE, SCALE, 3))
        for axis, angle in enumerate(angles):
            turn = np.eye(3)
            a, b = (axis + 1) % 3, (axis + 2) % 3
            turn[[a, a, b, b], [a, b, a, b]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
            linear = linear @ turn
        # Window to head, both from -1 at the first voxel's outer face to 1 at the last one's: PyTorch's coordinates.
        size, window = np.array(volume.shape), self.window
        middle = self.margin + self.box / 2 + shift + linear @ (origin + window / 2 - self.box / 2)
        theta = np.zeros((3, 4))
        theta[:, :3] = linear * window[None] / size[:, None]
        theta[:, 3] = 2 * middle / size - 1
        theta = theta[::-1][:, [2, 1, 0, 3]]  # PyTorch orders the axes from last to first
        matrix = torch.from_numpy(theta.copy()).float()[None]
        grid = F.affine_grid(matrix, [1, 1, *map(int, window)], align_corners=False)
        moved = F.grid_sample(volume[None, None], grid, mode="bilinear", align_corners=False)[0, 0]
        named = F.grid_sample(regions[None, None].float(), grid, mode="nearest", align_corners=False)[0, 0]
        return moved, named.to(torch.uint8)


def _distance_outside(mask: Tensor) -> Tensor:
    """Return the distance of each voxel from a mask, (x, y, z) uint8, at most `RIM` + 1 voxels."""
    steps, brain = torch.full(mask.shape, RIM + 1, dtype=torch.uint8), mask.float()
    for step in range(RIM + 1):
        steps[(brain > 0) & (steps > step)] = step
        brain = F.max_pool3d(brain[None], 3, stride=1, padding=1)[0]
    return steps


def _vary_contrast(volume: Tensor, rng: np.random.Generator, *, quiet_air: bool) -> Tensor:
    """Return the volume with another gain, contrast, bias field, resolution and noise, all in [0, 1]."""
    air = volume <= 0
    volume = volume * float(rng.uniform(0.45, 1.15))
    volume = volume.clamp(min=0).pow(float(np.exp(rng.normal(0, 0.2))))
    field = torch.from_numpy(rng.normal(0, 0.15, (1, 1, 4, 4, 4))).float()
    volume = volume * F.interpolate(field, size=volume.shape, mode="trilinear", align_corners=True)[0, 0].exp()
    if rng.random() < 0.3:  # thick slices
        slices = [1, 1, 1]
        slices[int(rng.integers(3))] = 2
        thick = F.avg_pool3d(volume[None, None], tuple(slices))
        volume = F.interpolate(thick, size=volume.shape, mode="trilinear", align_corners=False)[0, 0]
    draw = torch.Generator().manual_seed(int(rng.integers(2**62)))
    volume = volume + float(rng.uniform(0, 0.05)) * torch.randn(volume.shape, generator=draw)
    if quiet_air:
        volume = volume.masked_fill(air, 0.0)
    return volume.clamp(0, 1)
