"""Changes of age, sex and region volumes: what the training subjects teach, what is reached, what is refused."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.conditions import CategoryField, ConditionSchema, MapField, Numbers, ScalarField, VectorField
from braindiffusion.editing.counterfactual import (
    GUIDANCE,
    between,
    changed_shape,
    deformed,
    name_of,
    ranges,
    volume_ratios,
)
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.example_data import sample_t1_path
from braindiffusion.generation.anatomy import AnatomyLibrary
from braindiffusion.jobs.edit import edit
from braindiffusion.models.cascade import Cascade, save_model
from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig, UNetConfig
from braindiffusion.regions import REGIONS, region_index, volumes_ml
from braindiffusion.runs import ArtifactWritten, EditRequest, Progress, Run
from braindiffusion.volume import load_volume

SETTINGS = Preprocessing(spacing=8.0, shape=(20, 26, 22))
LEFT, RIGHT = (region_index(f"{side} lateral ventricle") for side in ("left", "right"))
GROWTH = 0.03
"""Of the logarithm of a ventricle's volume in a year, in the subjects of the tests."""


def map_with_ventricles(radius: float, shape: tuple[int, int, int] = (40, 52, 44)) -> np.ndarray:
    """A ball of both lateral ventricles in white matter."""
    labels = np.zeros(shape, np.uint8)
    labels[4:-4, 4:-4, 4:-4] = region_index("left cerebral white matter")
    x, y, z = (np.indices(shape).T - (np.array(shape) - 1) / 2).T
    ball = x**2 + y**2 + z**2 < radius**2
    labels[ball & (x < 0)], labels[ball & (x > 0)] = LEFT, RIGHT
    return labels


@pytest.fixture(scope="module")
def library() -> AnatomyLibrary:
    """Subjects whose ventricles grow with age; men have larger ones."""
    maps = np.stack([map_with_ventricles(9)] * 6)
    ages, sexes = [20.0, 40.0, 60.0, 80.0, 30.0, 70.0], ["F", "F", "M", "M", "M", "F"]
    made = AnatomyLibrary.build(maps, 4.0, [str(n) for n in range(6)], ages, sexes)
    for row, (age, sex) in enumerate(zip(ages, sexes, strict=True)):
        made.volumes[row, [LEFT, RIGHT]] = np.exp(1 + GROWTH * age + 0.2 * (sex == "M"))
    return made


def test_volumes_change_as_they_do_among_the_training_subjects(library: AnatomyLibrary) -> None:
    ratios = volume_ratios(library, {"age": 30.0, "sex": "F"}, {"age": 60.0})
    assert ratios[LEFT] == pytest.approx(np.exp(30 * GROWTH), rel=1e-6)
    assert ratios[region_index("left cerebral white matter")] == pytest.approx(1)
    both = volume_ratios(library, {"age": 30.0, "sex": "F"}, {"age": 20.0, "sex": "M"})
    assert both[RIGHT] == pytest.approx(np.exp(-10 * GROWTH + 0.2), rel=1e-6)


def test_a_brain_is_deformed_to_the_expected_and_the_asked_volumes(library: AnatomyLibrary) -> None:
    regions = map_with_ventricles(9)
    box = np.where(regions == LEFT, 0.2, np.where(regions == RIGHT, 0.2, regions > 0)).astype(np.float32)
    before, own = {"age": 40.0, "sex": "F"}, volumes_ml(regions, 4.0)
    older = changed_shape(library, regions, before, {"age": 60.0})
    image, labels = deformed(box, regions, older)
    grown = volumes_ml(labels, 4.0)
    assert grown[LEFT] / own[LEFT] == pytest.approx(np.exp(20 * GROWTH), rel=0.1)
    assert grown[LEFT] == pytest.approx(grown[RIGHT], rel=0.05)
    assert image[labels == LEFT].mean() == pytest.approx(0.2, abs=0.1)  # the picture goes with its map
    asked = changed_shape(library, regions, before, {"volumes": {"left lateral ventricle": 0.7 * own[LEFT]}})
    smaller = volumes_ml(deformed(box, regions, asked)[1], 4.0)
    assert smaller[LEFT] / own[LEFT] == pytest.approx(0.7, rel=0.1)
    assert smaller[RIGHT] / own[RIGHT] == pytest.approx(1, rel=0.1)


