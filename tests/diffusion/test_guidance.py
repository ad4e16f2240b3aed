"""Guidance: what scale, interval, rescale and fields each do, and what they cost."""

import numpy as np
import pytest
import torch
from diffusers.guiders.guider_utils import rescale_noise_cfg
from torch import Tensor

from braindiffusion.conditions import ConditionSchema, Numbers, ScalarField
from braindiffusion.diffusion.condition import Condition, without_fields
from braindiffusion.diffusion.denoiser import Denoiser, denoise, over
from braindiffusion.diffusion.guidance import autoguided, guided, guided_from
from braindiffusion.diffusion.noise import NoiseSchedule
from braindiffusion.diffusion.samplers import SAMPLERS, SamplerName, evaluations
from braindiffusion.models.cascade import Cascade
from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig, UNetConfig

X = torch.randn(3, 2, 4, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
SIGMA = torch.tensor([0.5, 2.0, 8.0], dtype=torch.float64)
ASKED = {
    "age": torch.tensor([[-1.0], [0.5], [2.0]], dtype=torch.float64),
    "regions": torch.arange(3 * 4 * 3 * 2, dtype=torch.uint8).reshape(3, 4, 3, 2) % 5,
}


class Toy:
    """A conditional denoiser that remembers the batch sizes it was called with."""

    def __init__(self, strength: float = 1.0) -> None:
        self.strength = strength
        self.batches: list[int] = []

    def __call__(self, x: Tensor, sigma: Tensor, condition: Condition | None = None) -> Tensor:
        self.batches.append(len(x))
        told = torch.zeros_like(x)
        if condition:
            told = told + over(condition["age"].nan_to_num(nan=0.3)[:, 0], x)
            labels = condition["regions"]
            told = told + torch.where(labels == 255, 0.1, labels.double() / 4)[:, None]
        return x / (1 + over(sigma, x) ** 2) + self.strength * torch.sin(x + told)


@pytest.fixture
def toy() -> Toy:
    return Toy()


def test_scale_1_is_the_conditional_denoiser_at_its_cost(toy: Toy) -> None:
    same = guided(toy, 1.0, rescale=0.7, interval=(0.0, 1.0))(X, SIGMA, ASKED)
    assert toy.batches == [3]
    assert torch.equal(same, toy(X, SIGMA, ASKED))


def test_scale_0_is_the_unconditional_denoiser(toy: Toy) -> None:
    nothing = guided(toy, 0.0)(X, SIGMA, ASKED)
    assert toy.batches == [6]
    torch.testing.assert_close(nothing, toy(X, SIGMA, without_fields(ASKED)))


def test_guidance_extrapolates_from_one_batch_of_both_halves(toy: Toy) -> None:
    result = guided(toy, 2.5)(X, SIGMA, ASKED)
    assert toy.batches == [6]
    weak, strong = toy(X, SIGMA, without_fields(ASKED)), toy(X, SIGMA, ASKED)
    torch.testing.assert_close(result, weak + 2.5 * (strong - weak))


def test_guidance_of_one_field_asks_for_the_others_in_both_halves(toy: Toy) -> None:
    result = guided(toy, 3.0, fields=["age"])(X, SIGMA, ASKED)
    weak, strong = toy(X, SIGMA, without_fields(ASKED, ["age"])), toy(X, SIGMA, ASKED)
    torch.testing.assert_close(result, weak + 3.0 * (strong - weak))
    assert float((weak - toy(X, SIGMA, without_fields(ASKED))).abs().max()) > 0.1


def test_outside_of_the_interval_the_conditional_denoiser_stands_alone(toy: Toy) -> None:
    guide = guided(toy, 2.0, interval=(1.0, 4.0))
    for sigma, cost, acts in ((1.0, 3, False), (1.1, 6, True), (4.0, 6, True), (4.1, 3, False)):
        level = torch.full((3,), sigma, dtype=torch.float64)
        toy.batches.clear()
        result = guide(X, level, ASKED)
        assert toy.batches == [cost]
        wanted = guided(toy, 2.0)(X, level, ASKED) if acts else toy(X, level, ASKED)
        torch.testing.assert_close(result, wanted)
    # noise levels of their own: each sample by its own
    mixed = guide(X, SIGMA, ASKED)
    torch.testing.assert_close(mixed[1], guided(toy, 2.0)(X, SIGMA, ASKED)[1])
    torch.testing.assert_close(mixed[[0, 2]], toy(X, SIGMA, ASKED)[[0, 2]])


@pytest.mark.parametrize("rescale", [0.0, 0.7, 1.0])
def test_rescale_equals_diffusers_on_the_clean_estimate(toy: Toy, rescale: float) -> None:
    result = guided(toy, 4.0, rescale=rescale)(X, SIGMA, ASKED)
    theirs = rescale_noise_cfg(guided(toy, 4.0)(X, SIGMA, ASKED), toy(X, SIGMA, ASKED), rescale)
    torch.testing.assert_close(result, theirs)
    if rescale == 1:
        torch.testing.assert_close(result.std((1, 2, 3, 4)), toy(X, SIGMA, ASKED).std((1, 2, 3, 4)))


def test_guiding_the_estimate_is_guiding_the_prediction() -> None:
    # Of v, flow and noise alike, as every other implementation does it: they are affine in the estimate.
    def says(prediction: str, shift: Tensor) -> Denoiser:
        return lambda x, sigma, c=None: denoise(
            lambda s, *_: torch.sin(s) + (shift if c else 0), x, sigma, prediction=prediction
        )

    shift = torch.linspace(-1, 1, X[0].numel(), dtype=torch.float64).view_as(X[0])
    for prediction in ("v", "flow", "noise", "x0", "edm"):
        weak, strong = says(prediction, 0 * shift), says(prediction, shift)
        result = autoguided(strong, weak, 3.0)(X, SIGMA, ASKED)
        torch.testing.assert_close(result, says(prediction, 3 * shift)(X, SIGMA, ASKED))


def test_nothing_asked_is_not_guided(toy: Toy) -> None:
    for nothing in (None, {}):
        toy.batches.clear()
        assert torch.equal(guided(toy, 3.0)(X, SIGMA, nothing), toy(X, SIGMA, nothing))
        assert toy.batches == [3, 3]


def test_autoguidance_goes_away_from_the_weak_one(toy: Toy) -> None:
    weak = Toy(0.8)
    guide = autoguided(toy, weak, 2.0, interval=(1.0, 4.0))
    result = guide(X, SIGMA, ASKED)
    a, b = weak(X, SIGMA, ASKED), toy(X, SIGMA, ASKED)
    torch.testing.assert_close(result[1], a[1] + 2.0 * (b[1] - a[1]))
    torch.testing.assert_close(result[[0, 2]], b[[0, 2]])
    assert autoguided(toy, weak, 1.0) is toy
    toy.batches.clear()
    weak.batches.clear()
    guide(X, torch.full((3,), 9.0), ASKED)
    assert (toy.batches, weak.batches) == ([3], [])


def test_guidance_from_another_condition_exaggerates_what_the_change_does(toy: Toy) -> None:
    younger = {**ASKED, "age": ASKED["age"] - 1}
    a, b = toy(X, SIGMA, younger), toy(X, SIGMA, ASKED)
    torch.testing.assert_close(guided_from(toy, younger, 3.0)(X, SIGMA, ASKED), a + 3.0 * (b - a))
    assert torch.equal(guided_from(toy, ASKED, 3.0)(X, SIGMA, ASKED), b)  # nothing changes: a round trip stays one


def test_wrappers_compose(toy: Toy) -> None:
    weak = Toy(0.8)
    both = guided(autoguided(toy, weak, 1.5), 2.0, fields=["age"])(X, SIGMA, ASKED)
    better = autoguided(toy, weak, 1.5)
    hidden = without_fields(ASKED, ["age"])
    a, b = better(X, SIGMA, hidden), better(X, SIGMA, ASKED)
    torch.testing.assert_close(both, a + 2.0 * (b - a))
    # field by field: the outer one's two halves are each guided by the inner one
    twice = guided(guided(toy, 3.0, fields=["regions"]), 2.0, fields=["age"])(X, SIGMA, ASKED)
    inner = guided(toy, 3.0, fields=["regions"])
    a, b = inner(X, SIGMA, hidden), inner(X, SIGMA, ASKED)
    torch.testing.assert_close(twice, a + 2.0 * (b - a))


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_takes_a_guided_denoiser(toy: Toy, name: SamplerName) -> None:
    sigmas = NoiseSchedule("karras", 10.0, 0.1).sampling_sigmas(8)
    low, high = float(sigmas[6]), float(sigmas[2])
    quiet = {"noise": lambda: torch.zeros_like(X)}
    *_, last = SAMPLERS[name](guided(toy, 2.0, (low, high)), X * 10, sigmas, ASKED, **quiet)
    *_, plain = SAMPLERS[name](Toy(), X * 10, sigmas, ASKED, **quiet)
    assert len(toy.batches) == evaluations(name, 8)
    # guided at sigmas 2 to 5; Heun also comes to 3 to 6 from above, of which 6 is outside
    assert toy.batches.count(6) == (8 if name == "heun" else 4)
    assert float((last.x - plain.x).abs().max()) > 0.01


def test_a_level_of_the_cascade_is_guided_with_its_coarse_band_repeated() -> None:
    ages = Numbers.of(np.linspace(20.0, 80.0, 61))
    schema = ConditionSchema(fields=(ScalarField(name="age", unit="years", seen=ages),))
    level_config = LevelConfig(unet=UNetConfig(widths=(8,), blocks=(1,), attention=(False,)))
    config = CascadeConfig(shape=(8, 8, 8), depth=1, levels=(level_config,) * 2, condition=schema)
    torch.manual_seed(0)
    level = Cascade(config).level(1).eval()
    with torch.no_grad():
        for parameter in level.parameters():  # what starts at zero should say something too
            parameter.normal_(std=0.2)
        coarse = torch.randn(2, 1, 4, 4, 4)
        denoiser = level.denoiser(coarse, torch.tensor([0.1, 0.3]))
        x, sigma = torch.randn(2, 7, 4, 4, 4), torch.full((2,), 0.7)
        asked = {"age": torch.tensor([[30.0], [80.0]])}
        result = guided(denoiser, 2.0)(x, sigma, asked)
        weak, strong = denoiser(x, sigma, without_fields(asked)), denoiser(x, sigma, asked)
    assert float((strong - weak).abs().max()) > 1e-3
    torch.testing.assert_close(result, weak + 2.0 * (strong - weak), rtol=1e-4, atol=1e-5)
