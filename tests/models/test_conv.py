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


@pytest.mark.parametrize("shape", [(1, 3, 3), (2, 2, 2), (2, 5, 3), (3, 2, 2)])
@pytest.mark.parametrize("autocast", [True, False])
def test_gradients_of_thin_volumes_in_bfloat16(shape: tuple[int, int, int], autocast: bool) -> None:
    layer = Conv3d(16, 16, 3, padding=1).to(memory_format=torch.channels_last_3d)
    x, out = torch.randn(2, 16, *shape), torch.randn(2, 16, *shape)
    (expected,) = torch.autograd.grad((layer(x) * out).sum(), layer.weight)
    spoilt = [torch.full((2**k,), torch.nan) for k in range(6, 20) for _ in range(8)]  # what unwritten memory holds
    del spoilt
    if autocast:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = layer(x)
    else:
        layer.bfloat16()
        y = layer(x.bfloat16())
    assert y.dtype == torch.bfloat16
    (found,) = torch.autograd.grad((y.float() * out).sum(), layer.weight)
    torch.testing.assert_close(found.float(), expected, atol=0.3, rtol=0.05)
