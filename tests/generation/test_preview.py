"""The coarse preview: soon, smooth, and of the brain that the full generation makes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.generation.anatomy import AnatomyLibrary, load_anatomy
from braindiffusion.jobs import perform
from braindiffusion.jobs.preview import RESTS, preview
from braindiffusion.models.cascade import Cascade, save_model
from braindiffusion.models.cascade.config import CascadeConfig
from braindiffusion.models.cascade.sampling import sample_cascade
from braindiffusion.models.model_cache import cached_model
from braindiffusion.runs import ArtifactWritten, GenerateRequest, PreviewRequest, Progress, Run, RunState
from braindiffusion.runs.command import as_command
from braindiffusion.volume import load_volume

from .conftest import CARD, LEVEL, SCHEMA, SHAPE, speaking

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("braindiffusion.jobs.preview.REST_SECONDS", 0.0)


def of(model: Path, **asked: object) -> PreviewRequest:
    return PreviewRequest(request=GenerateRequest(model=str(model), device="cpu", **asked))


def totals(request: PreviewRequest) -> list[int]:
    """Steps of its level, for each step."""
    told = [(e.stage, e.step, e.total) for e in preview(request, Run.create(request)) if isinstance(e, Progress)]
    return [total for *_, total in dict.fromkeys(told)]


def test_shows_a_brain_and_sharpens_it_in_the_same_file(tmp_path: Path, tmp_runs: Path) -> None:
    config = CascadeConfig(shape=SHAPE, spacing=2.0, depth=3, levels=(LEVEL,) * 4)
    save_model(speaking(config), tmp_path / "deep", CARD)
    request = of(tmp_path / "deep", num_samples=5)
    events = []
    shown = []
    for event in preview(request, run := Run.create(request)):
        events.append(event)
        if isinstance(event, ArtifactWritten):
            shown.append(load_volume(Path(event.path)))
    kinds = [e.kind if isinstance(e, ArtifactWritten) else e.stage for e in events[:-1]]
    # 16 mm is not worth a look, 8 and 4 mm are; the level of 2 mm never runs
    rest = ["level 1"] * RESTS  # between two of these it can be cancelled
    assert kinds == ["level 0"] * 3 + ["level 1"] * 3 + ["preview"] + rest + ["level 2"] * 3 + ["volume"]
    assert [path.name for path in run.results.iterdir()] == ["sample_001_preview.nii"]
    blurred, sharper = (volume.data[0] for volume in shown)
    assert blurred.shape == sharper.shape == SHAPE
    assert np.abs(np.diff(blurred, axis=0)).max() < np.abs(np.diff(sharper, axis=0)).max()


def test_what_is_interpolated_has_no_blocks_and_the_same_mean(cascade: Cascade) -> None:
    step = next(iter(sample_cascade(cascade, [1])))
    object.__setattr__(step, "denoised", torch.linspace(-2, 2, 4).reshape(1, 1, 4, 1, 1).expand(1, 1, 4, 6, 4))
    blocks, smooth = step.volume()[0, 0, :, 12, 8], step.smooth()[0, 0, :, 12, 8]
    assert float(blocks.diff().max()) > 2 * float(smooth.diff().max())
    torch.testing.assert_close(smooth.mean(), blocks.mean(), atol=1e-5, rtol=0)


def test_what_is_asked_shows(told_model: Path, tmp_runs: Path) -> None:
    seen = []
    for asked in ({}, {"age": 60.0}):
        request = of(told_model, condition=asked, guidance=2.0 if asked else 1.0)
        *_, told, _ = preview(request, Run.create(request))
        assert isinstance(told, ArtifactWritten)
        seen.append(load_volume(Path(told.path)).data)
    assert np.abs(seen[0] - seen[1]).max() > 1e-3


def test_the_same_request_has_the_same_preview_whatever_was_shown_between(told_model: Path, tmp_runs: Path) -> None:
    """Anatomy and features of label maps that are kept from one preview to the next are those of the request."""
    labels = np.zeros((2, *SHAPE), np.uint8)
    labels[0, 4:12, 4:20, 4:12], labels[1, 5:11, 6:18, 5:11] = 1, 2
    AnatomyLibrary.build(labels, 2.0, ["a", "b"], [20.0, 80.0], ["F", "M"]).save(told_model)
    load_anatomy.cache_clear()

    def shown(**asked: object) -> np.ndarray:
        request = of(told_model, **asked)
        *_, told, _ = preview(request, Run.create(request))
        assert isinstance(told, ArtifactWritten)
        return load_volume(Path(told.path)).data

    asked: list[dict[str, object]] = [
        {"condition": {"age": 30.0}},
        {"condition": {"age": 70.0}},
        {"condition": {"age": 30.0}, "seed": 3},
        {"condition": {"age": 30.0}, "anatomy": "none"},
    ]
    first, again = ([shown(**one) for one in asked] for _ in range(2))
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert all(np.abs(one - first[0]).max() > 1e-3 for one in first[1:])


def test_the_distilled_model_shows_it_unless_other_guidance_is_asked_for(tmp_path: Path, tmp_runs: Path) -> None:
    slow = LEVEL.model_copy(update={"steps": 20})
    config = CascadeConfig(shape=SHAPE, spacing=2.0, depth=3, levels=(slow,) * 4, condition=SCHEMA)
    quick = LEVEL.model_copy(update={"sampler": "dpmpp_2m", "steps": 2, "noise_levels": (20.0, 1.0)})
    distilled = config.model_copy(update={"levels": (quick,) * 4})
    save_model(speaking(distilled), tmp_path / "quick", CARD)
    save_model(speaking(config), tmp_path / "slow", {**CARD, "fast": {"model": str(tmp_path / "quick")}})

    def steps(**asked: object) -> list[int]:
        request = of(tmp_path / "slow", condition={"age": 60.0}, **asked)
        return totals(request)

    assert steps() == steps(fast=True) == [2] * 6
    assert steps(guidance=2.0) == steps(guidance=0.0) == [4] * 12
    request = of(tmp_path / "quick")  # chosen itself
    assert totals(request) == [2] * 6


def test_bad_questions_are_told_and_a_cancel_stops_it(told_model: Path, tmp_runs: Path) -> None:
    with pytest.raises(BrainDiffusionError, match="far from what the model saw"):
        list(preview(request := of(told_model, condition={"age": 500.0}), Run.create(request)))
    run = Run.create(request := of(told_model))
    events = perform(run)
    next(event for event in events if isinstance(event, Progress))
    events.close()
    assert run.state is RunState.CANCELLED
    assert as_command(request).startswith("braindiffusion generate --model")


def test_a_model_is_read_once_and_again_when_its_file_is_another(
    model: Path, cascade: Cascade, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = cached_model(model, CPU)
    assert cached_model(model, CPU) is first
    assert first.card.name == "toy"
    save_model(speaking(cascade.config, seed=5), model, CARD)
    again = cached_model(model, CPU)
    assert again is not first
    (model / "model.safetensors").unlink()
    with pytest.raises(BrainDiffusionError):
        cached_model(model, CPU)
