"""Anomaly maps: the normative table, the residual, and the job with a small model."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.editing.anomaly import NOISE_LEVELS, Person, residuals, score
from braindiffusion.editing.normative import (
    CLASSES,
    DEPTHS,
    NormativeTable,
    class_statistics,
    fit_normative,
    load_normative,
    save_normative,
    voxel_classes,
)
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.example_data import sample_t1_path
from braindiffusion.jobs.anomaly import anomaly
from braindiffusion.models.cascade import Cascade, save_model
from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig, UNetConfig
from braindiffusion.models.registry import NORMATIVE, find_model, load_generator
from braindiffusion.runs import AnomalyRequest, ArtifactWritten, Finished, Run
from braindiffusion.volume import Volume, load_volume, save_volume

SETTINGS = Preprocessing(spacing=8.0, shape=(20, 26, 22))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    level = LevelConfig(unet=UNetConfig(widths=(8,), blocks=(1,), attention=(False,)), steps=2, refinement=0.3)
    cascade = Cascade(CascadeConfig(shape=SETTINGS.shape, spacing=8.0, depth=1, levels=(level,) * 2)).eval()
    save_model(cascade, tmp_path / "toy", {"name": "toy", "preprocessing": SETTINGS.model_dump(mode="json")})
    return tmp_path / "toy"


def flat_table(**others: object) -> NormativeTable:
    """Of people whose residual has the mean 0 and the spread 0.1 everywhere."""
    mean, log_variance = [(0.0, 0.0, 0.0)] * CLASSES, [(float(np.log(0.01)), 0.0, 0.0)] * CLASSES
    values = {"subjects": 4, "noise_levels": NOISE_LEVELS, "spacing": 8.0, "middle_age": 50.0, "scores": (0, 1, 2, 3)}
    return NormativeTable(**values | {"mean": mean, "log_variance": log_variance} | others)


def people(count: int, seed: int, regions: np.ndarray) -> list[tuple[np.ndarray, float, str]]:
    """Residuals whose mean and spread depend on age, sex and region in a known way."""
    rng, made = np.random.default_rng(seed), []
    for number in range(count):
        age, sex = float(rng.uniform(20, 80)), "FM"[number % 2]
        mean = np.where(regions == 2, 0.02 * (age - 50) / 10 + (0.03 if sex == "M" else -0.03), -0.1)
        spread = np.where(regions == 2, 0.1 * np.exp(0.1 * (age - 50) / 10), 0.3)
        made.append(((mean + spread * rng.standard_normal(regions.shape)).astype(np.float32), age, sex))
    return made


def test_the_table_makes_healthy_people_of_any_age_and_sex_standard_normal() -> None:
    """Fitted on some people, others have the mean 0 and the spread 1, young and old, in either region."""
    regions = np.ones((24, 20, 16), np.uint8)
    regions[8:20, 4:16, 4:12] = 2
    brain = np.ones(regions.shape, bool)
    fitted = [class_statistics(one, regions, brain, age, sex) for one, age, sex in people(40, 1, regions)]
    table = fit_normative(fitted, NOISE_LEVELS, 2.0)
    for one, age, sex in people(12, 2, regions):
        spreads = table.normalised(one, regions, brain, age, sex)
        for region in (1, 2):
            inside = spreads[regions == region]
            assert abs(inside.mean()) < 4 / np.sqrt(inside.size) + 0.1
            assert inside.std() == pytest.approx(1, abs=0.12)
    one, age, sex = people(1, 3, regions)[0]
    wrong = table.normalised(one, regions, brain, age + 40, sex)[regions == 2]
    assert abs(wrong.mean()) > 0.4


def test_few_voxels_and_few_people_take_what_all_have() -> None:
    """A class that hardly anybody has takes the numbers of the whole brain; three people decide no slope."""
    regions = np.ones((12, 12, 12), np.uint8)
    regions[5:7, 5:7, 5:7] = 3
    brain = np.ones(regions.shape, bool)
    rng = np.random.default_rng(0)
    some = [rng.normal(0.5, 0.2, regions.shape).astype(np.float32) for _ in range(3)]
    fitted = [class_statistics(one, regions, brain, age, "F") for one, age in zip(some, (20, 50, 80), strict=True)]
    table = fit_normative(fitted, NOISE_LEVELS, 2.0)
    slopes = np.array([*table.mean, *table.log_variance])[:, 1:]
    assert (slopes == 0).all()
    assert table.mean[3 * DEPTHS][0] == pytest.approx(0.5, abs=0.02)
    assert np.exp(table.log_variance[3 * DEPTHS][0] / 2) == pytest.approx(0.2, abs=0.01)


def test_the_classes_are_regions_and_their_depths() -> None:
    regions = np.zeros((11, 11, 11), np.uint8)
    regions[1:10, 1:10, 1:10] = 5
    classes = voxel_classes(regions)
    for depth, place in enumerate((1, 2, 3)):
        assert classes[place, 5, 5] == 5 * DEPTHS + depth
    assert classes[5, 5, 5] == 5 * DEPTHS + DEPTHS - 1
    assert classes[0, 0, 0] == 0


def test_what_a_perfect_denoiser_does_not_know_is_the_residual(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A denoiser that answers with a healthy brain, whatever it is shown, leaves the lesion, at every noise level."""
    generator = load_generator(model)
    healthy = torch.rand(1, 1, *SETTINGS.shape) * 0.5
    lesion = torch.zeros_like(healthy)
    lesion[..., 8:12, 8:12, 8:12] = -0.4

    def knowing(context, where=None):
        return lambda x, sigma, condition=None: generator.coefficients(healthy, context.level)

    monkeypatch.setattr(generator, "denoiser", knowing)
    where = torch.ones(SETTINGS.shape, dtype=torch.bool)
    found = list(residuals(generator, healthy + lesion, None, where, (0, 1)))
    assert len(found) == 2 * len(NOISE_LEVELS)
    for one in found:
        torch.testing.assert_close(one, lesion, atol=1e-5, rtol=0)
    spreads = flat_table().normalised(
        found[0][0, 0].numpy(), np.zeros(SETTINGS.shape, np.uint8), where.numpy(), None, None
    )
    assert spreads[10, 10, 10] == pytest.approx(-4, abs=0.01)
    assert score(spreads, where.numpy(), 8.0) == pytest.approx(64 * 0.512)


