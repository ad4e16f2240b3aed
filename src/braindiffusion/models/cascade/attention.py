"""Full 3D self-attention that never writes its matrix down, with rotary positions in three axes."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEAD = 48  # divisible by 2 (rotation pairs) x 3 (axes)


def rotary_angles(shape: tuple[int, ...], device: torch.device | str = "cpu") -> Tensor:
    """Angles of the axial rotary embedding (Su et al. 2021, equation 34; one third of the pairs an axis).

    Returns:
        (x * y * z, HEAD / 2), float32.
    """
    pairs = HEAD // 6
    frequency = 64.0 ** -(torch.arange(pairs, device=device) / pairs)
    axes = torch.meshgrid(*(torch.arange(n, dtype=torch.float32, device=device) for n in shape), indexing="ij")
    return torch.cat([axis.flatten()[:, None] * frequency for axis in axes], dim=-1)


def _rotate(x: Tensor, angles: Tensor) -> Tensor:
    a, b = x.float().chunk(2, dim=-1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1).to(x.dtype)


class SelfAttention(nn.Module):
    """(batch, width, x, y, z) to the same; a residual branch that starts as zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = max(1, width // HEAD)
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * self.heads * HEAD)
        self.out = nn.Linear(self.heads * HEAD, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Mix each voxel with all others."""
        tokens = x.flatten(2).transpose(1, 2)
        qkv = self.qkv(self.norm(tokens)).unflatten(-1, (3, self.heads, HEAD))
        q, k, v = (part.squeeze(2).transpose(1, 2) for part in qkv.split(1, dim=2))
        angles = rotary_angles(tuple(x.shape[2:]), x.device)
        mixed = F.scaled_dot_product_attention(_rotate(q, angles), _rotate(k, angles), v)
        update = self.out(mixed.transpose(1, 2).flatten(2))
        out: Tensor = x + update.transpose(1, 2).reshape(x.shape)
        return out
