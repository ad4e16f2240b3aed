"""Refinement on a moved grid: what it keeps, what it moves along, and that a true denoiser gives the true volume."""

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from braindiffusion.conditions import ConditionSchema, MapField, Numbers, ScalarField
from braindiffusion.diffusion.condition import Condition
from braindiffusion.diffusion.denoiser import Denoiser
from braindiffusion.diffusion.samplers import dpmpp_2m
from braindiffusion.models.cascade import Cascade
from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig, UNetConfig
from braindiffusion.models.cascade.refinement import refine
from braindiffusion.models.cascade.sampling import sample_cascade
from braindiffusion.models.cascade.wavelet import haar, inverse_haar
from braindiffusion.models.condition_tensors import as_condition
from braindiffusion.models.generator import Hook, LevelContext, SeededNoise

SHAPE = (16, 24, 16)
PLAIN = LevelConfig(unet=UNetConfig(widths=(8,), blocks=(1,), attention=(False,), map_width=4), steps=3, patch=4)
REFINED = PLAIN.model_copy(update={"refinement": 0.5})
AGES = Numbers(mean=50, std=10, quantiles=(*range(30, 80, 5), 80))
SCHEMA = ConditionSchema(fields=(ScalarField(name="age", unit="years", seen=AGES), MapField(name="regions", labels=5)))


def toy(levels: tuple[LevelConfig, ...], condition: ConditionSchema = SCHEMA) -> Cascade:
    """Return a cascade whose weights are noise."""
    cascade = Cascade(CascadeConfig(shape=SHAPE, depth=len(levels) - 1, levels=levels, condition=condition)).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in cascade.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return cascade


def brain() -> Tensor:
    """Return noise in a box, air around it."""
    volume = torch.full((1, 1, *SHAPE), -1.0)
    volume[..., 5:12, 6:19, 4:11] = torch.rand(7, 13, 7, generator=torch.Generator().manual_seed(1)) * 0.8 + 0.1
    return volume


def refined(cascade: Cascade, index: int, band: Tensor, *hooks: Hook, condition: Condition | None = None) -> Tensor:
    """Return a band that one level refined."""
    level = cascade.level(index)
    noise = SeededNoise([0], index, (level.outputs, *level.grid), band.device)
    sigmas = torch.tensor([0.5, 0.1, 0.0], dtype=torch.float64)
    return refine(level, band, sigmas, condition, seeds=[0], hooks=hooks, sampler=dpmpp_2m, noise=noise)


@pytest.mark.parametrize("index", [1, 2])
def test_a_true_denoiser_gives_the_true_volume_and_air_stays(index: int) -> None:
    torch.manual_seed(3)
    cascade = toy((PLAIN,) * 3)
    level, truth = cascade.level(index), brain()
    level.mean.uniform_(-0.5, 0.5)
    level.std.uniform_(0.5, 2)
    band = truth if index == 2 else haar(truth)[:, 0]

    def true(context: LevelContext, denoiser: Denoiser) -> Denoiser:
        assert context.moved
        details = level.normalise(haar(torch.roll(band, (-1, -1, -1), (2, 3, 4))))[:, 1:].flatten(1, 2)
        return lambda x, sigma, condition=None: details

    blocky = band + 0.05 * torch.randn(band.shape, generator=torch.Generator().manual_seed(2))
    means = haar(torch.roll(band, (-1, -1, -1), (2, 3, 4)))  # the moved blocks keep their means
    wrong = haar(torch.roll(blocky, (-1, -1, -1), (2, 3, 4)))
    assert not torch.equal(means[:, 1:], wrong[:, 1:])
    wrong[:, 0] = means[:, 0]
    start = torch.roll(inverse_haar(wrong), (1, 1, 1), (2, 3, 4))
    made = refined(cascade, index, start, true)
    unlike = (made - band).abs() > 1e-4
    scale = (level.voxels / 2) ** 1.5
    tissue = torch.nn.functional.max_pool3d((start / scale > -0.9).float(), 3, stride=1, padding=1) > 0
    rim = torch.ones_like(tissue)
    rim[..., 1:-1, 1:-1, 1:-1] = False
    assert not (unlike & tissue & ~rim).any()
    torch.testing.assert_close(made[~tissue | rim], start[~tissue | rim], rtol=0, atol=0)


