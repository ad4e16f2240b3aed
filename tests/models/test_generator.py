"""Hooks around denoisers, and a second kind of model that jobs run through the protocol alone."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import Tensor

from braindiffusion.conditions import ConditionSchema
from braindiffusion.diffusion.condition import Condition
from braindiffusion.diffusion.denoiser import Denoiser
from braindiffusion.diffusion.noise import NoiseSchedule
from braindiffusion.diffusion.samplers import SAMPLERS
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.generation.guidance import Guidance
from braindiffusion.jobs.generate import generate
from braindiffusion.models.card import ModelCard
from braindiffusion.models.cascade import Cascade
from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig, UNetConfig
from braindiffusion.models.cascade.generator import CascadeGenerator
from braindiffusion.models.generator import GenerationStep, Hook, LevelContext, SeededNoise, apply_hooks
from braindiffusion.models.registry import KINDS, load_generator
from braindiffusion.runs import GenerateRequest, Run

SHAPE = (16, 24, 16)
BRIGHTNESS = 0.5


class GaussianGenerator:
    """White noise of a small standard deviation about one brightness: its denoiser is known in closed form."""

    conditions, shape, spacing, channels = ConditionSchema(), (8, 8, 8), 4.0, 1
    device, voxel_sizes = torch.device("cpu"), (4.0,)

    def __init__(self, folder: Path) -> None:
        self.card = ModelCard(kind="gaussian", name=folder.name)

    def to(self, device: torch.device) -> None: ...

    def steps(self, steps: int | None = None) -> tuple[int, ...]:
        return (steps or 4,)

    def samplers(self, sampler: str | None = None) -> tuple[str, ...]:
        return (sampler or "ddim",)

    def sample(
        self, seeds: list[int], *, hooks: Sequence[Hook] = (), steps: int | None = None, **options: object
    ) -> Iterator[GenerationStep]:
        sigmas = NoiseSchedule("karras", 10.0, 0.01).sampling_sigmas(steps or 4)
        noise = SeededNoise(seeds, 0, (1, *self.shape), self.device)
        denoiser = apply_hooks(hooks, LevelContext(0, tuple(seeds), sigmas), self._denoise)
        x = noise() * float(sigmas[0])
        yield GenerationStep(0, 0, len(sigmas) - 1, float(sigmas[0]), x, lambda: x)
        for step in SAMPLERS["ddim"](denoiser, x, sigmas):
            yield GenerationStep(0, step.step, step.of, step.sigma, step.denoised, lambda now=step: now.x)

    @staticmethod
    def _denoise(x: Tensor, sigma: Tensor, condition: Condition | None = None) -> Tensor:
        share = 0.1**2 / (0.1**2 + sigma.reshape(-1, 1, 1, 1, 1) ** 2)
        return BRIGHTNESS + share * (x - BRIGHTNESS)


def test_a_second_kind_is_one_line_of_the_registry(
    tmp_path: Path, tmp_runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KINDS, "gaussian", f"{__name__}:GaussianGenerator")
    folder = tmp_path / "gaussian"
    folder.mkdir()
    (folder / "model.json").write_text(json.dumps({"kind": "gaussian"}))
    (folder / "model.safetensors").write_bytes(b"")
    request = GenerateRequest(
        model=str(folder), num_samples=2, out=tmp_path / "out", trajectory=True, previews=True, device="cpu"
    )
    list(generate(request, Run.create(request)))
    first, second = (nib.load(tmp_path / "out" / f"sample_00{i}.nii.gz").get_fdata() for i in (1, 2))
    assert first.shape == (8, 8, 8)
    assert first.mean() == pytest.approx((1 + BRIGHTNESS) / 2, abs=0.01)
    assert 0 < np.abs(first - second).mean() < 0.1
    assert json.loads((tmp_path / "out" / "sample_001.json").read_text())["model"]["name"] == "gaussian"


def test_an_unknown_kind_is_told(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(json.dumps({"kind": "oracle"}))
    with pytest.raises(BrainDiffusionError, match="kind oracle, which does not generate: use cascade"):
        load_generator(tmp_path)


def add(number: float) -> Hook:
    return lambda context, denoiser: lambda x, sigma, condition=None: denoiser(x, sigma, condition) + number


def times(number: float) -> Hook:
    return lambda context, denoiser: lambda x, sigma, condition=None: denoiser(x, sigma, condition) * number


def test_the_first_hook_is_the_innermost() -> None:
    context = LevelContext(0, (0,), torch.ones(2))
    x, sigma = torch.ones(1, 1, 2, 2, 2), torch.ones(1)

    def one(x: Tensor, sigma: Tensor, condition: Condition | None = None) -> Tensor:
        return torch.ones_like(x)

    assert float(apply_hooks([add(1), times(3)], context, one)(x, sigma).mean()) == 6
    assert float(apply_hooks([times(3), add(1)], context, one)(x, sigma).mean()) == 4
    assert apply_hooks([], context, one) is one


def test_a_hook_that_replaces_known_coefficients_stands_above_guidance() -> None:
    """With all coefficients known, guided sampling gives the known volume back at every scale."""
    level = LevelConfig(unet=UNetConfig(widths=(8,), blocks=(1,), attention=(False,)), steps=3)
    config = CascadeConfig(shape=SHAPE, spacing=2.0, depth=2, levels=(level,) * 3)
    generator = CascadeGenerator(Cascade(config).eval(), ModelCard())
    volume = torch.rand(1, 1, *SHAPE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    levels = []

    def known(context: LevelContext, denoiser: Denoiser) -> Denoiser:
        levels.append(context.level)
        coefficients = generator.coefficients(volume, context.level)

        def replaced(x: Tensor, sigma: Tensor, condition: Condition | None = None) -> Tensor:
            return torch.where(torch.ones_like(x).bool(), coefficients, denoiser(x, sigma, condition))

        return replaced

    *_, step = generator.sample([0], hooks=[Guidance(3.0, weak=generator), known])
    torch.testing.assert_close(step.volume(), volume, atol=1e-4, rtol=0)
    assert levels == [0, 1, 2]
    assert generator.coarse_band(volume, 0) is None
    band = generator.coarse_band(volume, 2)
    assert band is not None
    assert band.shape == (1, 1, 8, 12, 8)


def test_the_first_step_is_the_noise_and_the_last_noisy_sample_the_brain() -> None:
    level = LevelConfig(unet=UNetConfig(widths=(8,), blocks=(1,), attention=(False,)), steps=3)
    config = CascadeConfig(shape=SHAPE, spacing=2.0, depth=1, levels=(level,) * 2)
    generator = CascadeGenerator(Cascade(config).eval(), ModelCard())
    first, *_, last = generator.sample([0])
    assert (first.level, first.step, first.sigma) == (0, 0, pytest.approx(20.0))
    assert 0.9 < float(first.noisy().std()) < 1.1  # scaled to unit variance
    torch.testing.assert_close(last.noisy_volume(), last.volume())
