"""The quick path of the convolution gives what PyTorch's own gives."""

import pytest
import torch

from braindiffusion.models.cascade.conv import Conv3d


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 1), (2, 2, 0), (1, 1, 0)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_one_small_volume(kernel: int, stride: int, padding: int, layout: torch.memory_format) -> None:
    layer = Conv3d(5, 7, kernel, stride=stride, padding=padding).to(memory_format=layout)
    x = torch.randn(1, 5, 10, 13, 11).contiguous(memory_format=layout)
    expected = torch.nn.functional.conv3d(x, layer.weight, layer.bias, stride=stride, padding=padding)
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)


def test_gradients_take_the_usual_path() -> None:
    layer = Conv3d(2, 2, 3, padding=1)
    layer(torch.randn(1, 2, 4, 4, 4)).sum().backward()
    assert layer.weight.grad is not None