def test_label_maps_move_with_the_grid_and_other_conditions_do_not() -> None:
    """The map that the network hears is the one of the voxels that it is to make."""
    cascade = toy((PLAIN, PLAIN, PLAIN))
    labels = torch.randint(0, 5, (1, *SHAPE), dtype=torch.uint8)
    told: list[Condition] = []

    def listening(context: LevelContext, denoiser: Denoiser) -> Denoiser:
        def heard(x: Tensor, sigma: Tensor, condition: Condition | None = None) -> Tensor:
            assert condition is not None
            told.append(condition)
            return denoiser(x, sigma, condition)

        return heard

    asked = as_condition(SCHEMA, {"age": 60.0, "regions": labels[0].numpy()}, SHAPE)
    for index, half_a_site in ((1, 2), (2, 1)):
        band = brain() if index == 2 else haar(brain())[:, 0]
        refined(cascade, index, band, listening, condition=asked)
        torch.testing.assert_close(told[-1]["age"], asked["age"])
        inner = (slice(None), *(slice(0, side - half_a_site) for side in SHAPE))
        moved = labels[:, half_a_site:, half_a_site:, half_a_site:]
        torch.testing.assert_close(told[-1]["regions"][inner], moved)


def test_coordinates_are_those_of_the_moved_sites() -> None:
    level = toy((PLAIN,) * 3).level(2)
    seen: list[Tensor] = []
    inner = level.forward

    def watching(*given: Tensor) -> Tensor:
        seen.append(given[4])
        return inner(*given)

    level.forward = watching  # type: ignore[method-assign]
    x, sigma = torch.zeros(1, 7, *level.grid), torch.ones(1)
    coarse = torch.zeros(1, 1, *level.grid)
    for moved in (False, True):
        level.denoiser(coarse, sigma, moved=moved)(x, sigma, None)
    torch.testing.assert_close(seen[1] - seen[0], torch.full_like(seen[0], level.site_mm / 2))


def made(cascade: Cascade, seeds: list[int], **options: object) -> Tensor:
    """Return the volumes of some seeds."""
    *_, step = sample_cascade(cascade, seeds, **options)  # type: ignore[arg-type]
    return step.denoised


def test_only_levels_that_say_so_are_refined_from_where_the_caller_says() -> None:
    plain, all_of_them = toy((PLAIN,) * 3), toy((REFINED,) * 3)
    finest = toy((PLAIN, PLAIN, REFINED))
    unrefined = made(plain, [0])
    assert not torch.equal(made(finest, [0]), unrefined)
    assert torch.equal(made(all_of_them, [0], refine_from=2), made(finest, [0]))
    assert torch.equal(made(all_of_them, [0], refine_from=None), unrefined)
    assert not torch.equal(made(all_of_them, [0]), made(finest, [0])), "the second level is refined, too"
    only_coarsest = toy((REFINED, PLAIN, PLAIN))
    assert torch.equal(made(only_coarsest, [0]), unrefined), "it has no blocks"


def test_a_refined_sample_does_not_depend_on_its_batch_and_steps_are_as_many() -> None:
    cascade = toy((PLAIN, REFINED, REFINED))
    both = made(cascade, [3, 4])
    torch.testing.assert_close(both[1], made(cascade, [4])[0], atol=1e-5, rtol=0)
    steps = list(sample_cascade(cascade, [3]))
    assert len(steps) == len(list(sample_cascade(toy((PLAIN,) * 3), [3])))
    torch.testing.assert_close(steps[-1].noisy(), steps[-1].denoised)


def test_noise_levels_of_a_refinement_are_its_own_and_those_below() -> None:
    level = REFINED.model_copy(update={"sigma_max": 10.0, "steps": 8, "schedule": "karras"})
    sigmas = level.refinement_sigmas(8).tolist()
    own = level.sampling_sigmas(8).tolist()
    assert sigmas == [0.5, *(sigma for sigma in own if sigma < 0.5)]
    distilled = LevelConfig(steps=2, noise_levels=(20.0, 0.5), refinement=0.5)
    assert distilled.refinement_sigmas(2).tolist() == [0.5, 0.0]
    with pytest.raises(ValidationError, match="one of noise_levels"):
        LevelConfig(steps=2, noise_levels=(20.0, 0.5), refinement=0.4)
