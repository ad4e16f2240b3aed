"""Sampled anatomy: what is drawn, how it is deformed, and that requested volumes are reached."""

import numpy as np
import pytest

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.example_data import sample_labels_path
from braindiffusion.generation.anatomy import (
    ANATOMY,
    AnatomyLibrary,
    composed,
    exponential,
    load_anatomy,
    random_velocity,
)
from braindiffusion.regions import mirror, region_index, regions_of, volumes_ml
from braindiffusion.volume import load_volume

SPACING = 2.0


@pytest.fixture(scope="module")
def library() -> AnatomyLibrary:
    labels = regions_of(load_volume(sample_labels_path()).data[0].astype(np.int64))
    labels = labels[: labels.shape[0] // 2 * 2, : labels.shape[1] // 2 * 2, : labels.shape[2] // 2 * 2]
    maps = np.stack([labels, np.roll(labels, 4, axis=1), np.roll(labels, -4, axis=1)])
    return AnatomyLibrary.build(maps, SPACING, ["young", "old", "unknown"], [25.0, 75.0, None], ["F", "M", None])


def test_the_same_seed_and_condition_give_the_same_map(library: AnatomyLibrary) -> None:
    first, again, other = (library.sample(seed, {"age": 70.0}) for seed in (3, 3, 4))
    assert (first.regions == again.regions).all()
    assert first.provenance == again.provenance
    assert (first.regions != other.regions).any()


@pytest.mark.parametrize(
    ("condition", "subject"), [({"age": 26.0}, "young"), ({"age": 74.0}, "old"), ({"sex": "M"}, "old")]
)
def test_the_subject_fits_the_condition(
    library: AnatomyLibrary, condition: dict[str, float | str], subject: str
) -> None:
    assert {library.sample(seed, condition).subject for seed in range(8)} == {subject}


def test_without_a_condition_every_subject_is_drawn(library: AnatomyLibrary) -> None:
    drawn = [library.sample(seed, {}, deform=False) for seed in range(40)]
    assert {one.subject for one in drawn} == set(library.subjects)
    assert {one.mirrored for one in drawn} == {True, False}


def test_an_undeformed_map_is_the_subjects_own(library: AnatomyLibrary) -> None:
    for seed in range(6):
        drawn = library.sample(seed, {}, deform=False)
        own = library.maps[library.subjects.index(drawn.subject)]
        assert (drawn.regions == (mirror(own) if drawn.mirrored else own)).all()
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


def test_a_library_is_read_as_it_was_written(library: AnatomyLibrary, tmp_path) -> None:
    library.save(tmp_path)
    read = load_anatomy(tmp_path)
    assert read is not None
    assert (read.maps == library.maps).all()
    assert (read.subjects, read.sex, read.spacing) == (library.subjects, library.sex, library.spacing)
    np.testing.assert_array_equal(read.age, library.age)


def test_a_model_without_maps_has_no_library_and_a_damaged_file_is_named(tmp_path) -> None:
    (tmp_path / "none").mkdir()
    assert load_anatomy(tmp_path / "none") is None
    (tmp_path / ANATOMY).write_bytes(b"no archive")
    with pytest.raises(BrainDiffusionError, match=ANATOMY):
        load_anatomy(tmp_path)
