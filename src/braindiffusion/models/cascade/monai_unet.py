"""MONAI's `DiffusionModelUNet` as the network of a level, with the inputs of ours (`unet.UNet`).

Noise levels and conditions reach it through its class embedding, which is replaced by a linear layer; coordinates and
label maps are further input channels. It normalizes over space (GroupNorm), so that it is for whole volumes only.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.models.cascade.config import UNetConfig

AXES = 3
SIGNAL_SCALE = 250.0
"""From ln sigma / 4 to the range of time steps that MONAI embeds."""
MILLIMETRES = 100.0
GROUPS = 8
HEAD = 8
"""Channels of an attention head, and of a group, where the widths are multiples of it."""


class MonaiUNet(nn.Module):
    """The network of a level.

    Args:
        config: widths, residual blocks and attention of each resolution.
        inputs: channels of the noisy coefficients and of the coarse band.
        outputs: channels that it predicts.
        signals: numbers that tell the noise levels.
        maps: whether the model can be conditioned on label maps.

    Raises:
        BrainDiffusionError: MONAI is not installed.
    """

    def __init__(self, config: UNetConfig, inputs: int, outputs: int, *, signals: int, maps: bool) -> None:
        super().__init__()
        try:
            from monai.networks.nets import DiffusionModelUNet  # type: ignore[attr-defined]
        except ImportError as error:
            msg = "MONAI is not installed, and a level has its network: pip install 'napari-braindiffusion[monai]'."
            raise BrainDiffusionError(msg) from error
        self._map_width = config.map_width if maps else 0
        self._multiple = 2 ** (len(config.widths) - 1)
        self.net = DiffusionModelUNet(
            spatial_dims=3,
            in_channels=inputs + AXES + self._map_width,
            out_channels=outputs,
            channels=config.widths,
            num_res_blocks=config.blocks,
            attention_levels=config.attention,
            norm_num_groups=GROUPS,
            num_head_channels=HEAD,
            num_class_embeds=1,
        )
        projection = nn.Linear(signals + config.embedding, 4 * config.widths[0])
        self.net.class_embedding = projection  # type: ignore[assignment]
        self._embedding = config.embedding

    def forward(
        self,
        x: Tensor,
        signals: Tensor,
        coordinates: Tensor,
        embedding: Tensor | None = None,
        places: Tensor | None = None,
    ) -> Tensor:
        """Run. Arguments as of `unet.UNet.forward`."""
        parts = [x, (coordinates / MILLIMETRES).to(x)]
        if self._map_width:
            parts.append(x.new_zeros(len(x), self._map_width, *x.shape[2:]) if places is None else places.to(x))
        embedding = signals.new_zeros(len(x), self._embedding) if embedding is None else embedding
        sides = x.shape[2:]
        short = [-side % self._multiple for side in sides]
        padded = F.pad(torch.cat(parts, dim=1), [n for side in reversed(short) for n in (0, side)], mode="replicate")
        out: Tensor = self.net(
            padded, (signals[:, 0] + 1) * SIGNAL_SCALE, class_labels=torch.cat((signals, embedding.to(signals)), dim=1)
        )
        return out[..., : sides[0], : sides[1], : sides[2]]
