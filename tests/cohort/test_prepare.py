from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from braindiffusion.cohort.prepare import prepare
from braindiffusion.cohort.standardise import standardise_file
from braindiffusion.cohort.store import Cohort
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.example_data import SUBJECTS
from braindiffusion.runs.events import ArtifactWritten, Event, Finished, Progress, Warned
from braindiffusion.runs.requests import PrepareRequest

Ask = Callable[..., PrepareRequest]


def until_step(events: Iterator[Event], step: int) -> None:
    for event in events:
        if isinstance(event, Progress) and event.step == step:
            return


def contents(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def warnings(events: list[Event]) -> list[Warned]:
    return [event for event in events if isinstance(event, Warned)]


def test_the_packaged_brains(ask_samples: PrepareRequest) -> None:
    events = list(prepare(ask_samples))
    assert [event.step for event in events if isinstance(event, Progress)] == list(range(7))
    assert warnings(events) == []
    artifact, finished = events[-2:]
    assert isinstance(artifact, ArtifactWritten)
    assert (artifact.kind, artifact.path) == ("cohort", str(ask_samples.out))
    assert isinstance(finished, Finished)
    assert finished.problems == 0

    cohort = Cohort.open(ask_samples.out)
    assert cohort.complete
    assert [subject.id for subject in cohort.subjects] == sorted(SUBJECTS)
    assert cohort.volumes.shape == (6, 1, 80, 104, 88)
    assert cohort.labels is not None
    assert cohort.labels.shape == cohort.masks.shape == (6, 80, 104, 88)
    assert cohort.affines.shape == (6, 4, 4)
    assert cohort.preprocessing.skull == "strip"
    for subject in cohort.subjects:
        assert subject.age is not None
        assert (subject.site, subject.modality) == ("HH", "T1")
    for mask, labels in zip(cohort.masks[:], cohort.labels[:], strict=True):
        assert mask[labels > 0].all()


def test_interrupted_and_continued_equals_uninterrupted(ixi: Path, ask: Ask, tmp_path: Path) -> None:
    list(prepare(ask(ixi, out=tmp_path / "whole.zarr")))
    events = prepare(ask(ixi))
    until_step(events, 2)
    events.close()
    broken = Cohort.open(tmp_path / "out.zarr")
    assert len(broken) == 2
    assert not broken.complete
    list(prepare(ask(ixi)))
    assert contents(tmp_path / "out.zarr") == contents(tmp_path / "whole.zarr")


def test_a_damaged_store_is_repaired(ixi: Path, ask: Ask, tmp_path: Path) -> None:
    list(prepare(ask(ixi)))
    whole = contents(tmp_path / "out.zarr")
    (tmp_path / "out.zarr" / "volumes" / "0.1234.partial").touch()  # of a process that was killed
    for array, row in (("volumes", "1"), ("labels", "2")):
        next(path for path in (tmp_path / "out.zarr" / array / "c" / row).rglob("*") if path.is_file()).unlink()
    told = [event.message for event in prepare(ask(ixi)) if isinstance(event, Warned)]
    assert len(told) == 2
    assert all("is damaged" in one and "It is prepared anew" in one for one in told)
    assert contents(tmp_path / "out.zarr") == whole


@pytest.mark.parametrize("step", [0, 1])
def test_two_processes_do_not_write_one_store(ixi: Path, ask: Ask, step: int) -> None:
    """From the beginning, when the store of the first holds no subject yet."""
    events = prepare(ask(ixi))
    until_step(events, step)
    with pytest.raises(BrainDiffusionError, match=r"The cohort out\.zarr is being written by another process"):
        list(prepare(ask(ixi)))
    assert isinstance(list(events)[-1], Finished)


def test_processes_prepare_what_one_process_prepares(ixi: Path, ask: Ask, tmp_path: Path) -> None:
    list(prepare(ask(ixi, out=tmp_path / "one.zarr")))
    list(prepare(ask(ixi, out=tmp_path / "two.zarr", workers=2)))
    assert contents(tmp_path / "one.zarr") == contents(tmp_path / "two.zarr")


def test_what_is_done_is_not_done_again(ixi: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    list(prepare(ask(ixi)))
    done: list[str] = []

    def counted(paths: tuple[Path, ...], *arguments: object) -> object:
        done.extend(path.name for path in paths)
        return standardise_file(paths, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("braindiffusion.cohort.prepare.standardise_file", counted)
    list(prepare(ask(ixi)))
    assert done == []
    changed = ixi / "IXI-T1" / "IXI012-HH-1211-T1.nii.gz"
    image = nib.load(changed)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj) // 2, image.affine), changed)
    before = Cohort.open(ask(ixi).out).hash
    list(prepare(ask(ixi)))
    assert done == [changed.name]
    assert len(Cohort.open(ask(ixi).out)) == 3
    assert Cohort.open(ask(ixi).out).hash != before


def test_bad_files_are_told_and_left_out(ixi: Path, ask: Ask) -> None:
    t1 = ixi / "IXI-T1"
    good = (t1 / "IXI012-HH-1211-T1.nii.gz").read_bytes()
    (t1 / "IXI300-HH-0001-T1.nii.gz").write_bytes(good[: len(good) // 2])
    (t1 / "IXI301-HH-0002-T1.nii.gz").write_bytes(b"")
    (t1 / "IXI302-HH-0003-T1.nii.gz").write_bytes(good)
    nib.save(
        nib.Nifti1Image(np.zeros((48, 60, 56), np.uint8), np.diag([4.0, 4, 4, 1])), t1 / "IXI303-HH-0004-T1.nii.gz"
    )
    labels = ixi / "labels"
    for name in ("IXI300-HH-0001", "IXI301-HH-0002", "IXI303-HH-0004"):
        (labels / f"{name}-T1_DLMUSE.nii.gz").write_bytes((labels / "IXI012-HH-1211-T1_DLMUSE.nii.gz").read_bytes())
    events = list(prepare(ask(ixi)))
    told = {event.subject: event.message for event in warnings(events) if "left out" in event.message.lower()}
    assert sorted(told) == ["IXI300-HH-0001", "IXI301-HH-0002", "IXI302-HH-0003", "IXI303-HH-0004"]
    assert "IXI300-HH-0001-T1.nii.gz could not be read" in told["IXI300-HH-0001"]
    assert "IXI301-HH-0002-T1.nii.gz" in told["IXI301-HH-0002"]
    assert "no label map" in told["IXI302-HH-0003"]
    assert "same value everywhere" in told["IXI303-HH-0004"]
    assert isinstance(events[-1], Finished)
    assert events[-1].problems == 4
    cohort = Cohort.open(ask(ixi).out)
    assert [subject.site for subject in cohort.subjects] == ["Guys", "HH", "IOP"]
    assert cohort.volumes.shape[0] == 3
    assert cohort.complete


def test_a_cohort_of_bad_files_is_an_error_and_can_be_tried_again(ixi: Path, ask: Ask) -> None:
    good = {path: path.read_bytes() for path in (ixi / "IXI-T1").iterdir()}
    for path in good:
        path.write_bytes(b"no volume")
    with pytest.raises(BrainDiffusionError, match=r"No volume in .* could be prepared"):
        list(prepare(ask(ixi)))
    for path, content in good.items():
        path.write_bytes(content)
    list(prepare(ask(ixi, skull="keep")))
    assert len(Cohort.open(ask(ixi).out)) == 3


def test_another_preprocessing_in_the_same_store_is_an_error(ixi: Path, ask: Ask) -> None:
    list(prepare(ask(ixi)))
    before = contents(ask(ixi).out)
    with pytest.raises(BrainDiffusionError, match=r"prepared in another way \(spacing 4\.0, now 5\.0; shape"):
        list(prepare(ask(ixi, spacing=5.0)))
    with pytest.raises(BrainDiffusionError, match="skull strip, now keep"):
        list(prepare(ask(ixi, labels=None)))
    with pytest.raises(BrainDiffusionError, match=r"subjects that are not asked for \(IXI002-Guys-0828"):
        list(prepare(ask(ixi, subjects=("IXI012-HH-1211",))))
    assert contents(ask(ixi).out) == before


def test_a_folder_of_something_else_is_left_alone(ixi: Path, ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    with pytest.raises(BrainDiffusionError, match="mine"):
        list(prepare(ask(ixi, out=tmp_path / "mine")))
    assert contents(tmp_path / "mine") == {"thesis.txt": b"years"}


def test_chosen_subjects(ixi: Path, ask: Ask) -> None:
    list(prepare(ask(ixi, subjects=("IXI101-IOP-0761", "IXI012-HH-1211"))))
    assert [s.id for s in Cohort.open(ask(ixi).out).subjects] == ["IXI012-HH-1211", "IXI101-IOP-0761"]
    with pytest.raises(BrainDiffusionError, match="Not found: IXI5; subjects are named like IXI002-Guys-0828"):
        list(prepare(ask(ixi, subjects=("IXI5",))))


def test_ages_that_come_later_are_taken_up(ixi: Path, ask: Ask, tmp_path: Path) -> None:
    list(prepare(ask(ixi)))
    table = tmp_path / "people.csv"
    table.write_text("ixi_id,age,sex_id\n2,35.8,2\n12,38.78,1\n101,,\n")
    events = list(prepare(ask(ixi, participants=table)))
    assert [event.message for event in warnings(events)] == ["IXI101-IOP-0761: age unknown; sex unknown."]
    people = [(s.age, s.sex) for s in Cohort.open(ask(ixi).out).subjects]
    assert people == [(35.8, "F"), (38.78, "M"), (None, None)]


def test_stripping_without_labels_is_an_error(ixi: Path, ask: Ask) -> None:
    with pytest.raises(BrainDiffusionError, match="Stripping the skull needs a folder of label maps"):
        list(prepare(ask(ixi, labels=None, skull="strip")))


def test_whole_heads(ixi: Path, ask: Ask) -> None:
    list(prepare(ask(ixi, labels=None)))
    cohort = Cohort.open(ask(ixi).out)
    assert cohort.preprocessing.skull == "keep"
    assert cohort.labels is None
    assert len(cohort) == 3


@pytest.mark.slow
def test_whole_heads_of_ixi_hold_their_brains(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "ixi-2mm"
    every_tenth = tuple(p.name.removesuffix("-T1.nii.gz") for p in sorted((folder / "IXI-T1").iterdir())[::10])
    request = PrepareRequest(data_dir=folder / "IXI-T1", out=tmp_path / "heads.zarr", subjects=every_tenth)
    list(prepare(request))
    cohort = Cohort.open(request.out)
    assert len(cohort) == 15
    for subject, affine in zip(cohort.subjects, cohort.affines, strict=True):
        labels = nib.load(folder / "labels" / f"{subject.id}-T1_DLMUSE.nii.gz")
        brain = np.argwhere(np.asarray(labels.dataobj) > 0)
        voxels = nib.affines.apply_affine(np.linalg.inv(affine) @ labels.affine, brain)
        assert voxels.min() > -0.5
        assert (voxels.max(axis=0) < np.array([80, 104, 88]) - 0.5).all()


@pytest.mark.slow
def test_full_resolution_bids(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "ds002748"
    request = PrepareRequest(
        data_dir=folder,
        participants=folder / "participants.tsv",
        out=tmp_path / "bids.zarr",
        subjects=("sub-53", "sub-57"),
    )
    events = list(prepare(request))
    assert warnings(events) == []
    cohort = Cohort.open(request.out)
    assert [subject.id for subject in cohort.subjects] == ["sub-53", "sub-57"]
    assert cohort.volumes.shape == (2, 1, 80, 104, 88)
    assert all(subject.age for subject in cohort.subjects)


@pytest.mark.parametrize("asked", [{"spacing": 1000}, {"shape": (0, 8, 8)}, {"shape": (2000, 2000, 2000)}])
def test_a_grid_that_is_no_head_s_is_refused_before_anything_is_read(ixi: Path, ask: Callable, asked: dict) -> None:
    with pytest.raises(BrainDiffusionError, match="cannot be preprocessed like that"):
        list(prepare(ask(ixi, **asked)))
