"""Where things are: what is read lies where it is in the world, whatever the grid."""

import csv
import os
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine
from scipy import ndimage

from braindiffusion.cohort.qc.checks import picture_problem
from braindiffusion.cohort.store import Cohort
from braindiffusion.cohort.vectors.table import read_vector_table
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.example_data import sample_t1_path
from braindiffusion.jobs import perform
from braindiffusion.jobs import segment as job
from braindiffusion.regions import REGIONS, group, region_index
from braindiffusion.runs import Failed, Finished, PrepareRequest, Run, Warned
from braindiffusion.runs.requests import SegmentRequest
from braindiffusion.segmentation import Segmentation, SegmentationModel
from braindiffusion.segmentation import model as segmentation_model
from braindiffusion.segmentation.network import SegmentationConfig
from braindiffusion.volume import Volume, load_volume, save_volume


@pytest.fixture(autouse=True)
def ellipsoids_are_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmentation_model, "picture_problem", lambda volume: "")


LEFT, RIGHT = region_index("left frontal cortex"), region_index("right frontal cortex")


class FixedSegmentation(SegmentationModel):
    """Takes what is bright for cortex, its left and right halves of the box for the sides."""

    class net:
        config = SegmentationConfig()

    def __init__(self) -> None:
        self.boxes: list[np.ndarray] = []

    def predict(self, box: np.ndarray) -> Segmentation:
        self.boxes.append(box)
        regions = np.zeros(box.shape, np.uint8)
        regions[:40], regions[40:] = LEFT, RIGHT
        regions[box < -0.99] = 0
        return Segmentation(regions, ndimage.binary_fill_holes(regions > 0), np.zeros(4, np.float32), 50.0)


def ball(affine: np.ndarray, shape: tuple[int, int, int], centre: tuple[float, float, float]) -> np.ndarray:
    """An ellipsoid of 60 x 75 x 60 mm (half axes) about a place in the world."""
    world = apply_affine(affine, np.moveaxis(np.indices(shape), 0, -1))
    radius = np.linalg.norm((world - centre) / [60, 75, 60], axis=-1)
    return (np.clip((1.02 - radius) / 0.04, 0, 1) * 900 + 20).astype(np.float32)


def oblique() -> np.ndarray:
    angle = np.radians(20)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([1.5, 1.2, 2.5])
    affine[:3, 3] = [-110, -150, -100]
    return affine


GRIDS = {
    "2 mm": (np.array([[2.0, 0, 0, -90], [0, 2, 0, -110], [0, 0, 2, -90], [0, 0, 0, 1]]), (90, 110, 90)),
    "PSR, 2 mm": (np.array([[0, 0, 2.0, -90], [-2, 0, 0, 110], [0, 2, 0, -90], [0, 0, 0, 1]]), (110, 90, 90)),
    "oblique": (oblique(), (150, 200, 90)),
}  # fmt: skip


@pytest.mark.parametrize("grid", ["2 mm", "PSR, 2 mm", "oblique"])
def test_what_is_read_lies_where_it_is_in_the_world(grid: str, tmp_path: Path) -> None:
    affine, shape = GRIDS[grid]
    centre = (7.0, -12.0, 9.0)
    data = ball(affine, shape, centre)
    nib.save(nib.Nifti1Image(data, affine), tmp_path / "t1.nii.gz")
    volume = load_volume(tmp_path / "t1.nii.gz")
    model = FixedSegmentation()
    found = model.predict_volume(volume)
    truth = volume.data[0] > 470
    assert found.mask.shape == found.regions.shape == volume.shape
    overlap = 2 * np.sum(found.mask & truth) / (found.mask.sum() + truth.sum())
    assert overlap > (0.99 if "2 mm" in grid else 0.96)
    world = apply_affine(volume.affine, np.argwhere(found.mask)).mean(0)
    np.testing.assert_allclose(world, centre, atol=0.4)
    # Read twice, the second time with the brain in the middle of the box.
    assert len(model.boxes) == 2
    middle = ndimage.center_of_mass(model.boxes[1] > -0.99)
    np.testing.assert_allclose(middle, np.array(model.boxes[1].shape) / 2 - 0.5, atol=0.6)
    for region, sign in ((LEFT, -1), (RIGHT, 1)):
        side = apply_affine(volume.affine, np.argwhere(found.regions == region)) - centre
        assert np.all(np.sign(side.mean(0)[0]) == sign)


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(BrainDiffusionError, match="2 channels"):
        FixedSegmentation().predict_volume(Volume(np.zeros((2, 40, 40, 40), np.float32), np.diag([2, 2, 2, 1])))

    class NoBrain(FixedSegmentation):
        def predict(self, box: np.ndarray) -> Segmentation:
            none = np.zeros(box.shape, np.uint8)
            return Segmentation(none, none > 0, np.zeros(4, np.float32), 50.0)

    affine, shape = GRIDS["2 mm"]
    with pytest.raises(BrainDiffusionError, match="no brain is found"):
        NoBrain().predict_volume(Volume(ball(affine, shape, (0, 0, 0))[None], affine))


