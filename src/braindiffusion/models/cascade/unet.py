"""The network of one level: a 3D U-Net conditioned on the noise level and on the position in the head.

Normalisation is over the channels of each voxel, not over space (GroupNorm): a level that learns on patches of brain
and runs on whole volumes, mostly air, must not see other statistics there than it learnt with.
"""

import itertools
import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from braindiffusion.models.cascade.attention import SelfAttention
from braindiffusion.models.cascade.config import UNetConfig
from braindiffusion.models.cascade.conv import Conv3d

COORDINATE_FREQUENCIES = 4


def fourier(values: Tensor, features: int) -> Tensor:
    """(batch, n) numbers to (batch, n * features) sines and cosines, periods from 2 pi / 16 to 2 pi * 64."""
    half = features // 2
    frequency = 2.0 ** torch.linspace(-6, 4, half, device=values.device)
    angles = (values[..., None] * frequency).flatten(1)
    return torch.cat((angles.cos(), angles.sin()), dim=-1)


def coordinate_features(coordinates: Tensor) -> Tensor:
    """Millimetres from the middle of the box, (batch, 3, x, y, z), to (batch, 3 + 6 * frequencies, x, y, z).

    The longest period is 512 mm, so that no two places in a head look alike.
    """
    parts = [coordinates / 100.0]
    for k in range(COORDINATE_FREQUENCIES):
        angle = coordinates * (2.0 * math.pi / 512.0 * 2.0**k)
        parts += [angle.sin(), angle.cos()]
    return torch.cat(parts, dim=1)


class ChannelNorm(nn.Module):
    """Layer norm over the channels of each voxel, without weights: FiLM brings those."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width, x, y, z)."""
        return F.layer_norm(x.movedim(1, -1), x.shape[1:2]).movedim(-1, 1)


class ResidualBlock(nn.Module):
    """Norm, SiLU, conv, norm, FiLM, SiLU, conv (Dhariwal and Nichol 2021); the branch starts as zero.

    Where there are maps, FiLM's scale and shift differ from voxel to voxel (Park et al. 2019, SPADE).
    """

    def __init__(self, width: int, embedding: int, attention: bool, map_width: int) -> None:
        super().__init__()
        self.norm = ChannelNorm()
        self.conv1 = Conv3d(width, width, 3, padding=1)
        self.conv2 = Conv3d(width, width, 3, padding=1)
        self.film = nn.Linear(embedding, 2 * width)
        self.map_film = Conv3d(map_width, 2 * width, 1, bias=False) if map_width else None
        if self.map_film is not None:
            nn.init.zeros_(self.map_film.weight)
        self.attention = SelfAttention(width) if attention else nn.Identity()
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, embedding: Tensor, places: Tensor | None = None) -> Tensor:
        """(batch, width, x, y, z), (batch, embedding) and (batch, map_width, x, y, z)."""
        film = self.film(embedding)[..., None, None, None]
        if places is not None and self.map_film is not None:
            film = film + self.map_film(places)
        scale, shift = film.chunk(2, dim=1)
        h = self.conv1(F.silu(self.norm(x)))
        h = self.conv2(F.silu(torch.addcmul(shift, self.norm(h), 1 + scale)))
        out: Tensor = self.attention(x + h)
        return out


def _halve(x: Tensor) -> Tensor:
    """Pad odd sides by their last plane, so that every resolution is the half, rounded up, of the one above."""
    pad = [n % 2 for n in reversed(x.shape[2:])]
    return F.pad(x, (0, pad[0], 0, pad[1], 0, pad[2]), mode="replicate") if any(pad) else x


class UNet(nn.Module):
    """Coefficients in, coefficients out, on the same grid.

    Args:
        config: widths, blocks, attention.
        inputs: channels of the input (noisy coefficients and the coarse band).
        outputs: channels of the output.
        signals: number of inputs that hold for the whole volume (noise level, noise of the coarse band).
        maps: whether it takes a label map.
    """

    def __init__(self, config: UNetConfig, inputs: int, outputs: int, signals: int, *, maps: bool = False) -> None:
        super().__init__()
        widths, width = config.widths, config.widths[0]
        self.checkpointing = config.checkpointing
        self.layout = torch.channels_last_3d
        self.signal_features = 32
        self.embed = nn.Sequential(
            nn.Linear(self.signal_features * signals, config.embedding),
            nn.SiLU(),
            nn.Linear(config.embedding, config.embedding),
        )
        map_width = config.map_width if maps else 0
        self.stem = Conv3d(inputs, width, 3, padding=1)
        self.place = Conv3d(3 + 6 * COORDINATE_FREQUENCIES, width, 1)

        def blocks(i: int) -> nn.ModuleList:
            return nn.ModuleList(
                ResidualBlock(widths[i], config.embedding, config.attention[i], map_width)
                for _ in range(config.blocks[i])
            )

        scales = range(len(widths))
        self.down_blocks = nn.ModuleList(blocks(i) for i in scales)
        self.up_blocks = nn.ModuleList(blocks(i) for i in scales)
        self.downs = nn.ModuleList(Conv3d(a, b, 2, stride=2) for a, b in itertools.pairwise(widths))
        self.ups = nn.ModuleList(Conv3d(b, a, 1) for a, b in itertools.pairwise(widths))
        self.norm = ChannelNorm()
        self.head = Conv3d(width, outputs, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(
        self,
        x: Tensor,
        signals: Tensor,
        coordinates: Tensor,
        condition_embedding: Tensor | None = None,
        places: Tensor | None = None,
    ) -> Tensor:
        """Run.

        Args:
            x: (batch, inputs, x, y, z).
            signals: (batch, signals).
            coordinates: (batch, 3, x, y, z), millimetres from the middle of the box.
            condition_embedding: (batch, embedding), what the condition says of the whole volume.
            places: (batch, map_width, x, y, z), what it says of each site.
        """
        embedding = self.embed(fourier(signals, self.signal_features))
        embedding = F.silu(embedding if condition_embedding is None else embedding + condition_embedding)
        x = x.contiguous(memory_format=self.layout)
        h = self.stem(x) + self.place(coordinate_features(coordinates))
        skips = []
        there = [places]
        for i, blocks in enumerate(self.down_blocks):
            if i:
                h = self.downs[i - 1](_halve(h))
                there.append(None if places is None else F.avg_pool3d(_halve(cast(Tensor, there[-1])), 2))
            h = self._run(cast(nn.ModuleList, blocks), h, embedding, there[i])
            skips.append(h)
        for i in reversed(range(len(skips))):
            if i < len(skips) - 1:
                x_, y_, z_ = skips[i].shape[2:]
                h = F.interpolate(self.ups[i](h), scale_factor=2, mode="nearest")[..., :x_, :y_, :z_]
                h = (h + skips[i]) * 0.5**0.5
            h = self._run(cast(nn.ModuleList, self.up_blocks[i]), h, embedding, there[i])
        out: Tensor = self.head(F.silu(self.norm(h)))
        return out

    def _run(self, blocks: nn.ModuleList, h: Tensor, embedding: Tensor, places: Tensor | None) -> Tensor:
        for block in blocks:
            if self.checkpointing and self.training:
                h = checkpoint(block, h, embedding, places, use_reentrant=False)
            else:
                h = block(h, embedding, places)
        return h
