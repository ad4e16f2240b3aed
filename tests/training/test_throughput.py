"""Operations of a step: those that torch counts, and what the record tells of them."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from braindiffusion.models.cascade.config import UNetConfig
from braindiffusion.models.cascade.unet import UNet
from braindiffusion.training.throughput import FORWARD_AND_BACKWARD, best_throughput, counted_operations


def test_operations_are_those_that_torch_counts() -> None:
    network = UNet(UNetConfig(widths=(8, 16), blocks=(1, 1), attention=(False, False)), 8, 8, 1)
    x, where = torch.randn(2, 8, 8, 8, 8), torch.zeros(2, 3, 8, 8, 8)
    with FlopCounterMode(display=False) as torch_count, counted_operations(network) as count:
        out = network(x, torch.zeros(2, 1), where)
    assert count.total == pytest.approx(torch_count.get_total_flops(), rel=0.01)
    with FlopCounterMode(display=False) as backward:
        out.square().mean().backward()
    both = torch_count.get_total_flops() + backward.get_total_flops()
    assert FORWARD_AND_BACKWARD * count.total == pytest.approx(both, rel=0.05)
    with torch.no_grad():
        network(x, torch.zeros(2, 1), where)
    assert FORWARD_AND_BACKWARD * count.total == pytest.approx(both, rel=0.05), "nothing is counted afterwards"


def test_a_device_has_a_throughput() -> None:
    assert best_throughput(torch.device("cpu"), torch.float32) > 1e8
