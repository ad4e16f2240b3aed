"""Interpolation between two brains: what stays, what comes from which, and on which sphere."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from braindiffusion.editing.interpolation import Interpolation
from braindiffusion.editing.inversion import slerp
from braindiffusion.models.card import ModelCard
from braindiffusion.models.cascade import Cascade
from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig, UNetConfig
from braindiffusion.models.cascade.generator import CascadeGenerator

SHAPE = (16, 16, 16)
LEVEL = LevelConfig(unet=UNetConfig(widths=(8, 8), blocks=(1, 1), attention=(False, False)), steps=8, refinement=0.3)


@pytest.fixture(scope="module")
def generator() -> CascadeGenerator:
    """Two levels whose weights are noise."""
    cascade = Cascade(CascadeConfig(shape=SHAPE, spacing=2.0, depth=1, levels=(LEVEL, LEVEL))).eval()
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in cascade.parameters():
            p.copy_(0.1 * torch.randn(p.shape, generator=noise))
    return CascadeGenerator(cascade, ModelCard())


@pytest.fixture(scope="module")
def volumes() -> tuple[Tensor, Tensor]:
    noise = torch.Generator().manual_seed(1)
    one, other = (torch.rand(SHAPE, generator=noise) * 1.6 - 0.8 for _ in range(2))
    return one, other


@pytest.fixture(scope="module")
def made(generator: CascadeGenerator, volumes: tuple[Tensor, Tensor]) -> Callable[..., list[Tensor]]:
    def make(**options: float) -> list[Tensor]:
        boxes = (volumes[0].numpy(), volumes[1].numpy())
        mixed = Interpolation(generator, boxes, (None, None), iterations=8, **options)
        results = []
        for number in range(1, len(mixed.values) + 1):
            one = mixed.proposal(number)
            how = {"hooks": one.hooks, "edit_band": one.edit_band, "sampler": one.sampler}
            *_, step = generator.sample([0], **how, refine_from=one.refine_from)
            results.append(step.denoised[0, 0])
        return results

    return make


def test_all_levels_lead_from_the_one_brain_to_the_other(
    made: Callable[..., list[Tensor]], volumes: tuple[Tensor, Tensor]
) -> None:
    first, middle, last = made(share=1.0, number=3, first_level=0)
    assert (first - volumes[0]).square().mean().sqrt() < 0.05
    assert (last - volumes[1]).square().mean().sqrt() < 0.05
    away = [float((middle - one).square().mean()) for one in volumes]
    apart = float((volumes[0] - volumes[1]).square().mean())
    assert max(away) < apart


def test_coarse_levels_stay_those_of_the_first_brain(
    made: Callable[..., list[Tensor]], generator: CascadeGenerator, volumes: tuple[Tensor, Tensor]
) -> None:
    own, other = made(share=0.0, first_level=1) + made(share=1.0, first_level=1)
    coarse = generator.coarse_band(volumes[0][None, None], 1)
    for one in (own, other):
        torch.testing.assert_close(generator.coarse_band(one[None, None], 1), coarse, atol=1e-4, rtol=0)
    assert (own - volumes[0]).square().mean().sqrt() < 0.05
    detail = [generator.coefficients(one[None, None], 1).flatten() for one in (own, other, *volumes)]
    alike = torch.corrcoef(torch.stack(detail))
    assert alike[1, 3] > 0.7  # the texture of the second
    assert alike[1, 2] < 0.3


def test_noise_between_two_noises_has_their_length() -> None:
    noise = torch.Generator().manual_seed(0)
    a, b = (torch.randn(1, 1, 12, 12, 12, generator=noise) for _ in range(2))
    for share in (0.0, 0.3, 0.5, 1.0):
        assert slerp(a, b, share).std() == pytest.approx(1, abs=0.05)
    torch.testing.assert_close(slerp(a, b, 0.0), a)
    torch.testing.assert_close(slerp(a, b, 1.0), b)
    torch.testing.assert_close(slerp(a, a, 0.5), a)
    torch.testing.assert_close(slerp(a, b, 0.5), slerp(b, a, 0.5))