def test_the_residual_depends_on_the_seed_alone(model: Path) -> None:
    generator, volume = load_generator(model), torch.rand(1, 1, *SETTINGS.shape)
    where = torch.ones(SETTINGS.shape, dtype=torch.bool)
    first, again, other = (torch.stack(list(residuals(generator, volume, None, where, (seed,)))) for seed in (3, 3, 4))
    torch.testing.assert_close(first, again, atol=0, rtol=0)
    assert (first - other).abs().max() > 1e-4
    assert Person(np.zeros(SETTINGS.shape, np.uint8), 60.0, "F").condition(generator) is None


def test_the_map_lies_on_the_grid_of_the_scan_with_its_score_beside_it(
    model: Path, tmp_path: Path, tmp_runs: Path
) -> None:
    """A tilted scan: the map is 0 outside the brain, and follows it; the sidecar has what it was made of."""
    save_normative(flat_table(), model)
    scan = load_volume(sample_t1_path())
    tilt = np.eye(4)
    tilt[:2, :2] = [[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]]
    save_volume(Volume(scan.data, tilt @ scan.affine), tmp_path / "scan.nii.gz")
    out = tmp_path / "map.nii.gz"
    request = AnomalyRequest(
        scan=tmp_path / "scan.nii.gz", model=str(model), out=out, sex="F", num_seeds=2, device="cpu"
    )
    *events, last = anomaly(request, Run.create(request))
    assert isinstance(last, Finished)
    assert "of 4 training subjects" in last.message
    assert [event.path for event in events if isinstance(event, ArtifactWritten)] == [str(out)]
    found = load_volume(out)
    assert found.shape == scan.shape
    np.testing.assert_allclose(found.affine, tilt @ scan.affine, atol=1e-4)
    assert found.data.dtype == np.float32
    assert (found.data[0][scan.data[0] == 0] == 0).mean() > 0.97
    assert (found.data[0][scan.data[0] > 50] != 0).mean() > 0.97
    told = json.loads((tmp_path / "map.json").read_text())
    assert told["synthetic"] is False
    assert told["age_estimated"]
    assert 18 < told["age"] < 90
    assert told["sex"] == "F"
    assert told["score_percentile"] == 100 * np.mean(np.array((0, 1, 2, 3)) < told["score_ml"])
    assert told["steps"] == 2 * 2 * len(NOISE_LEVELS)


def test_a_model_without_a_table_and_a_damaged_table_are_refused(model: Path, tmp_runs: Path) -> None:
    request = AnomalyRequest(scan=sample_t1_path(), model=str(model), device="cpu")
    with pytest.raises(BrainDiffusionError, match="toy has no normative table"):
        list(anomaly(request, Run.create(request)))
    (model / NORMATIVE).write_text('{"subjects": 3}')
    with pytest.raises(BrainDiffusionError, match="cannot be read"):
        list(anomaly(request, Run.create(request)))
    save_normative(flat_table(mean=[(0.0, 0.0, 0.0)]), model)
    with pytest.raises(BrainDiffusionError, match=f"does not have {CLASSES} classes"):
        load_normative(model)
    for others in ({"noise_levels": (0.5,)}, {"spacing": 2.0}):
        save_normative(flat_table(**others), model)
        with pytest.raises(BrainDiffusionError, match="other noise levels or another voxel size"):
            list(anomaly(request, Run.create(request)))
    save_normative(flat_table(), model)
    told = json.loads((model / NORMATIVE).read_text())
    (model / NORMATIVE).write_text(json.dumps(told | {"log_variance": [[1e6, 0, 0]] * CLASSES}))
    with pytest.raises(BrainDiffusionError, match="cannot be read"):
        load_normative(model)


def test_the_packaged_table_is_small_and_of_this_residual() -> None:
    folder = find_model("ixi-2mm")
    table = load_normative(folder)
    assert (folder / NORMATIVE).stat().st_size < 1_000_000
    assert table.noise_levels == NOISE_LEVELS
    assert table.subjects == len(table.scores) >= 20
    assert 35 < table.middle_age < 60
