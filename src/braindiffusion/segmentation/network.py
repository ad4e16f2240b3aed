"""The segmentation network: a U-Net on half the resolution, each of whose sites classifies eight voxels.

The eight voxels of a site are input channels, so nothing is lost, and the trunk works on an eighth of the sites: a
brain takes a second on one core. Normalisation is over the channels of each site (as in `models.cascade.unet`): air
around a stripped brain and the neck under a whole head must not change the result inside.
"""

import itertools
from typing import Annotated, Self

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from braindiffusion.models.cascade.conv import Conv3d
from braindiffusion.models.cascade.unet import ChannelNorm
from braindiffusion.regions import REGIONS

SITE = 2
"""Voxels along the side of a site."""
VOXELS = SITE**3
PRIOR = 4
"""Voxels along the side of a cell of the prior."""
Side = Annotated[int, Field(ge=PRIOR, le=1024)]
Width = Annotated[int, Field(ge=1, le=16_384)]
Blocks = Annotated[int, Field(ge=0, le=100)]


class SegmentationConfig(BaseModel):
    """Configuration of the segmentation network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shape: tuple[Side, Side, Side] = (80, 104, 88)
    """Voxels of the box that is segmented."""
    spacing: float = Field(default=2.0, gt=0, le=50)
    """Millimetres."""
    widths: tuple[Width, ...] = Field(default=(40, 96, 160), min_length=1, max_length=7)
    """Channels at each resolution, half the box's first."""
    down_blocks: tuple[Blocks, ...] = (1, 1, 2)
    up_blocks: tuple[Blocks, ...] = (2, 2, 1)
    detail: Width = 64
    """Channels that the head gets from the voxels around a site directly, not through the trunk."""
    hidden: Width = 160
    """Width of the head."""

    @model_validator(mode="after")
    def _one_number_for_each_resolution(self) -> Self:
        if {len(self.down_blocks), len(self.up_blocks)} != {len(self.widths)}:
            raise ValueError("Each resolution has one width and its blocks on the way down and up")
        return self

    @property
    def multiple(self) -> int:
        """Number of which every side of a volume must be a multiple."""
        return SITE << (len(self.widths) - 1)

    @property
    def features(self) -> int:
        """Length of the embedding."""
        return sum(self.widths)


class Block(nn.Module):
    """Norm, SiLU, convolution, twice, beside the identity; starts as the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = ChannelNorm()
        self.conv1 = Conv3d(width, width, 3, padding=1)
        self.conv2 = Conv3d(width, width, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width, x, y, z)."""
        h = self.conv1(F.silu(self.norm(x)))
        out: Tensor = x + self.conv2(F.silu(self.norm(h)))
        return out


