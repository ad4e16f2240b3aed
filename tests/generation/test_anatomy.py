"""Sampled anatomy: what is drawn, how it is deformed, and that requested volumes are reached."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from braindiffusion.conditions import QUANTILES
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.example_data import sample_labels_path
from braindiffusion.generation.anatomy import AnatomyLibrary, load_anatomy, sample_anatomy
from braindiffusion.generation.inputs import Conditions
from braindiffusion.generation.reproduce import request_from_sidecar
from braindiffusion.models.model_cache import cached_model
from braindiffusion.models.registry import ANATOMY, find_model, read_card
from braindiffusion.regions import region_index, regions_of, volumes_ml
from braindiffusion.regions.deformation import composed, exponential, random_velocity
from braindiffusion.regions.sulci import CORTEX, FLUID, LEVELS
from braindiffusion.runs import Failed, Finished, GenerateRequest
from braindiffusion.volume import load_volume

from .conftest import generated

SPACING = 2.0


@pytest.fixture(scope="module")
def library() -> AnatomyLibrary:
    labels = regions_of(load_volume(sample_labels_path()).data[0].astype(np.int64))
    low, high = np.argwhere(labels).min(0), np.argwhere(labels).max(0)
    labels = labels[tuple(slice(a, a + (b - a + 1) // 2 * 2) for a, b in zip(low, high, strict=True))]
    labels = np.pad(labels, 6)
    maps = np.stack([labels, np.roll(labels, 4, axis=1), np.roll(labels, -4, axis=1)])
    return AnatomyLibrary.build(maps, SPACING, ["young", "old", "unknown"], [25.0, 75.0, None], ["F", "M", None])


def test_a_preview_has_nearly_the_same_map(library: AnatomyLibrary) -> None:
    wanted = {"age": 70.0, "volumes": {"left lateral ventricle": 12.0}}
    exact, quick = (library.sample(3, wanted, nearest=nearest) for nearest in (False, True))
    assert exact.subject == quick.subject
    inside = exact.regions > 0
    assert (exact.regions == quick.regions)[inside].mean() > 0.9
    assert volumes_ml(quick.regions, SPACING)[region_index("left lateral ventricle")] == pytest.approx(12, rel=0.05)


def test_the_same_seed_and_condition_give_the_same_map(library: AnatomyLibrary) -> None:
    first, again, other = (library.sample(seed, {"age": 70.0}) for seed in (3, 3, 4))
    assert (first.regions == again.regions).all()
    assert first.provenance == again.provenance
    assert (first.regions != other.regions).any()


def test_a_map_that_is_kept_is_the_one_that_would_be_drawn(library: AnatomyLibrary) -> None:
    wanted = {"third ventricle": 2.0, "left hippocampus": 3.0}
    asked = [{}, {"age": 26.0}, {"age": 26.0, "sex": "F"}, {"age": 26.0, "volumes": wanted}]
    for condition in asked * 2:
        kept = sample_anatomy(library, 1, condition, nearest=True)
        assert (kept.regions == library.sample(1, condition, nearest=True).regions).all()
    other_order = {"volumes": dict(reversed(wanted.items())), "age": 26.0, "embeddings": [1.0]}
    assert sample_anatomy(library, 1, other_order, nearest=True) is kept
    assert sample_anatomy(library, 1, asked[-1]) is not kept


@pytest.mark.parametrize(
    ("condition", "subject"), [({"age": 26.0}, "young"), ({"age": 74.0}, "old"), ({"sex": "M"}, "old")]
)
def test_the_subject_fits_the_condition(
    library: AnatomyLibrary, condition: dict[str, float | str], subject: str
) -> None:
    assert {library.sample(seed, condition, deform=False).subject for seed in range(8)} == {subject}


def test_without_a_condition_every_subject_is_drawn(library: AnatomyLibrary) -> None:
    drawn = [library.sample(seed, {}, deform=False) for seed in range(40)]
    assert {one.subject for one in drawn} == set(library.subjects)


def test_an_undeformed_map_is_the_subjects_own(library: AnatomyLibrary) -> None:
    for seed in range(6):
        drawn = library.sample(seed, {}, deform=False)
        own = library.maps[library.subjects.index(drawn.subject)]
        assert (drawn.regions == own).all()
        assert drawn.displacement_mm == 0


@pytest.mark.parametrize("seed", range(5))
def test_deformations_are_invertible_and_do_not_fold(seed: int) -> None:
    velocity = random_velocity(np.random.default_rng(seed), (40, 52, 44), 4.0)
    displacement = exponential(velocity)
    jacobian = np.stack([np.stack(np.gradient(axis)) for axis in displacement])
    jacobian += np.eye(3)[:, :, None, None, None]
    assert np.linalg.det(np.moveaxis(jacobian, (0, 1), (-2, -1))).min() > 0.2
    there_and_back = composed(displacement, exponential(-velocity))
    assert np.abs(there_and_back[:, 5:-5, 5:-5, 5:-5]).max() < 0.2


@pytest.mark.parametrize("factor", [0.7, 1.4])
def test_requested_volumes_are_reached(library: AnatomyLibrary, factor: float) -> None:
    names = ("left hippocampus", "left lateral ventricle", "third ventricle")
    usual = library.volumes.mean(0)
    wanted: dict[str, float | str] = {name: float(usual[region_index(name)] * factor) for name in names}
    volumes = volumes_ml(library.sample(1, {"volumes": wanted}).regions, SPACING)
    for name, value in wanted.items():
        assert volumes[region_index(name)] == pytest.approx(float(value), rel=0.08, abs=0.1)


@pytest.fixture(scope="module")
def with_intensities(library: AnatomyLibrary) -> AnatomyLibrary:
    """The library with dark planes in the cortex of its subjects."""
    planes = np.zeros(library.maps.shape, bool)
    planes[:, ::5] = True
    relative = np.where(planes & np.isin(library.maps, CORTEX), np.uint8(0), np.uint8(LEVELS - 1))
    return replace(library, relative=relative)


@pytest.mark.parametrize("nearest", [False, True])
def test_thin_sulci_are_cortex_and_deformed_with_the_map(
    library: AnatomyLibrary, with_intensities: AnatomyLibrary, nearest: bool
) -> None:
    finer, plain = (one.sample(2, {}, nearest=nearest) for one in (with_intensities, library))
    assert finer.provenance == plain.provenance
    assert (finer.regions == plain.regions).all()
    assert plain.sulci is None
    assert (plain.with_sulci == plain.regions).all()
    assert finer.sulci is not None
    assert np.isin(finer.regions[finer.sulci], CORTEX).all()
    assert finer.sulci.sum() / np.isin(finer.regions, CORTEX).sum() == pytest.approx(0.2, abs=0.05)
    assert (finer.with_sulci == np.where(finer.sulci, FLUID, finer.regions)).all()


def test_a_library_is_read_as_it_was_written(
    library: AnatomyLibrary, with_intensities: AnatomyLibrary, tmp_path
) -> None:
    library.save(tmp_path)
    read = load_anatomy(tmp_path)
    assert read is not None
    assert (read.maps == library.maps).all()
    assert read.relative is None
    with_intensities.save(tmp_path)
    load_anatomy.cache_clear()
    again = load_anatomy(tmp_path)
    assert again is not None
    assert again.relative is not None
    assert with_intensities.relative is not None
    assert (again.relative == with_intensities.relative).all()
    assert (read.subjects, read.sex, read.spacing) == (library.subjects, library.sex, library.spacing)
    np.testing.assert_array_equal(read.age, library.age)


def test_a_model_without_maps_has_no_library_and_a_damaged_file_is_named(tmp_path) -> None:
    (tmp_path / "none").mkdir()
    assert load_anatomy(tmp_path / "none") is None
    (tmp_path / ANATOMY).write_bytes(b"no archive")
    with pytest.raises(BrainDiffusionError, match=ANATOMY):
        load_anatomy(tmp_path)


@pytest.mark.parametrize(
    ("part", "value", "said"),
    [
        ("maps", np.zeros((3, 8, 8), np.uint8), "no maps of regions"),
        ("maps", np.full((3, 8, 8, 8), 41, np.uint8), "no maps of regions"),
        ("maps", np.zeros((2, 8, 8, 8), np.uint8), "another number of maps"),
        ("subjects", np.array([1, 2, 3]), "of another type"),
        ("age", np.array(["old", "older", "oldest"]), "of another type"),
        ("velocities", np.zeros((3, 3, 1, 1, 1), np.int8), "velocities do not fit"),
        ("relative", np.zeros((3, 8, 8, 8), np.uint8), "relative intensities do not fit"),
        ("spacing", np.array(np.nan), "out of bounds"),
        ("sex", None, "sex"),
    ],
)
def test_a_library_whose_parts_do_not_fit_is_one_sentence(
    library: AnatomyLibrary, tmp_path, part: str, value: np.ndarray | None, said: str
) -> None:
    path = library.save(tmp_path)
    with np.load(path) as file:
        parts = {**file, part: value}
    np.savez_compressed(path, **{name: one for name, one in parts.items() if one is not None})
    with pytest.raises(BrainDiffusionError, match=rf"region maps .*{said}.*install the model again"):
        load_anatomy(tmp_path)


@pytest.fixture
def model_with_maps(told_model, told) -> Path:
    shape = told.config.shape
    labels = np.zeros((2, *shape), np.uint8)
    labels[0, 4:12, 4:20, 4:12] = region_index("brainstem")
    labels[1, 5:11, 6:18, 5:11] = region_index("left hippocampus")
    AnatomyLibrary.build(labels, SPACING, ["a", "b"], [20.0, 80.0], ["F", "M"]).save(told_model)
    load_anatomy.cache_clear()
    return told_model


def test_a_brain_without_a_region_map_gets_a_sampled_one(model_with_maps, tmp_path) -> None:
    events = generated(model_with_maps, tmp_path / "out", condition={"age": 21.0}, segmentation=True)
    assert isinstance(events[-1], Finished), events[-1]
    told = json.loads((tmp_path / "out/sample_001.json").read_text())
    assert told["anatomy"]["subject"] == "a"
    drawn = load_anatomy(model_with_maps).sample(0, {"age": 21.0})
    written = load_volume(tmp_path / "out/sample_001_regions.nii.gz")
    assert (written.data[0] == drawn.regions).all()
    brain = load_volume(tmp_path / "out/sample_001.nii.gz")
    np.testing.assert_allclose(written.affine, brain.affine)
    given = generated(
        model_with_maps,
        tmp_path / "given",
        condition={"age": 21.0, "regions": str(tmp_path / "out/sample_001_regions.nii.gz")},
    )
    assert isinstance(given[-1], Finished), given[-1]
    assert (load_volume(tmp_path / "given/sample_001.nii.gz").data == brain.data).all()
    assert json.loads((tmp_path / "given/sample_001.json").read_text())["anatomy"] is None


def test_the_model_is_shown_thin_sulci_that_the_saved_map_lacks(told_model: Path) -> None:
    """Of a model that takes its maps twice as fine as its library, both are repeated."""
    generator = cached_model(told_model, torch.device("cpu"))
    x, y, z = (n // 2 for n in generator.shape)
    labels = np.zeros((1, x, y, z), np.uint8)
    labels[0, 2:-2, 2:-2, 2:-2] = region_index("left frontal cortex")
    relative = np.full(labels.shape, LEVELS - 1, np.uint8)
    relative[:, :, y // 2] = 0
    library = AnatomyLibrary.build(labels, 2 * SPACING, ["a"], [50.0], ["F"])
    replace(library, relative=relative).save(told_model)
    load_anatomy.cache_clear()
    conditions = Conditions(GenerateRequest(model=str(told_model)), generator)
    shown, saved = conditions.tensors([1], torch.device("cpu"))["regions"][0].numpy(), conditions.region_map(1)
    assert saved is not None
    assert not (saved == FLUID).any()
    assert (shown == FLUID).sum() > 8
    assert (saved == shown)[shown != FLUID].all()


def test_a_finished_sample_is_reproduced_and_not_generated_again(model_with_maps, tmp_path) -> None:
    out = tmp_path / "out"
    generated(model_with_maps, out)
    before = (out / "sample_001.nii.gz").stat().st_mtime_ns
    assert isinstance(generated(model_with_maps, out)[-1], Finished)
    assert (out / "sample_001.nii.gz").stat().st_mtime_ns == before
    assert isinstance(generated(model_with_maps, out, anatomy="none")[-1], Failed)
    request = request_from_sidecar(out / "sample_001.json", tmp_path / "again")
    assert request.anatomy == "sampled"
    told = json.loads((out / "sample_001.json").read_text())
    del told["anatomy"]  # written before there was any
    (out / "sample_001.json").write_text(json.dumps(told))
    assert request_from_sidecar(out / "sample_001.json", tmp_path / "again").anatomy == "none"


def test_sampled_anatomy_of_a_model_without_maps_is_refused(told_model, tmp_path) -> None:
    load_anatomy.cache_clear()
    last = generated(told_model, tmp_path / "out", anatomy="sampled")[-1]
    assert isinstance(last, Failed)
    assert "no region maps" in last.message


def test_maps_of_another_shape_than_the_model_are_refused(model_with_maps, tmp_path) -> None:
    labels = np.full((2, 10, 10, 10), region_index("brainstem"), np.uint8)
    AnatomyLibrary.build(labels, SPACING, ["a", "b"], [20.0, 80.0], ["F", "M"]).save(model_with_maps)
    load_anatomy.cache_clear()
    last = generated(model_with_maps, tmp_path / "out")[-1]
    assert isinstance(last, Failed)
    assert "of another shape than its brains" in last.message


@pytest.mark.parametrize("model", ["ixi-2mm", "brain-1mm"])
def test_the_ranges_of_a_packaged_model_are_those_of_its_region_maps(model: str) -> None:
    """Maps whose left and right are mixed up are not shipped: nor may the card count them."""
    library = load_anatomy(find_model("ixi-2mm"))
    assert library is not None
    (volumes,) = (field for field in read_card(find_model(model)).conditions.fields if field.name == "volumes")
    for i, seen in enumerate(volumes.seen, start=1):
        np.testing.assert_allclose(seen.quantiles, np.percentile(library.volumes[:, i], QUANTILES), atol=1e-3)


def test_drawn_maps_have_a_surface_as_smooth_as_people_s() -> None:
    library = load_anatomy(find_model("ixi-2mm"))
    assert library is not None

    def surface(labels: np.ndarray) -> float:
        brain = labels > 0
        return float((brain & ~ndimage.binary_erosion(brain)).sum() / brain.sum() ** (2 / 3))

    people = np.mean([surface(labels) for labels in library.maps[::8]])
    drawn = np.mean([surface(library.sample(seed, {}).regions) for seed in range(5)])
    assert drawn == pytest.approx(people, rel=0.015)  # 1.04 of it without smoothing
