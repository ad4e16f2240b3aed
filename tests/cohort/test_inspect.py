"""Planted faults on the packaged brains are told; the brains as they are, and whole heads of IXI, give no alarm."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from braindiffusion.cohort.prepare import prepare
from braindiffusion.cohort.qc.thumbnail import SIDE
from braindiffusion.cohort.store import Cohort
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.example_data import (
    SUBJECTS,
    sample_labels_path,
    sample_participants_path,
    sample_t1_path,
    samples_dir,
)
from braindiffusion.jobs.inspect import inspect
from braindiffusion.regions import MIRRORED, REGIONS, group
from braindiffusion.runs import Event, Finished, Inspected, InspectRequest, PrepareRequest, Run, Warned

Rows = dict[str, Inspected]


def look(folder: Path, run: Path, **fields: object) -> tuple[Rows, list[Event]]:
    request = InspectRequest.model_validate({"data_dir": folder, "workers": 1} | fields)
    events = list(inspect(request, Run.create(request, run)))
    return {event.subject: event for event in events if isinstance(event, Inspected)}, events


def told(row: Inspected) -> dict[str, str]:
    kinds: dict[str, str] = {}
    for mark in row.marks:
        kinds[mark.kind] = f"{kinds.get(mark.kind, '')}{mark.severity}: {mark.message}. "
    return kinds


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> tuple[Rows, list[Event]]:
    return look(
        samples_dir() / "IXI-T1",
        tmp_path_factory.mktemp("run"),
        labels=samples_dir() / "labels",
        participants=sample_participants_path(),
    )


def test_real_brains_give_no_alarm(samples: tuple[Rows, list[Event]]) -> None:
    rows, events = samples
    assert set(rows) == set(SUBJECTS)
    for row in rows.values():
        assert row.marks == ()
        assert (row.site, row.modality, row.spacing) == ("HH", "T1", (2, 2, 2))
        assert row.age is not None
        assert row.sex is not None
        assert Path(row.labels or "").is_file()
        with Image.open(row.thumbnail) as picture:
            assert picture.size == (3 * SIDE, SIDE)
            assert np.asarray(picture).std() > 20
    assert isinstance(events[-1], Finished)
    assert (events[-1].message, events[-1].problems) == ("6 volumes", 0)
    assert not any(isinstance(event, Warned) for event in events)


def test_the_thumbnail_shows_the_front_at_the_left_and_the_top_at_the_top(tmp_path: Path) -> None:
    from braindiffusion.cohort.qc.thumbnail import write_thumbnail

    data = np.zeros((96, 96, 96))
    data[48, 90, 90] = 1  # in the middle, in front, on top
    data[5, 90, 48] = 0.5  # at the left
    write_thumbnail(data, (1, 1, 1), np.full(3, 48.5), tmp_path / "new" / "t.png")
    side, _, above = np.split(np.asarray(Image.open(tmp_path / "new" / "t.png")), 3, axis=1)
    assert np.argwhere(side).tolist() == [[5, 5]]
    assert np.argwhere(above).tolist() == [[5, 5]]


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """The six brains, and what was done to some of them."""
    folder = tmp_path_factory.mktemp("faulty")
    for index, subject in enumerate(SUBJECTS):
        shutil.copy(sample_t1_path(index), folder / f"{subject}.nii.gz")
    image = nib.load(sample_t1_path(0))
    data, affine = np.asarray(image.dataobj), image.affine
    head = nib.load(sample_t1_path(2))
    other = np.asarray(head.dataobj)
    axis = nib.io_orientation(affine)[:, 0].tolist().index

    def put(name: str, voxels: np.ndarray, where: np.ndarray = affine) -> None:
        nib.save(nib.Nifti1Image(voxels, where), folder / f"{name}.nii.gz")

    put("upside-down", np.flip(data, axis(2)))
    put("back-to-front", np.flip(data, axis(1)))
    put("mirrored", np.flip(data, axis(0)))
    put("cut", other.take(range(10, other.shape[2] - 10), 2))
    put("scaled", data.astype(np.float32) * 1000)
    nans = data.astype(np.float32)
    nans[3, 4, 5] = np.nan
    put("nan", nans)
    put("empty", np.zeros_like(data))
    put("noisy", (other + np.random.default_rng(0).normal(0, 30, other.shape) * (other > 0)).clip(0).astype(np.int16))
    put("clipped", np.minimum(other, 120))
    put("few-greys", other // 16)
    hot = other.astype(np.float32)
    hot[5, 5, 5] = 1e5
    put("hot", hot)
    put("slab", data.repeat(3, axis(1)).repeat(3, axis(0)), affine @ np.diag([1 / 3, 1 / 3, 1, 1]))
    put("noise", np.random.default_rng(0).normal(100, 10, (70, 80, 70)).astype(np.float32))
    turn = np.eye(4)
    c, s = np.cos(np.radians(30)), np.sin(np.radians(30))
    turn[1:3, 1:3] = [[c, -s], [s, c]]
    put("tilted", data, turn @ affine)
    forms = nib.Nifti1Image(data, affine)
    forms.set_sform(np.diag([-1, 1, 1, 1]) @ affine, 1)
    forms.set_qform(affine, 1)
    nib.save(forms, folder / "two-sides.nii.gz")
    forms.set_sform(affine, 1)
    moved = affine.copy()
    moved[0, 3] += 12
    forms.set_qform(moved, 1)
    nib.save(forms, folder / "two-places.nii.gz")
    coded = nib.Nifti1Image(data, affine)
    coded.set_sform(affine, 0)
    coded.set_qform(affine, 0)
    nib.save(coded, folder / "no-codes.nii.gz")
    (folder / "text.nii").write_text("no volume")
    return look(folder, tmp_path_factory.mktemp("run"))[0]


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("upside-down", "orientation", "warning: it lies otherwise than its header says: by its picture, top is"),
        ("back-to-front", "orientation", "front is back"),
        ("mirrored", "duplicate", "the mirror image of IXI080-HH-1341"),
        ("cut", "cut-off", "warning: it is cut off at the bottom"),
        ("cut", "cut-off", "top ("),
        ("cut", "duplicate", "same scan as"),
        ("scaled", "intensities", "times brighter than the others"),
        ("scaled", "duplicate", "warning: it is the same scan as"),
        ("nan", "file", "problem: "),
        ("nan", "file", "NaN"),
        ("empty", "empty", "problem: it is empty: all its voxels are 0"),
        ("noisy", "noise", "times as noisy as the others"),
        ("clipped", "intensities", "it is clipped"),
        ("few-greys", "intensities", "grey values"),
        ("hot", "intensities", "note: its brightest voxel"),
        ("slab", "spacing", "thick slices"),
        ("noise", "content", "not that of a T1w head"),
        ("tilted", "tilt", "note: it lies 30 degrees tilted"),
        ("two-sides", "header", "disagree about which side is left"),
        ("two-places", "header", "up to 12 mm apart"),
        ("no-codes", "file", "sform and qform codes are 0"),
        ("text", "file", "problem: "),
    ],
)
def test_planted_faults_are_told(faulty: Rows, name: str, kind: str, words: str) -> None:
    assert words in told(faulty[name])[kind]


def test_whom_nothing_was_done_to_has_no_mark(faulty: Rows) -> None:
    """Of a scan and its copy the first by name is the one to keep."""
    kinds = {subject: set(told(faulty[subject])) for subject in SUBJECTS}
    assert not any(kinds.values()), kinds


def test_the_most_severe_flag_comes_first(faulty: Rows) -> None:
    severities = ["problem", "warning", "note"]
    for row in faulty.values():
        places = [severities.index(mark.severity) for mark in row.marks]
        assert places == sorted(places)


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Callable[..., tuple[Rows, list[Event]]]]:
    """A folder with a brain and its labels, looked at."""
    folder = tmp_path / "one"
    for kind, path in (("IXI-T1", sample_t1_path()), ("labels", sample_labels_path())):
        (folder / kind).mkdir(parents=True)
        shutil.copy(path, folder / kind)

    def run(**fields: object) -> tuple[Rows, list[Event]]:
        return look(folder / "IXI-T1", tmp_path / "run", labels=folder / "labels", **fields)

    return run


def test_labels_that_lie_elsewhere_are_told(one: Callable[..., tuple[Rows, list[Event]]], tmp_path: Path) -> None:
    path = tmp_path / "one" / "labels" / sample_labels_path().name
    image = nib.load(path)
    affine = image.affine.copy()
    affine[:3, 3] += 60
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), affine), path)
    rows, events = one()
    assert "problem: its label map does not lie on its brain" in told(rows[SUBJECTS[0]])["labels"]
    assert any(isinstance(event, Warned) and "no table of participants" in event.message for event in events)
    nib.save(nib.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine), path)
    rows, events = one()
    assert told(rows[SUBJECTS[0]])["labels"] == "problem: its label map is empty. "
    assert isinstance(events[-1], Finished)
    assert events[-1].problems == 1


def test_mixed_up_sides_of_a_label_map_are_a_problem(
    one: Callable[..., tuple[Rows, list[Event]]], tmp_path: Path
) -> None:
    path = tmp_path / "one" / "labels" / sample_labels_path().name
    image = nib.load(path)
    labels = np.asarray(image.dataobj)
    grouped = group(labels)
    right = np.isin(MIRRORED[grouped], [region.index for region in REGIONS if region.hemisphere == "R"])
    few = right & (np.random.default_rng(0).random(labels.shape) < 0.8)
    dlmuse = np.array([region.dlmuse[0] for region in REGIONS], labels.dtype)
    nib.save(nib.Nifti1Image(np.where(few, dlmuse[MIRRORED[grouped]], labels), image.affine), path)
    rows, events = one()
    assert "problem: its label map mixes up left and right" in told(rows[SUBJECTS[0]])["labels"]
    assert events[-1].problems == 1


def test_a_text_file_is_no_volume_rather_than_one_without_a_label_map(
    one: Callable[..., tuple[Rows, list[Event]]], tmp_path: Path
) -> None:
    text = tmp_path / "one" / "IXI-T1" / "IXI999-HH-9999-T1.nii.gz"
    text.write_text("no volume")
    rows, _ = one()
    assert "no NIfTI" in told(rows["IXI999-HH-9999"])["file"]
    assert "label map" not in told(rows["IXI999-HH-9999"])["file"]


@pytest.mark.parametrize("voxels", [2, 50, 500])
def test_a_volume_of_a_few_bright_voxels_is_told(tmp_path: Path, voxels: int) -> None:
    """The 99.9th percentile of its intensities is the lowest of them."""
    data = np.zeros((100, 100, 100), np.float32)
    data.flat[np.linspace(333_333, 666_666, voxels).astype(int)] = np.linspace(50, 100, voxels)
    (tmp_path / "images").mkdir()
    nib.save(nib.Nifti1Image(data, np.diag([2, 2, 2, 1.0])), tmp_path / "images" / "dots.nii.gz")
    rows, events = look(tmp_path / "images", tmp_path / "run")
    assert isinstance(events[-1], Finished)
    assert "no brain and no head" in told(rows["dots"])["size"]


def test_whom_the_table_does_not_know(one: Callable[..., tuple[Rows, list[Event]]], tmp_path: Path) -> None:
    table = tmp_path / "people.tsv"
    table.write_text(f"participant_id\tage\tsex\n{SUBJECTS[0]}\tn/a\tF\n")
    rows, _ = one(participants=table)
    assert told(rows[SUBJECTS[0]])["person"] == "note: age unknown. "


def test_an_empty_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BrainDiffusionError, match="no T1 volumes"):
        look(tmp_path, tmp_path / "run")


def test_whole_heads_give_no_alarm(shared_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "heads"
    folder.mkdir()
    for path in sorted((shared_data / "ixi-2mm" / "IXI-T1").iterdir())[::12]:
        (folder / path.name).symlink_to(path)
    rows, _ = look(folder, tmp_path / "run", participants=shared_data / "ixi-2mm" / "IXI.xls", workers=2)
    assert len(rows) == 13
    assert all(mark.kind == "person" for row in rows.values() for mark in row.marks)


def test_the_three_faulty_label_maps_of_ixi(shared_data: Path, tmp_path: Path) -> None:
    folder, labels = tmp_path / "heads", shared_data / "ixi-2mm" / "labels"
    folder.mkdir()
    faulty = {"IXI175-HH-1570", "IXI256-HH-1723", "IXI438-HH-2155"}
    for subject in (*faulty, SUBJECTS[0]):
        (folder / f"{subject}-T1.nii.gz").symlink_to(shared_data / "ixi-2mm" / "IXI-T1" / f"{subject}-T1.nii.gz")
    rows, _ = look(folder, tmp_path / "run", labels=labels)
    assert {name for name, row in rows.items() if "mixes up left" in told(row).get("labels", "")} == faulty
    store = tmp_path / "c.zarr"
    prepared = list(prepare(PrepareRequest(data_dir=folder, labels=labels, out=store, workers=1)))
    assert {event.subject for event in prepared if isinstance(event, Warned) and "mixes up" in event.message} == faulty
    assert [subject.id for subject in Cohort.open(store).subjects] == [SUBJECTS[0]]