class SegmentationNet(nn.Module):
    """The network: features of sites from voxels, regions from features."""

    def __init__(self, config: SegmentationConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        self.stem = Conv3d(VOXELS + 3, widths[0], 3, padding=1)
        self.downs = nn.ModuleList(Conv3d(a, b, 2, stride=2) for a, b in itertools.pairwise(widths))
        self.ups = nn.ModuleList(Conv3d(b, a, 1) for a, b in itertools.pairwise(widths))
        self.down_blocks = _blocks(widths, config.down_blocks)
        self.up_blocks = _blocks(widths, config.up_blocks)
        self.norm = ChannelNorm()
        self.detail = Conv3d(VOXELS + 3, config.detail, 3, padding=1)
        self.hidden = nn.Linear(2 * widths[0] + config.detail + len(REGIONS), config.hidden)
        self.head = nn.Linear(config.hidden, VOXELS * len(REGIONS))
        self.register_buffer("prior", torch.zeros(1, len(REGIONS), *(side // PRIOR for side in config.shape)))

    def trunk(self, volume: Tensor, origin: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        """Return the features of every site.

        Args:
            volume: (batch, 1, x, y, z) in [-1, 1], sides multiples of `config.multiple`.
            origin: (batch, 3) first voxel of each window in the box; None where the volume is the box.

        Returns:
            Inputs of the head, (batch, x / 2, y / 2, z / 2, features), and the decoder's features at each resolution,
            (batch, width, ...), finest first.
        """
        seen = torch.cat((sites(volume), self._places(volume, origin)), dim=1)
        h = self.stem(seen)
        skips = []
        for i, blocks in enumerate(self.down_blocks):
            h = blocks(self.downs[i - 1](h) if i else h)
            skips.append(h)
        scales = []
        for i in reversed(range(len(skips))):
            if i < len(skips) - 1:
                h = (F.interpolate(self.ups[i](h), scale_factor=2, mode="nearest") + skips[i]) * 0.5**0.5
            h = self.up_blocks[i](h)
            scales.append(h)
        detail = F.silu(self.detail(seen))
        fine = torch.cat((self.norm(h), skips[0], detail, self._expected(volume, origin)), dim=1).movedim(1, -1)
        return fine, scales[::-1]

    def classify(self, features: Tensor) -> Tensor:
        """Return the logits of the voxels of some sites: (..., features) to (..., 8, regions)."""
        flat: Tensor = self.head(F.silu(self.hidden(features)))
        logits: Tensor = flat.unflatten(-1, (VOXELS, len(REGIONS)))
        return logits + features[..., None, -len(REGIONS) :]

    def _expected(self, volume: Tensor, origin: Tensor | None) -> Tensor:
        """Return the log frequency of each region at each site in the training brains: (batch, regions, sites)."""
        size = [side // SITE for side in self.config.shape]
        x, y, z = (n // SITE for n in volume.shape[2:])
        prior: Tensor = self.get_buffer("prior")
        whole = F.interpolate(prior, size=size, mode="trilinear", align_corners=False)[0]
        first = [[0, 0, 0]] * len(volume) if origin is None else (origin.long() // SITE).tolist()
        return torch.stack([whole[:, a : a + x, b : b + y, c : c + z] for a, b, c in first])

    def _places(self, volume: Tensor, origin: Tensor | None) -> Tensor:
        """Return the coordinates of each site in the box, from -1 to 1: (batch, 3, sites)."""
        batch, _, *shape = volume.shape
        axes = [
            (torch.arange(n // SITE, device=volume.device) * SITE + 0.5 * SITE) * (2 / side) - 1
            for n, side in zip(shape, self.config.shape, strict=True)
        ]
        places = torch.stack(torch.meshgrid(*axes, indexing="ij")).expand(batch, -1, -1, -1, -1)
        if origin is None:
            return places
        step = 2 / torch.tensor(self.config.shape, device=volume.device)
        moved: Tensor = places + (origin.to(volume.device) * step)[:, :, None, None, None]
        return moved


def sites(volume: Tensor) -> Tensor:
    """Convert voxels to sites: (batch, 1, x, y, z) to (batch, 8, x / 2, y / 2, z / 2), in channels-last memory."""
    b, _, x, y, z = volume.shape
    parts = volume.reshape(b, x // SITE, SITE, y // SITE, SITE, z // SITE, SITE)
    return parts.permute(0, 1, 3, 5, 2, 4, 6).reshape(b, x // SITE, y // SITE, z // SITE, VOXELS).movedim(-1, 1)


def voxels(named: Tensor) -> Tensor:
    """Convert sites to voxels: (batch, x, y, z, 8) to (batch, 2x, 2y, 2z); the inverse of `sites`."""
    b, x, y, z, _ = named.shape
    parts = named.reshape(b, x, y, z, SITE, SITE, SITE).permute(0, 1, 4, 2, 5, 3, 6)
    return parts.reshape(b, x * SITE, y * SITE, z * SITE)


def _blocks(widths: tuple[int, ...], counts: tuple[int, ...]) -> nn.ModuleList:
    stacks = (nn.Sequential(*(Block(width) for _ in range(n))) for width, n in zip(widths, counts, strict=True))
    return nn.ModuleList(stacks)
