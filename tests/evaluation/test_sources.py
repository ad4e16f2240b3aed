"""Brains come from cohorts, folders, files and runs, and all in one box."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import zoom

from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.evaluation.groups import choose_groups
from braindiffusion.evaluation.sources import Source, find_brains, preprocessing_of
from braindiffusion.runs import EvaluateRequest, GenerateRequest, Run
from braindiffusion.runs.sidecar import write_sidecar
from braindiffusion.volume import Volume, save_volume

BOX = Preprocessing(spacing=8.0, shape=(20, 26, 22), skull="strip")


def test_a_cohort_gives_people_with_grouped_labels(people: Path, make_person: Callable) -> None:
    sources = find_brains([people], BOX)
    brain = sources[3].read()
    voxels, labels = make_person(3)
    np.testing.assert_allclose(brain.voxels, voxels, atol=1e-3)
    np.testing.assert_array_equal(brain.labels, labels)
    assert (brain.name, sources[3].subject.age) == ("s03", 26.0)
    assert preprocessing_of([people], None).shape == BOX.shape


def test_a_generated_brain_is_taken_as_it_is_with_what_it_was_asked(write: Callable, make_person: Callable) -> None:
    voxels, _ = make_person(7)
    folder = write("sample_001", 0.8 * voxels, model={"name": "ixi-2mm"}, condition={"age": 60})
    write("sample_001_preview", voxels)
    (source,) = find_brains([folder], BOX)
    brain = source.read()
    np.testing.assert_allclose(brain.voxels, 0.8 * voxels, atol=1e-6)
    assert (source.model, brain.asked, brain.labels) == ("ixi-2mm", {"age": 60}, None)
    assert [one.name for one in find_brains([folder / "sample_001.nii.gz"], BOX)] == ["sample_001"]


def test_a_generated_brain_on_another_grid_is_brought_into_the_box(tmp_path: Path, make_person: Callable) -> None:
    """Its grid may happen to have as many voxels as the box."""
    voxels, _ = make_person(7)
    save_volume(Volume(voxels[None], np.diag([4.0, 4, 4, 1])), tmp_path / "small.nii.gz")
    write_sidecar(tmp_path / "small.nii.gz", {"synthetic": True})
    (source,) = find_brains([tmp_path], BOX)
    brain = source.read()
    assert brain.voxels.shape == BOX.shape
    assert np.count_nonzero(brain.voxels) == pytest.approx(np.count_nonzero(voxels) / 8, rel=0.3)


def test_a_run_of_generate_is_the_folder_that_it_wrote_into(
    write: Callable, make_person: Callable, tmp_runs: Path
) -> None:
    folder = write("sample_001", make_person(7)[0])
    run = Run.create(GenerateRequest(out=folder))
    assert [one.name for one in find_brains([run.path], BOX)] == ["sample_001"]


def test_another_scanner_s_stripped_brain_is_brought_into_the_box(tmp_path: Path, make_person: Callable) -> None:
    """Half the voxel size, other intensities, off centre: the same brain comes out, scaled as people are."""
    voxels, labels = make_person(5)
    fine = np.pad(zoom(np.where(labels > 0, 200 + 1000 * voxels, 0), 2, order=1), ((9, 0), (0, 7), (4, 4)))
    save_volume(Volume(fine[None].astype(np.float32), np.diag([4.0, 4, 4, 1])), tmp_path / "x.nii.gz")
    (source,) = find_brains([tmp_path], BOX)
    brain = source.read()
    assert brain.voxels.shape == BOX.shape
    assert (brain.voxels.min(), brain.voxels.max()) == (0, 1)
    assert np.corrcoef(brain.voxels.ravel(), voxels.ravel())[0, 1] > 0.9
    assert brain.labels is None


@pytest.mark.parametrize("background", [0.0, -1000.0])
def test_a_stripped_brain_is_the_same_whatever_its_background(
    tmp_path: Path, make_person: Callable, background: float
) -> None:
    voxels, labels = make_person(5)
    scored = (voxels - voxels[labels > 0].mean()) / voxels[labels > 0].std()
    darkest = scored[labels > 0].min()
    for name, outside in (("a", darkest), ("b", background)):
        data = np.where(labels > 0, scored, outside).astype(np.float32)
        save_volume(Volume(data[None], np.diag([8.0, 8, 8, 1])), tmp_path / f"{name}.nii.gz")
    expected, found = (source.read().voxels for source in find_brains([tmp_path], BOX))
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_label_maps_beside_volumes_are_grouped(tmp_path: Path, make_person: Callable) -> None:
    voxels, labels = make_person(5)
    affine = np.diag([8.0, 8, 8, 1])
    save_volume(Volume(voxels[None] * 500, affine), tmp_path / "x.nii.gz")
    (tmp_path / "maps").mkdir()
    save_volume(Volume(labels[None], affine), tmp_path / "maps" / "x_regions.nii.gz")
    (source,) = find_brains([tmp_path / "x.nii.gz"], BOX, tmp_path / "maps")
    found = source.read().labels
    assert found is not None
    np.testing.assert_array_equal(np.bincount(found.ravel()), np.bincount(labels.ravel()))


def test_what_is_no_brain_of_the_box_is_told(tmp_path: Path, people: Path) -> None:
    head = np.random.default_rng(0).random((1, 20, 26, 22), np.float32) + 1
    save_volume(Volume(head, np.diag([8.0, 8, 8, 1])), tmp_path / "head.nii.gz")
    (source,) = find_brains([tmp_path], BOX)
    with pytest.raises(BrainDiffusionError, match="no skull-stripped brain"):
        source.read()
    with pytest.raises(BrainDiffusionError, match=r"voxels of 2 mm, without the skull.*preprocess the cohort"):
        find_brains([people], Preprocessing())
    with pytest.raises(BrainDiffusionError, match="Two brains are called s00"):
        find_brains([people, people], BOX)
    with pytest.raises(BrainDiffusionError, match="is no volume"):
        find_brains([people / "zarr.json"], BOX)


def generated(write: Callable, make_person: Callable, **sidecar: object) -> Path:
    for i in range(3):
        folder: Path = write(f"sample_{i}", make_person(50 + i)[0], **sidecar)
    return folder


def names(sources: list[Source]) -> set[str]:
    return {source.name for source in sources}


def test_without_a_model_a_fifth_is_held_out_by_name(people: Path, write: Callable, make_person: Callable) -> None:
    groups = choose_groups(EvaluateRequest(real=(people,), generated=(generated(write, make_person),)))
    assert (len(groups.training), len(groups.held_out), groups.model) == (16, 4, "")
    assert not names(groups.training) & names(groups.held_out)


def test_all_sessions_of_a_person_are_in_one_group(sessions: Path, write: Callable, make_person: Callable) -> None:
    groups = choose_groups(EvaluateRequest(real=(sessions,), generated=(generated(write, make_person),)))
    assert (len(groups.training), len(groups.held_out)) == (32, 8)
    assert not {one.person for one in groups.training} & {one.person for one in groups.held_out}


def test_sessions_of_two_people_are_too_few(tmp_path: Path, write: Callable, make_person: Callable) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    for name in ("sub-1_ses-1", "sub-1_ses-2", "sub-2_ses-1", "sub-2_ses-2"):
        (scans / f"{name}_T1w.nii.gz").touch()
    with pytest.raises(BrainDiffusionError, match=r"Too few training people \(2\): at least 3 are needed"):
        choose_groups(EvaluateRequest(real=(scans,), generated=(generated(write, make_person),)))


def test_a_model_that_learnt_from_others_is_told(people: Path, write: Callable, make_person: Callable) -> None:
    folder = generated(write, make_person, model={"name": "ixi-2mm"})
    with pytest.raises(BrainDiffusionError, match=r"The brains of .* are .*; those of the model are"):
        choose_groups(EvaluateRequest(real=(people,), generated=(folder,)))


def test_too_few_are_told(people: Path, write: Callable, make_person: Callable) -> None:
    folder = write("only", make_person(3)[0])
    with pytest.raises(BrainDiffusionError, match=r"Too few generated brains \(1\): at least 3 are needed"):
        choose_groups(EvaluateRequest(real=(people,), generated=(folder,)))


def test_a_generated_brain_of_a_person_s_name_is_its_twin(people: Path, write: Callable, make_person: Callable) -> None:
    folder = generated(write, make_person)
    write("s02", make_person(2)[0])
    groups = choose_groups(EvaluateRequest(real=(people,), generated=(folder,)))
    assert {one.name: one.counterpart for one in groups.generated}["s02 (generated)"] == "s02"


def test_a_damaged_sidecar_leaves_out_its_own_brain_only(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_volume(Volume(np.ones((1, 8, 8, 8), np.float32), np.diag([2.0, 2, 2, 1])), tmp_path / f"{name}.nii.gz")
        write_sidecar(tmp_path / f"{name}.nii.gz", {"synthetic": True, "model": {"name": "m"}})
    (tmp_path / "a.json").write_text("{")
    first, second = find_brains([tmp_path], Preprocessing(shape=(8, 8, 8)))
    with pytest.raises(BrainDiffusionError, match=r"a\.json cannot be read"):
        first.read()
    assert second.model == "m"
    assert second.read().voxels.shape == (8, 8, 8)
