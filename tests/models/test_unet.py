"""The network: what a voxel may depend on, and attention against its textbook form."""

import math

import pytest
import torch

from braindiffusion.models.cascade.attention import HEAD, SelfAttention, rotary_angles
from braindiffusion.models.cascade.config import UNetConfig
from braindiffusion.models.cascade.unet import UNet


def awake(net: torch.nn.Module) -> torch.nn.Module:
    """Branches start as zero; give them something to say."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) / math.sqrt(max(1, p[0].numel())))
    return net.eval()


@torch.no_grad()
def test_patches_and_whole_volume_agree_away_from_borders() -> None:
    net = awake(UNet(UNetConfig(widths=(8, 16), blocks=(1, 1), attention=(False, False)), 2, 1, signals=1))
    x, signals = torch.randn(1, 2, 48, 40, 40), torch.zeros(1, 1)
    axes = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in x.shape[2:]), indexing="ij")
    place = torch.stack(axes)[None]
    whole = net(x, signals, place)
    cut = (slice(None), slice(None), slice(4, 44), slice(2, 38), slice(0, 36))
    patch = net(x[cut], signals, place[cut])
    reach = 16  # 4 convolutions here, 4 at half the resolution, stem and head
    inner = (..., slice(reach, -reach), slice(reach, -reach), slice(reach, -reach))
    assert patch[inner].numel() > 100
    torch.testing.assert_close(patch[inner], whole[cut][inner], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_place_and_noise_level_matter_and_odd_sides_are_kept() -> None:
    net = awake(UNet(UNetConfig(widths=(8, 16, 24), blocks=(1, 1, 1), attention=(False, True, True)), 1, 3, signals=2))
    x, place = torch.randn(2, 1, 10, 13, 11), torch.zeros(2, 3, 10, 13, 11)
    out = net(x, torch.zeros(2, 2), place)
    assert out.shape == (2, 3, 10, 13, 11)
    assert float((net(x, torch.zeros(2, 2), place + 30) - out).abs().max()) > 1e-3
    assert float((net(x, torch.ones(2, 2), place) - out).abs().max()) > 1e-3


def test_checkpointing_changes_memory_not_numbers() -> None:
    net = awake(UNet(UNetConfig(widths=(8, 16), blocks=(1, 1), attention=(False, True)), 1, 1, signals=1)).train()
    x, place = torch.randn(1, 1, 8, 8, 8), torch.zeros(1, 3, 8, 8, 8)
    gradients = []
    for checkpointing in (False, True):
        net.checkpointing = checkpointing
        net.zero_grad()
        net(x, torch.zeros(1, 1), place).square().sum().backward()
        gradients.append([p.grad.clone() for p in net.parameters()])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)


@torch.no_grad()
def test_attention_is_softmax_of_rotated_products() -> None:
    layer = awake(SelfAttention(2 * HEAD))
    x = torch.randn(1, 2 * HEAD, 2, 3, 2)
    tokens = x.flatten(2).transpose(1, 2)
    q, k, v = layer.qkv(layer.norm(tokens)).chunk(3, dim=-1)
    angles = rotary_angles((2, 3, 2))
    turn = torch.polar(torch.ones_like(angles), angles)

    def rotated(t: torch.Tensor) -> torch.Tensor:  # as complex numbers, one head after the other
        heads = [torch.complex(*h.chunk(2, dim=-1)) * turn for h in t[0].split(HEAD, dim=-1)]
        return torch.stack([torch.cat((h.real, h.imag), dim=-1) for h in heads])

    weights = (rotated(q) @ rotated(k).transpose(1, 2) / math.sqrt(HEAD)).softmax(-1)
    mixed = weights @ torch.stack(v[0].split(HEAD, dim=-1))
    expected = tokens + layer.out(torch.cat(list(mixed), dim=-1))[None]
    torch.testing.assert_close(layer(x).flatten(2).transpose(1, 2), expected, atol=1e-5, rtol=1e-5)


def test_rotary_products_depend_on_distance_alone() -> None:
    angles = rotary_angles((4, 4, 4)).view(4, 4, 4, -1)
    step = angles[1, 2, 3] - angles[0, 1, 1]
    torch.testing.assert_close(step, angles[3, 3, 3] - angles[2, 2, 1])


def test_a_network_needs_one_entry_a_resolution() -> None:
    with pytest.raises(ValueError, match="one entry"):
        UNetConfig(widths=(8, 16), blocks=(1,), attention=(False, False))
