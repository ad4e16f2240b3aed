"""What a generation will take: counted before it begins, and what to change where it does not fit."""

from pathlib import Path

import numpy as np
import pytest

from braindiffusion.conditions import ConditionSchema, Numbers, ScalarField
from braindiffusion.estimate import estimate, generation
from braindiffusion.models.cascade import Cascade, save_model
from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig, UNetConfig
from braindiffusion.runs import GenerateRequest


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two untrained levels that can be asked for an age, of stripped brains."""
    age = ScalarField(name="age", unit="years", seen=Numbers.of(np.arange(20.0, 81.0)))
    level = LevelConfig(unet=UNetConfig(widths=(8,), blocks=(1,), attention=(False,)), steps=5)
    config = CascadeConfig(
        shape=(16, 24, 16), spacing=4.0, depth=1, levels=(level,) * 2, condition=ConditionSchema(fields=(age,))
    )
    folder: Path = tmp_path_factory.mktemp("models") / "small"
    save_model(Cascade(config), folder, {"name": "small", "preprocessing": {"skull": "strip"}})
    return folder


def request(model: Path, **fields: object) -> GenerateRequest:
    return GenerateRequest.model_validate({"model": str(model), "device": "cpu", **fields})


def test_every_sample_is_counted_and_timed(model: Path) -> None:
    found = estimate(request(model, num_samples=3, batch_size=2, steps=[4, 2]))
    assert [level.steps for level in found.levels] == [8, 4]  # in two batches
    assert found.fits
    assert found.seconds is not None
    assert found.seconds > sum(level.steps * (level.seconds_per_step or 0) for level in found.levels) > 0
    assert "of the" in found.verdict


def test_what_is_guided_or_kept_takes_more(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "held_bytes", lambda device: 0)
    plain = estimate(request(model))
    guided = estimate(request(model, condition={"age": 60}, guidance=2.0))
    kept = estimate(request(model, trajectory=True))
    assert guided.bytes > 1.5 * plain.bytes  # asked and unasked in one batch
    assert kept.bytes > plain.bytes
    trial = generation._Trial(request(model, condition={"age": 60}, guidance=2.0, guidance_interval=[0.1, 1.0]))
    inside = [0.1 <= sigma <= 1.0 for sigma in trial.configs[0].levels[0].sampling_sigmas(5)[:-1].tolist()]
    assert trial._guided(0) == pytest.approx((1 + sum(inside) / 5) / 2)
    assert 0 < sum(inside) < 5


def test_what_does_not_fit_is_told_with_a_way_out(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "held_bytes", lambda device: 0)
    asked = request(model, num_samples=8, batch_size=8)
    half = estimate(request(model, num_samples=8, batch_size=4)).bytes
    monkeypatch.setattr(generation, "free_bytes", lambda device: half)
    found = estimate(asked)
    assert found.seconds is None
    assert found.verdict.endswith("use batch size 4.")
    monkeypatch.setattr(generation, "free_bytes", lambda device: 0)
    assert estimate(asked).advice == "use a device with more memory"