@pytest.fixture
def seeing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "load_segmentation_model", lambda name: FixedSegmentation())
    monkeypatch.setattr("braindiffusion.segmentation.files.load_segmentation_model", lambda: FixedSegmentation())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    affine, shape = GRIDS["2 mm"]
    for name, x in (("sub-01_T1w", 0.0), ("sub-02_T1w", 6.0)):
        save_volume(Volume(ball(affine, shape, (x, 0, 0))[None], affine), tmp_path / "in" / f"{name}.nii.gz")
    save_volume(Volume(np.ones((1, 20, 20, 20), np.float32), affine), tmp_path / "in" / "sub-03_T1w.nii.gz")
    return tmp_path / "in"


def test_a_folder_is_read_into_maps_masks_and_one_table(
    folder: Path, tmp_path: Path, seeing: None, tmp_runs: Path
) -> None:
    out = tmp_path / "read"
    *_, last = perform(Run.create(SegmentRequest(input=folder, out=out, embedding=True)))
    assert isinstance(last, Finished)
    embeddings = read_vector_table(out / "embedding.tsv")  # as `prepare` takes it
    assert list(embeddings.rows) == ["01", "02"]
    assert embeddings.entries[0] == "e001"
    assert last.problems == 1  # sub-03 is the same everywhere
    regions, mask = (load_volume(out / f"sub-01_T1w_{what}.nii.gz") for what in ("regions", "mask"))
    assert regions.metadata["kind"] == "labels"
    np.testing.assert_array_equal(regions.affine, load_volume(folder / "sub-01_T1w.nii.gz").affine)
    with (out / "readings.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["volume"] for row in rows] == ["sub-01_T1w.nii.gz", "sub-02_T1w.nii.gz"]
    assert list(rows[0])[3:] == [region.name for region in REGIONS[1:]]
    assert float(rows[0]["brain"]) == pytest.approx(mask.data.sum() * 0.008, abs=1e-3)
    assert float(rows[0]["brain"]) == pytest.approx(4 / 3 * np.pi * 6 * 7.5 * 6, rel=0.03)
    assert float(rows[0]["left frontal cortex"]) == pytest.approx(np.sum(regions.data == LEFT) * 0.008, abs=1e-3)
    assert rows[0]["age"] == "50.0"


def test_the_age_is_unknown_in_the_table_of_a_model_without_ages(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_runs: Path
) -> None:
    class Ageless(FixedSegmentation):
        def predict(self, box: np.ndarray) -> Segmentation:
            return replace(super().predict(box), age=float("nan"))

    monkeypatch.setattr(job, "load_segmentation_model", lambda name: Ageless())
    out = tmp_path / "regions.nii.gz"
    *_, last = perform(Run.create(SegmentRequest(input=folder / "sub-01_T1w.nii.gz", out=out)))
    assert isinstance(last, Finished)
    with (tmp_path / "regions.tsv").open(newline="") as file:
        assert next(csv.DictReader(file, delimiter="\t"))["age"] == "n/a"


def test_one_volume_is_read_into_files_beside_each_other(
    folder: Path, tmp_path: Path, seeing: None, tmp_runs: Path
) -> None:
    out = tmp_path / "one" / "regions.nii.gz"
    source = folder / "sub-02_T1w.nii.gz"
    *_, last = perform(Run.create(SegmentRequest(input=source, out=out)))
    assert isinstance(last, Finished)
    assert sorted(p.name for p in out.parent.glob("[!.]*")) == ["regions.nii.gz", "regions.tsv", "regions_mask.nii.gz"]
    for bad, words in ((SegmentRequest(input=source, out=tmp_path / "x"), "end in .nii.gz"),
                       (SegmentRequest(input=folder, out=tmp_path / "x.nii"), "a folder too")):  # fmt: skip
        *_, last = perform(Run.create(bad))
        assert isinstance(last, Failed)
        assert words in last.message


def test_prepare_reads_the_label_maps_that_nobody_gave(
    folder: Path, tmp_path: Path, seeing: None, tmp_runs: Path
) -> None:
    request = PrepareRequest(data_dir=folder, out=tmp_path / "cohort.zarr", skull="strip", workers=1)
    *_, last = perform(Run.create(request))
    assert isinstance(last, Finished), last
    cohort = Cohort.open(tmp_path / "cohort.zarr")
    assert len(cohort) == 2
    assert cohort.labels is not None
    labels = group(np.asarray(cohort.labels[0]))
    assert set(np.unique(labels)) == {0, LEFT, RIGHT}
    assert np.all(np.asarray(cohort.volumes[0])[0][~np.asarray(cohort.masks[0])] == -1)
    *_, last = perform(Run.create(request.model_copy(update={"out": tmp_path / "t2.zarr", "modality": "T2"})))
    assert isinstance(last, Failed)
    assert "only T1w" in last.message


def test_prepare_makes_a_label_map_again_for_another_scan_of_any_date(
    folder: Path, tmp_path: Path, seeing: None, tmp_runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copies keep their dates, and clocks jump: what a map was made of is known by its content."""
    segmented: list[str] = []
    segment_file = job.segment_file

    def counted(model: SegmentationModel, path: Path) -> tuple[Volume, Segmentation]:
        segmented.append(path.name)
        return segment_file(model, path)

    monkeypatch.setattr(job, "segment_file", counted)
    (folder / "sub-03_T1w.nii.gz").unlink()
    request = PrepareRequest(data_dir=folder, out=tmp_path / "cohort.zarr", skull="strip", workers=1)
    *_, last = perform(Run.create(request))
    assert isinstance(last, Finished), last
    assert len(segmented) == 2
    one, two = (folder / f"sub-0{n}_T1w.nii.gz" for n in (1, 2))
    os.utime(two, (4e9, 4e9))  # the same content, from a clock that was ahead
    one.write_bytes(two.read_bytes())
    os.utime(one, (1e9, 1e9))  # another scan, older than the map
    *_, last = perform(Run.create(request))
    assert isinstance(last, Finished), last
    assert segmented[2:] == [one.name]
    first, second = (load_volume(tmp_path / "cohort.labels" / path.name).data for path in (one, two))
    np.testing.assert_array_equal(first, second)


def test_what_is_no_head_is_left_out_and_the_others_are_read(
    folder: Path, tmp_path: Path, seeing: None, tmp_runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segmentation_model, "picture_problem", picture_problem)
    head = load_volume(sample_t1_path())
    rng = np.random.default_rng(0)
    for name, data in (
        ("sub-04", head.data),
        ("sub-05", head.data[:, :, :, ::-1]),
        ("sub-06", rng.normal(100, 20, head.data.shape).astype(np.float32)),
    ):
        save_volume(Volume(data, head.affine), folder / f"{name}_T1w.nii.gz")
    (folder / "sub-08_T1w.nii.gz").symlink_to("nowhere.nii.gz")
    save_volume(Volume(head.data, np.diag([2000.0, 2000, 2000, 1])), folder / "sub-09_T1w.nii.gz")
    *events, last = perform(Run.create(SegmentRequest(input=folder, out=tmp_path / "read")))
    assert isinstance(last, Finished)
    assert last.problems == 7
    told = [event.message for event in events if isinstance(event, Warned)]
    assert sorted(p.name for p in (tmp_path / "read").glob("*_mask.nii.gz")) == ["sub-04_T1w_mask.nii.gz"]
    for name, words in (
        ("sub-01", "not that of a T1w head"),
        ("sub-03", "covers only 40 mm"),
        ("sub-05", "lies otherwise than its header says"),
        ("sub-06", "not that of a T1w head"),
        ("sub-08", "leads nowhere"),
        ("sub-09", "wrong units"),
    ):
        assert any(name in sentence and words in sentence for sentence in told), (name, told)


def test_an_exception_of_a_library_leaves_out_one_file(
    folder: Path, tmp_path: Path, seeing: None, tmp_runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = FixedSegmentation.predict_volume

    def fail(self: FixedSegmentation, volume: Volume) -> Segmentation:
        if "sub-01" in volume.metadata["source"]:
            raise RuntimeError("ITK ERROR: a direction that is none")
        return predict(self, volume)

    monkeypatch.setattr(FixedSegmentation, "predict_volume", fail)
    *events, last = perform(Run.create(SegmentRequest(input=folder, out=tmp_path / "read")))
    assert isinstance(last, Finished)
    told = [event.message for event in events if isinstance(event, Warned)]
    assert any("sub-01_T1w.nii.gz cannot be used (RuntimeError: ITK ERROR" in sentence for sentence in told)
    assert (tmp_path / "read" / "sub-02_T1w_regions.nii.gz").is_file()
