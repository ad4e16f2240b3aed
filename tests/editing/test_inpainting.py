"""Hooks that edit: known voxels, what they leave free, and what they cost."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from braindiffusion.diffusion.denoiser import Denoiser
from braindiffusion.diffusion.samplers import ddim
from braindiffusion.editing.inpainting import Inpainting, resampled
from braindiffusion.editing.inversion import Inversion
from braindiffusion.generation.kept_levels import keep_levels
from braindiffusion.models.card import ModelCard
from braindiffusion.models.cascade import Cascade
from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig, UNetConfig
from braindiffusion.models.cascade.generator import CascadeGenerator
from braindiffusion.models.generator import GenerationStep, LevelContext

SHAPE = (32, 32, 16)
UNET = UNetConfig(widths=(8, 8), blocks=(1, 1), attention=(False, False))
WHOLE, PATCHES = LevelConfig(unet=UNET, steps=4), LevelConfig(unet=UNET, steps=4, patch=4)


@pytest.fixture(scope="module")
def generator() -> CascadeGenerator:
    """Three levels whose weights and constants are noise; the finest is one that learns from patches."""
    cascade = Cascade(CascadeConfig(shape=SHAPE, spacing=2.0, depth=2, levels=(WHOLE, WHOLE, PATCHES))).eval()
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in cascade.parameters():
            p.copy_(0.1 * torch.randn(p.shape, generator=noise))
        for index in range(3):
            level = cascade.level(index)
            level.mean.copy_(torch.randn(level.mean.shape, generator=noise))
            level.std.copy_(0.5 + torch.rand(level.std.shape, generator=noise))
    return CascadeGenerator(cascade, ModelCard())


@pytest.fixture(scope="module")
def volume() -> Tensor:
    return torch.rand(1, 1, *SHAPE, generator=torch.Generator().manual_seed(1)) * 1.6 - 0.8


@pytest.fixture
def hole() -> Tensor:
    """Odd sides: it shares coarse sites with what is known."""
    marked = torch.zeros(SHAPE, dtype=torch.bool)
    marked[9:16, 10:19, 5:10] = True
    return marked


def last(steps: Iterator[GenerationStep]) -> Tensor:
    *_, step = steps
    return step.denoised


def test_a_volume_is_assembled_from_its_own_coefficients(generator: CascadeGenerator, volume: Tensor) -> None:
    whole = generator.assemble(2, generator.coarse_band(volume, 2), generator.coefficients(volume, 2))
    torch.testing.assert_close(whole, volume, atol=1e-5, rtol=0)
    coarse = generator.assemble(0, None, generator.coefficients(volume, 0))
    means = torch.nn.functional.avg_pool3d(volume, 4)
    torch.testing.assert_close(coarse[..., ::4, ::4, ::4], means, atol=1e-5, rtol=0)
    torch.testing.assert_close(generator.assemble(1, generator.coarse_band(volume, 1)), coarse, atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="no coarse band"):
        generator.assemble(0, None)


@pytest.mark.parametrize("resampling", [1, 3])
def test_known_voxels_come_back_and_the_hole_is_generated(
    generator: CascadeGenerator, volume: Tensor, hole: Tensor, resampling: int
) -> None:
    """Nothing of what lies in the hole is used, and what lies around it decides what is generated there."""
    blocks = torch.nn.functional.max_pool3d(hole[None, None].float(), 2)  # sites of the finest level
    known = torch.nn.functional.interpolate(blocks, scale_factor=2)[0, 0] == 0
    made = []
    for around, inside in ((volume, 0.0), (volume, 0.7), (-volume, 0.0)):
        edit = Inpainting(generator, torch.where(hole, inside, around), hole, resampling=resampling)
        made.append(last(generator.sample([5], hooks=[edit], edit_band=edit.edit_band)))
        torch.testing.assert_close(made[-1][..., known], around[..., known], atol=1e-4, rtol=0)
    torch.testing.assert_close(made[0], made[1])
    assert (made[0] - made[2])[..., hole].abs().mean() > 0.01
    edit = Inpainting(generator, volume, hole, resampling=resampling)
    other = last(generator.sample([6], hooks=[edit], edit_band=edit.edit_band))
    assert (made[0] - other)[..., hole].abs().mean() > 0.01


def test_a_window_computes_what_the_whole_grid_does(generator: CascadeGenerator, hole: Tensor) -> None:
    """In the middle of the window, as far as the network sees; outside of it the estimate is 0."""
    band = torch.randn(1, 1, 16, 16, 8, generator=torch.Generator().manual_seed(2))
    context = LevelContext(2, (0,), torch.tensor([1.0, 0.0]), band, torch.tensor([0.03]))
    x = torch.randn(1, 7, 16, 16, 8, generator=torch.Generator().manual_seed(3))
    whole, part = (generator.denoiser(context, where)(x, torch.ones(1)) for where in (None, hole))
    window = generator.cascade.level(2).window(hole)
    assert all(one.start % 2 == 0 for one in window)
    outside = torch.ones(part.shape[2:], dtype=torch.bool)
    outside[window] = False
    assert outside.any()
    assert not part[..., outside].any()
    marked = torch.zeros(SHAPE, dtype=torch.bool)
    marked[8:24, 8:24, :] = True  # its window is the whole grid but for nothing
    torch.testing.assert_close(generator.denoiser(context, marked)(x, torch.ones(1)), whole)
    first = generator.denoiser(LevelContext(0, (0,), torch.tensor([1.0, 0.0])), hole)
    assert first(torch.ones(1, 1, 8, 8, 4), torch.ones(1)).all()


def test_kept_levels_are_the_volumes_own(generator: CascadeGenerator, volume: Tensor) -> None:
    """The coarse band of a variation is that of the volume, and its detail is not."""
    hooks = [keep_levels(generator, volume, 2)]
    made = last(generator.sample([0], hooks=hooks))
    torch.testing.assert_close(generator.coarse_band(made, 2), generator.coarse_band(volume, 2), atol=1e-4, rtol=0)
    assert (made - volume).abs().mean() > 0.1
    kept = last(generator.sample([0], hooks=[keep_levels(generator, volume, 3)]))
    torch.testing.assert_close(kept, volume, atol=1e-4, rtol=0)


def test_resampling_draws_from_the_same_distribution() -> None:
    """Of Gaussian data, whose denoiser is known: the spread of what comes out stays that of the data."""
    sigmas = torch.cat((torch.logspace(1, -2, 40), torch.zeros(1)))
    spread = 0.5

    def exact(x: Tensor, sigma: Tensor, condition: object = None) -> Tensor:
        return 1 + (x - 1) * spread**2 / (spread**2 + sigma.reshape(-1, 1, 1, 1, 1) ** 2)

    denoiser: Denoiser = resampled(exact, LevelContext(0, (0,), sigmas), 4)
    noise = torch.randn(1, 1, 20, 20, 20, generator=torch.Generator().manual_seed(0))
    *_, step = ddim(denoiser, noise * sigmas[0], sigmas)
    assert step.x.mean() == pytest.approx(1.0, abs=0.03)
    assert step.x.std() == pytest.approx(spread, rel=0.06)
    *_, plain = ddim(exact, noise * sigmas[0], sigmas)
    assert torch.corrcoef(torch.stack((step.x.flatten(), plain.x.flatten())))[0, 1] < 0.5


def test_a_volume_comes_back_from_the_noise_that_it_is_inverted_to(generator: CascadeGenerator, volume: Tensor) -> None:
    """The same condition gives the volume; a single iteration gives it less exactly."""
    errors = []
    for iterations in (1, 8):
        inversion = Inversion(generator, volume, iterations=iterations)
        steps = generator.sample([0], hooks=[inversion], edit_band=inversion.edit_band, sampler="ddim", steps=8)
        errors.append(float((last(steps) - volume).square().mean().sqrt()))
    assert errors[1] < 0.02
    assert errors[1] < errors[0]
