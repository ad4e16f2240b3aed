"""A 3D convolution that is quick for a single small volume on a CPU, and right for a thin one.

PyTorch takes oneDNN for batches, and for one sample only where channels * x * y exceed 20,480 (`use_mkldnn` in ATen's
Convolution.cpp); below that it falls back to an unrolled matrix product, several times slower on these grids.

In bfloat16, oneDNN computes the weight gradient of a 3 x 3 x 3 convolution over two planes from memory that nothing was
written to (PyTorch 2.13, AVX512-BF16): NaN or noise. Inputs thinner than the kernel are therefore computed in float32.
"""

from typing import cast

import torch
from torch import Tensor, nn


class Conv3d(nn.Conv3d):
    """`nn.Conv3d`, the same to rounding."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in, x, y, z) to (batch, out, x', y', z')."""
        autocast = torch.is_autocast_enabled(x.device.type)
        plain = x.dtype == torch.float32 and not autocast
        dtype = torch.get_autocast_dtype(x.device.type) if autocast else x.dtype
        if self._wrong_in_onednn(x, dtype):
            with torch.autocast("cpu", enabled=False):
                bias = None if self.bias is None else self.bias.float()
                exact: Tensor = self._conv_forward(x.float(), self.weight.float(), bias)
            return exact.to(dtype)
        alone = len(x) == 1 and x.device.type == "cpu" and not torch.compiler.is_compiling()
        if alone and plain and torch.is_inference_mode_enabled() and self._onednn():
            padding = cast(tuple[int, ...], self.padding)
            out: Tensor = torch.mkldnn_convolution(
                x, self.weight, self.bias, padding, self.stride, self.dilation, self.groups
            )
            return out
        return super().forward(x)

    def _wrong_in_onednn(self, x: Tensor, dtype: torch.dtype) -> bool:
        thin = x.shape[2] < self.kernel_size[0]
        return thin and dtype == torch.bfloat16 and x.device.type == "cpu" and torch.is_grad_enabled()

    @staticmethod
    def _onednn() -> bool:
        return bool(torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled)
