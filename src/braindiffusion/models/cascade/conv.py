"""A 3D convolution that is quick for a single small volume on a CPU too.

PyTorch takes oneDNN for batches, and for one sample only where channels * x * y exceed 20,480 (`use_mkldnn` in ATen's
Convolution.cpp); below that it falls back to an unrolled matrix product, several times slower on these grids.
"""

from typing import cast

import torch
from torch import Tensor, nn


class Conv3d(nn.Conv3d):
    """`nn.Conv3d`, the same to rounding."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in, x, y, z) to (batch, out, x', y', z')."""
        plain = x.dtype == torch.float32 and not torch.is_autocast_enabled(x.device.type)
        if len(x) == 1 and x.device.type == "cpu" and plain and torch.is_inference_mode_enabled() and self._onednn():
            padding = cast(tuple[int, ...], self.padding)
            out: Tensor = torch.mkldnn_convolution(
                x, self.weight, self.bias, padding, self.stride, self.dilation, self.groups
            )
            return out
        return super().forward(x)

    @staticmethod
    def _onednn() -> bool:
        return bool(torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled)
