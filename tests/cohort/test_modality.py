"""Several modalities of one head: as channels of one volume, or as volumes of their own."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine

from braindiffusion.cohort.describe import describe
from braindiffusion.cohort.find import find
from braindiffusion.cohort.prepare import prepare
from braindiffusion.cohort.preprocessing import Modalities, Preprocessing, box_shape
from braindiffusion.cohort.standardise import standardise
from braindiffusion.cohort.store import Cohort, Subject
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.jobs import perform
from braindiffusion.runs import Finished, GenerateRequest, PrepareRequest, Run, TrainRequest
from braindiffusion.runs.events import Warned
from braindiffusion.training.plan import rows_of
from braindiffusion.volume import Volume

Ask = Callable[..., PrepareRequest]
IDS = ["IXI002-Guys-0828", "IXI012-HH-1211", "IXI101-IOP-0761"]


def add(folder: Path, modality: str, shift_mm: float = 0.0, leave_out: str = "") -> None:
    """For each T1 volume one of another modality, darkest where that is brightest, moved to the right."""
    for path in sorted((folder / "IXI-T1").iterdir()):
        if leave_out and path.name.startswith(leave_out):
            continue
        image = nib.load(path)
        data = np.asarray(image.dataobj).astype(np.int32)
        affine = image.affine.copy()
        affine[0, 3] += shift_mm
        out = folder / f"IXI-{modality}" / path.name.replace("-T1.", f"-{modality}.")
        out.parent.mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image(np.where(data > 0, 2000 - data, 0).astype(np.int16), affine), out)


@pytest.mark.parametrize(
    ("word", "names", "separate"),
    [("T1", ("T1",), False), ("T1w, T2w", ("T1", "T2"), False), ("T1/PD", ("T1", "PD"), True)],
)
def test_the_word(word: str, names: tuple[str, ...], separate: bool) -> None:
    asked = Modalities.parse(word)
    assert (asked.names, asked.separate) == (names, separate)
    assert Modalities.parse(str(asked)) == asked


@pytest.mark.parametrize("word", ["", "T1,", "T1,T1", "T1w,T1", "T1,T2/PD"])
def test_no_word(word: str) -> None:
    with pytest.raises(BrainDiffusionError, match="names no modalities"):
        Modalities.parse(word)


def test_further_channels_come_by_their_world_positions() -> None:
    """Linear interpolation is exact for a ramp, so each voxel must hold its own place in the world."""
    preprocessing = Preprocessing(spacing=4.0, shape=box_shape(4.0), skull="keep", modality="T1,T2", closing_mm=0)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in (48, 60, 56)), indexing="ij"), axis=-1)
    first = np.diag([4.0, 4, 4, 1])
    first[:3, 3] = -96, -118, -110
    second = np.diag([3.0, 5, 4.5, 1])
    second[:3, 3] = -100.5, -121, -113
    head = (((grid - [24, 30, 28]) / [18, 24, 22]) ** 2).sum(-1) < 1
    t1 = Volume(np.where(head, 500 + grid[..., 1], 0).astype(np.float32)[None], first)
    fine = np.stack(np.meshgrid(*(np.arange(n) for n in (70, 52, 54)), indexing="ij"), axis=-1)
    t2 = Volume((apply_affine(second, fine) @ [1.0, 2.0, -0.5] + 1000).astype(np.float32)[None], second)
    prepared = standardise(t1, preprocessing, others=[t2])
    assert prepared.volume.shape == (2, *preprocessing.shape)
    alone = standardise(t1, preprocessing.model_copy(update={"modality": "T1"}))
    np.testing.assert_array_equal(prepared.volume[0], alone.volume[0])
    np.testing.assert_array_equal(prepared.affine, alone.affine)
    inside = np.argwhere(prepared.mask)
    expected = apply_affine(prepared.affine, inside) @ [1.0, 2.0, -0.5]
    values = prepared.volume[1][tuple(inside.T)].astype(np.float64)
    whole = np.abs(values) < 1
    assert whole.mean() > 0.98  # the rest is clipped at the percentiles
    slope, offset = np.polyfit(expected[whole], values[whole], 1)
    low, high = np.percentile(expected, preprocessing.percentiles)
    assert slope == pytest.approx(2 / (high - low), rel=1e-2)
    np.testing.assert_allclose(slope * expected[whole] + offset, values[whole], atol=5e-3)
    with pytest.raises(BrainDiffusionError, match="T1,T2 needs 2 volumes, and 1 is given"):
        standardise(t1, preprocessing)


def test_channels(ixi: Path, ask: Ask) -> None:
    add(ixi, "T2", leave_out="IXI012")
    add(ixi, "PD")
    request = ask(ixi, data_dir=ixi, modality="PD,T1,T2")
    events = list(prepare(request))
    (warned,) = [event for event in events if isinstance(event, Warned)]
    assert warned.message == "IXI012-HH-1211-PD.nii.gz is left out: IXI012-HH-1211 has no T2 volume."
    assert isinstance(events[-1], Finished)
    assert events[-1].problems == 1
    cohort = Cohort.open(request.out)
    assert cohort.preprocessing.channels == ("PD", "T1", "T2")
    assert [subject.id for subject in cohort.subjects] == [IDS[0], IDS[2]]
    assert cohort.subjects[0].modality == "PD,T1,T2"
    assert cohort.subjects[0].source == ",".join(f"{IDS[0]}-{name}.nii.gz" for name in ("PD", "T1", "T2"))
    assert cohort.volumes.shape[:2] == (2, 3)
    pd, t1, t2 = np.asarray(cohort.volumes[0], dtype=np.float32)
    np.testing.assert_array_equal(pd, t2)
    within = np.asarray(cohort.masks[0]) & (np.abs(t1) < 1) & (np.abs(pd) < 1)
    assert within.sum() > 1000
    assert np.corrcoef(pd[within], t1[within])[0, 1] < -0.999
    before = cohort.hash
    list(prepare(request))  # continued: nothing has changed
    assert Cohort.open(request.out).hash == before
    with pytest.raises(BrainDiffusionError, match="modality PD,T1,T2, now T1"):
        list(prepare(ask(ixi)))


def test_a_channel_that_lies_elsewhere(ixi: Path, ask: Ask) -> None:
    add(ixi, "T2", shift_mm=64)
    add(ixi, "PD", shift_mm=300)
    request = ask(ixi, data_dir=ixi, modality="T1,T2")
    told = [event.message for event in prepare(request) if isinstance(event, Warned)]
    assert len(told) == 3
    assert all("In world space its T2 volume shows tissue in" in message for message in told)
    assert len(Cohort.open(request.out)) == 3
    with pytest.raises(BrainDiffusionError, match="No volume in "):
        list(prepare(ask(ixi, data_dir=ixi, modality="T1,PD", out=ixi / "other.zarr")))


def test_volumes_of_their_own(ixi: Path, ask: Ask) -> None:
    add(ixi, "T2", leave_out="IXI101")
    request = ask(ixi, data_dir=ixi, modality="T1/T2")
    assert not [event for event in prepare(request) if isinstance(event, Warned)]
    cohort = Cohort.open(request.out)
    assert cohort.complete
    assert [subject.id for subject in cohort.subjects] == [
        *(f"{name}_{modality}" for name in IDS[:2] for modality in ("T1", "T2")),
        f"{IDS[2]}_T1",
    ]
    assert [subject.modality for subject in cohort.subjects] == ["T1", "T2", "T1", "T2", "T1"]
    assert [subject.person for subject in cohort.subjects] == [IDS[0], IDS[0], IDS[1], IDS[1], IDS[2]]
    assert cohort.preprocessing.channels == ("T1/T2",)
    assert cohort.labels is not None  # one label map serves all volumes of a person
    np.testing.assert_array_equal(cohort.labels[0], cohort.labels[1])
    for aside in (1, 2):
        training, validation = rows_of(cohort, aside)
        assert sorted(training + validation) == list(range(5))
        people = [{cohort.subjects[row].person for row in side} for side in (training, validation)]
        assert not people[0] & people[1]
        assert len(people[1]) == aside


def test_sessions_of_a_person_are_one_person() -> None:
    assert Subject.model_validate({"id": "sub-1_ses-2"}).person == "sub-1"  # of a store that was made before
    assert Subject(id="IXI002-Guys-0828").person == "IXI002-Guys-0828"


def test_what_is_not_there(ixi: Path, tmp_path: Path) -> None:
    with pytest.raises(BrainDiffusionError, match=r"no T2 volumes in .* though it holds T1"):
        find(ixi, modality="T1,T2")
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "a.nii.gz").touch()
    with pytest.raises(BrainDiffusionError, match="no T1 volumes"):
        find(tmp_path / "plain", modality="T1/T2")


def test_a_damaged_channel_is_described(ixi: Path) -> None:
    add(ixi, "T2")
    (ixi / "IXI-T2" / f"{IDS[1]}-T2.nii.gz").write_bytes(b"no volume")
    rows = list(describe(find(ixi, modality="T1,T2")))
    assert [bool(row.problem) for row in rows] == [False, True, False]
    assert f"{IDS[1]}-T2.nii.gz" in rows[1].problem


@pytest.fixture
def small(ixi: Path, ask: Ask) -> Callable[[str], Path]:
    """Prepares the heads at 8 mm, in a box that takes a second to train on."""

    def prepared(modality: str) -> Path:
        add(ixi, "T2")
        request = ask(ixi, data_dir=ixi, modality=modality, spacing=8.0, shape=(24, 24, 24))
        list(prepare(request))
        return request.out

    return prepared


def trained(store: Path, runs: Path, levels: tuple[int, ...] | None = None) -> Run:
    request = TrainRequest(
        data=store, preset="tiny", epochs=0.5, batch_size=1, levels=levels, validation_subjects=1, device="cpu"
    )
    run = Run.create(request, root=runs)
    last = list(perform(run))[-1]
    assert isinstance(last, Finished), last
    return run


def test_two_channels_from_files_to_files(small: Callable[[str], Path], tmp_path: Path) -> None:
    run = trained(small("T1,T2"), tmp_path / "runs")
    asked = GenerateRequest(model=str(run.path), steps=1, out=tmp_path / "made", device="cpu")
    made = Run.create(asked, root=tmp_path / "runs")
    last = list(perform(made))[-1]
    assert isinstance(last, Finished), last
    volumes = [np.asarray(nib.load(path).dataobj) for path in sorted((tmp_path / "made").glob("*.nii.gz"))]
    assert sum(volume.size for volume in volumes) == 2 * 24**3
    assert all(np.isfinite(volume).all() for volume in volumes)


def test_modality_is_a_word_to_ask_for(small: Callable[[str], Path], tmp_path: Path) -> None:
    from braindiffusion.models.cascade import load_cascade

    run = trained(small("T1/T2"), tmp_path / "runs", levels=(0,))
    cascade, card = load_cascade(run.checkpoints / "best")
    (field,) = [field for field in cascade.config.condition.fields if field.name == "modality"]
    assert getattr(field, "values", None) == ("T1", "T2")
    sides = [{name.split("_")[0] for name in getattr(card.split, side)} for side in ("train", "validation")]
    assert not sides[0] & sides[1]
    assert [len(getattr(card.split, side)) for side in ("train", "validation")] == [4, 2]