def test_ranges_and_what_lies_between() -> None:
    first, last = ranges({"age": "20:80", "sex": "F", "volumes": {"brainstem": "15:20", "vermis": "9"}})
    assert first == {"age": "20", "volumes": {"brainstem": "15"}}
    assert last == {"age": "80", "sex": "F", "volumes": {"brainstem": "20", "vermis": "9"}}
    assert between(20.0, 80.0, 0.5) == 50
    assert between("F", "M", 0.1) == "M"
    assert between({"a": 1.0}, {"a": 3.0, "b": 5.0}, 0.5) == {"a": 2.0, "b": 5.0}
    assert name_of({"age": 42.5, "volumes": {"brainstem": 20.0}}) == "age 42.5, brainstem 20"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two levels that have learnt nothing, with the conditions and the region maps of a real model."""
    seen = Numbers(mean=50, std=10, quantiles=(20, 20, 25, 30, 40, 50, 60, 70, 75, 80, 80))
    schema = ConditionSchema(
        fields=(
            ScalarField(name="age", unit="years", seen=seen),
            CategoryField(name="sex", values=("F", "M")),
            VectorField(name="volumes", unit="ml", entries=(REGIONS[LEFT].name,), seen=(seen,)),
            MapField(name="regions", labels=len(REGIONS)),
        )
    )
    level = LevelConfig(unet=UNetConfig(widths=(8,), blocks=(1,), attention=(False,)), steps=2, refinement=0.3)
    config = CascadeConfig(shape=SETTINGS.shape, spacing=8.0, depth=1, levels=(level,) * 2, condition=schema)
    folder = tmp_path_factory.mktemp("models") / "toy"
    save_model(Cascade(config).eval(), folder, {"name": "toy", "preprocessing": SETTINGS.model_dump(mode="json")})
    maps = np.stack([map_with_ventricles(radius, SETTINGS.shape) for radius in (2, 3, 4)])
    AnatomyLibrary.build(maps, 8.0, ["a", "b", "c"], [30.0, 50.0, 70.0], ["F", "M", "F"]).save(folder)
    return folder


def test_a_sweep_is_written_as_volumes_and_as_one_4d_volume(model: Path, tmp_path: Path, tmp_runs: Path) -> None:
    """At the last level nothing is generated: the scan is deformed, more with each value."""
    request = EditRequest(
        scan=sample_t1_path(),
        change={"age": "40:70"},
        condition={"age": 40.0, "sex": "F"},
        num_values=3,
        first_level=2,
        model=str(model),
        out=tmp_path,
        device="cpu",
    )
    every = list(edit(request, Run.create(request)))
    stages = [event.stage for event in every if isinstance(event, Progress)]
    assert stages[2:] == [f"value {number} of 3, deformed" for number in (1, 2, 3)]
    events = [event for event in every if isinstance(event, ArtifactWritten)]
    assert [event.name for event in events] == ["age 40", "age 55", "age 70", "sweep", "animation"]
    assert [event.kind for event in events] == ["volume"] * 3 + ["trajectory", "figure"]
    with Image.open(tmp_path / "sweep.gif") as animation:
        assert animation.n_frames == 4  # there and back
    scan = load_volume(sample_t1_path())
    values = [load_volume(event.path).data[0].astype(np.float32) for event in events[:3]]
    sweep = nib.load(events[3].path)
    assert sweep.shape == (*scan.shape, 3)
    np.testing.assert_allclose(sweep.affine, scan.affine, atol=1e-4)
    np.testing.assert_allclose(np.moveaxis(sweep.get_fdata(), -1, 0), values, atol=1)
    steps = [np.abs(value - values[0]).mean() for value in values]
    assert 0 == steps[0] < steps[1] < steps[2]
    told = json.loads((tmp_path / "proposal_002.json").read_text())
    assert told["after"] == {"age": 55.0}
    assert told["before"] == {"age": 40.0, "sex": "F"}
    assert (told["sampler"], told["steps"], told["steps_by_level"]) == (None, 0, [0, 0])
    assert [one["after"]["age"] for one in json.loads((tmp_path / "sweep.json").read_text())["values"]] == [40, 55, 70]


def test_a_change_is_generated_from_the_noise_of_the_brain(model: Path, tmp_path: Path, tmp_runs: Path) -> None:
    request = EditRequest(
        scan=sample_t1_path(), change={"age": 70}, first_level=0, model=str(model), out=tmp_path, device="cpu"
    )
    (event,) = (event for event in edit(request, Run.create(request)) if isinstance(event, ArtifactWritten))
    assert event.name == "age 70"
    told = json.loads((tmp_path / "proposal_001.json").read_text())
    assert 18 < told["before"]["age"] < 90  # estimated from the scan
    assert told["sampler"] == "ddim"
    assert told["guidance"] == GUIDANCE
    assert told["largest_displacement_mm"] > 0


@pytest.mark.parametrize(
    "operation", [{"change": {"age": 70}}, {"second": sample_t1_path(1)}, {"seed": 1}], ids=["change", "second", "vary"]
)
def test_only_levels_that_are_generated_are_reported(
    operation: dict[str, object], model: Path, tmp_path: Path, tmp_runs: Path
) -> None:
    request = EditRequest(
        scan=sample_t1_path(), first_level=1, model=str(model), out=tmp_path, device="cpu", **operation
    )
    stages = [event.stage for event in edit(request, Run.create(request)) if isinstance(event, Progress)]
    assert set(stages[2:]) == {"proposal 1 of 1, level 1"}
    told = json.loads((tmp_path / "proposal_001.json").read_text())
    assert (told["steps"], told["steps_by_level"]) == (2, [0, 2])


def test_a_change_that_cannot_be_made_is_told(model: Path, tmp_runs: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    level = LevelConfig(unet=UNetConfig(widths=(8,), blocks=(1,), attention=(False,)), steps=2, refinement=0.3)
    config = CascadeConfig(shape=SETTINGS.shape, spacing=8.0, depth=1, levels=(level,) * 2)
    save_model(Cascade(config), plain, {"name": "plain", "preprocessing": SETTINGS.model_dump(mode="json")})
    cases = [
        ("two different edits", {"change": {"age": 70}, "second": sample_t1_path()}),
        ("guidance scale has no effect", {"change": {"age": 70}, "guidance": 2.0}),
        ("guidance scale has no effect", {"second": sample_t1_path(), "guidance": 1.0}),
        ("A sweep needs a change", {"num_values": 3, "first_level": 1}),
        ("one proposal", {"change": {"age": 70}, "num_values": 3, "num_proposals": 2}),
        ("give the mask, too", {"label": 17, "first_level": 1}),
        ("give the mask, too", {"label": 17, "change": {"age": 70}}),
        ("2 levels", {"change": {"age": 70}, "first_level": 3}),
        ("no region maps of its own voxel size", {"change": {"age": 70}, "model": str(plain), "first_level": 1}),
        ("cannot be changed", {"change": {"site": "HH"}}),
        ("A range of values makes a sweep", {"change": {"age": "20:80"}}),
        ("needs the sex of the brain", {"change": {"sex": "F"}}),
        ("far from what the model saw", {"change": {"age": 200}}),
        ("give a coarser scan", {"super_resolution": True, "model": str(plain), "first_level": 1}),
    ]
    for message, fields in cases:
        request = EditRequest(**{"scan": sample_t1_path(), "model": str(model), "device": "cpu"} | fields)
        with pytest.raises(BrainDiffusionError, match=message):
            list(edit(request, Run.create(request)))
