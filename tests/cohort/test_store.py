import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

from braindiffusion.cohort.preprocessing import Preprocessing, box_shape
from braindiffusion.cohort.store import Cohort, PreparedVolume, Subject
from braindiffusion.errors import BrainDiffusionError

GRID = (8, 16, 8)
HOW = Preprocessing(shape=GRID)


def prepared(seed: int) -> PreparedVolume:
    rng = np.random.default_rng(seed)
    return PreparedVolume(
        rng.uniform(-1, 1, (1, *GRID)).astype(np.float16),
        rng.random(GRID) > 0.5,
        rng.integers(0, 300, GRID).astype(np.uint16),
        rng.normal(size=(4, 4)),
    )


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "a.zarr"
    cohort = Cohort.create(path, HOW, labels=np.dtype(np.uint16))
    for i in range(3):
        cohort.put(Subject(id=f"s{i}", age=20.5 + i, sex="F", input_hash=str(i)), prepared(i))
    cohort.finish()
    return path


def test_what_is_put_is_read_again(store: Path) -> None:
    cohort = Cohort.open(store)
    assert len(cohort) == 3
    assert cohort.complete
    assert cohort.preprocessing == HOW
    assert cohort.subjects[2] == Subject(id="s2", age=22.5, sex="F", input_hash="2")
    assert cohort.labels is not None
    for i in range(3):
        expected = prepared(i)
        np.testing.assert_array_equal(cohort.volumes[i], expected.volume)
        np.testing.assert_array_equal(cohort.masks[i], expected.mask)
        np.testing.assert_array_equal(cohort.labels[i], expected.labels)
        np.testing.assert_array_equal(cohort.affines[i], expected.affine)


def test_it_is_plain_zarr_of_version_3_with_a_chunk_a_volume(store: Path) -> None:
    assert json.loads((store / "zarr.json").read_text())["zarr_format"] == 3
    group = zarr.open_group(store, mode="r")
    assert group["volumes"].chunks == (1, 1, *GRID)
    assert group["masks"].chunks == (1, *GRID)
    assert group["volumes"].dtype == np.float16
    assert group.attrs["preprocessing"]["spacing"] == 2.0
    assert [row["id"] for row in group.attrs["subjects"]] == ["s0", "s1", "s2"]
    assert group.attrs["hash"] == Cohort.open(store).hash


def test_a_known_subject_is_replaced(store: Path) -> None:
    cohort = Cohort.open(store, mode="r+")
    before = cohort.hash
    cohort.put(Subject(id="s1", input_hash="new"), prepared(9))
    assert not Cohort.open(store).complete
    cohort.finish()
    again = Cohort.open(store)
    assert [subject.id for subject in again.subjects] == ["s0", "s1", "s2"]
    assert again.volumes.shape[0] == 3
    assert again.hash != before
    np.testing.assert_array_equal(again.volumes[1], prepared(9).volume)


def test_voxels_without_a_row_are_forgotten(store: Path) -> None:
    # What a writer leaves that dies between the voxels and the table.
    group = zarr.open_group(store, mode="r+")
    group["volumes"].resize((4, 1, *GRID))
    assert len(Cohort.open(store)) == 3
    cohort = Cohort.open(store, mode="r+")
    cohort.put(Subject(id="s3"), prepared(3))
    assert {a.shape[0] for _, a in zarr.open_group(store, mode="r").arrays()} == {4}
    np.testing.assert_array_equal(Cohort.open(store).volumes[3], prepared(3).volume)


def test_a_large_store_writes_its_table_now_and_then(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written whole: with each subject, the time for all would grow with the square of their number."""
    monkeypatch.setattr("braindiffusion.cohort.store.cohort.SMALL", 3)
    monkeypatch.setattr("braindiffusion.cohort.store.cohort.AT_ONCE", 5)
    cohort = Cohort.open(store, mode="r+")
    cohort.flush()
    assert Cohort.open(store).complete  # nothing had been put
    found = []
    for number in range(3, 7):
        cohort.put(Subject(id=f"s{number}"), prepared(number))
        found.append(len(Cohort.open(store)))
    assert found == [3, 5, 5, 5]
    cohort.flush()
    cohort = Cohort.open(store)
    assert [one.id for one in cohort.subjects] == [f"s{number}" for number in range(7)]
    for row in range(7):
        cohort.verify(row)


def test_hash_knows_preprocessing_and_inputs(tmp_path: Path) -> None:
    hashes = set()
    for i, (how, input_hash) in enumerate([(HOW, "a"), (HOW, "b"), (HOW.model_copy(update={"skull": "keep"}), "a")]):
        cohort = Cohort.create(tmp_path / f"{i}.zarr", how)
        cohort.put(Subject(id="s", input_hash=input_hash), prepared(0))
        hashes.add(cohort.hash)
    assert len(hashes) == 3


def test_what_is_no_cohort(tmp_path: Path, store: Path) -> None:
    with pytest.raises(BrainDiffusionError, match=r"no prepared cohort at .*absent"):
        Cohort.open(tmp_path / "absent.zarr")
    (tmp_path / "file.zarr").write_text("x")
    with pytest.raises(BrainDiffusionError, match="no prepared cohort at"):
        Cohort.open(tmp_path / "file.zarr")
    zarr.create_group(tmp_path / "other.zarr")
    with pytest.raises(BrainDiffusionError, match="is a Zarr store but no prepared cohort"):
        Cohort.open(tmp_path / "other.zarr")
    group = zarr.open_group(store, mode="r+")
    group.attrs["preprocessing"] = {"spacing": "wide"}
    with pytest.raises(BrainDiffusionError, match="damaged or of another version"):
        Cohort.open(store)


def test_nothing_is_overwritten(tmp_path: Path, store: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    for path in (tmp_path / "mine", store):
        with pytest.raises(BrainDiffusionError, match="choose another place"):
            Cohort.create(path, HOW)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years"
    assert len(Cohort.open(store)) == 3


def test_an_empty_cohort_may_be_made_anew(tmp_path: Path) -> None:
    Cohort.create(tmp_path / "a.zarr", HOW)
    Cohort.create(tmp_path / "a.zarr", HOW, labels=np.dtype(np.uint16))
    assert Cohort.open(tmp_path / "a.zarr").labels is not None


def test_opening_needs_no_torch(store: Path) -> None:
    code = (
        "import sys; from braindiffusion.cohort.store import Cohort; Cohort.open(sys.argv[1]).volumes[0];"
        "from braindiffusion.cohort.describe import describe; from braindiffusion.cohort.prepare import prepare;"
        "assert not {'torch', 'torchio', 'pandas', 'napari'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, store], check=True)


@pytest.mark.parametrize(("spacing", "shape"), [(2.0, (80, 104, 88)), (1.0, (160, 208, 176)), (4.0, (40, 56, 48))])
def test_boxes(spacing: float, shape: tuple[int, int, int]) -> None:
    assert box_shape(spacing) == shape


def chunk(store: Path, array: str, row: int = 1) -> Path:
    return next(path for path in (store / array / "c" / str(row)).rglob("*") if path.is_file())


@pytest.mark.parametrize("array", ["volumes", "masks", "labels", "affines"])
@pytest.mark.parametrize("damage", ["lost", "cut", "flipped", "of another"])
def test_a_damaged_chunk_is_told_and_never_read_as_an_empty_brain(store: Path, array: str, damage: str) -> None:
    file = chunk(store, array)
    content = bytearray(file.read_bytes())
    match damage:
        case "lost":
            file.unlink()
        case "cut":
            file.write_bytes(content[: len(content) // 2])
        case "flipped":
            content[len(content) // 2] ^= 0x10
            file.write_bytes(content)
        case "of another":
            file.write_bytes(chunk(store, array, 2).read_bytes())
    cohort = Cohort.open(store)
    cohort.verify(0)
    with pytest.raises(BrainDiffusionError, match=r"a\.zarr is damaged: .* of s1 .*prepare it again"):
        cohort.verify(1)


def test_a_chunk_of_zeros_is_written_too(tmp_path: Path) -> None:
    """What is not there is lost: an empty label map is there."""
    cohort = Cohort.create(tmp_path / "a.zarr", HOW, labels=np.dtype(np.uint16))
    one = prepared(0)
    cohort.put(Subject(id="s0"), PreparedVolume(one.volume, np.zeros(GRID, bool), None, one.affine))
    cohort.finish()
    Cohort.open(tmp_path / "a.zarr").verify(0)
    chunk(tmp_path / "a.zarr", "labels", 0).unlink()
    with pytest.raises(BrainDiffusionError, match="is missing"):
        Cohort.open(tmp_path / "a.zarr").verify(0)


def test_a_store_of_an_earlier_version_opens_without_checksums(store: Path) -> None:
    group = zarr.open_group(store, mode="r+")
    group.attrs.update({"checksums": {}})
    chunk(store, "labels").unlink()  # it wrote none for an empty label map
    Cohort.open(store).verify(1)
    chunk(store, "volumes").unlink()
    with pytest.raises(BrainDiffusionError, match="is missing"):
        np.asarray(Cohort.open(store).volumes[1])


@pytest.mark.parametrize("file", ["zarr.json", "volumes/zarr.json"])
@pytest.mark.parametrize("content", ["", "{", "[]", '{"zarr_format": 3}', '{"zarr_format": 9, "node_type": "group"}'])
def test_a_store_with_damaged_metadata_is_told_in_one_sentence(store: Path, file: str, content: str) -> None:
    (store / file).write_text(content)
    with pytest.raises(BrainDiffusionError, match=r"a\.zarr"):
        Cohort.open(store)


def test_a_store_without_permission_is_not_called_damaged(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(store / "zarr.json"))

    monkeypatch.setattr("zarr.open_group", refuse)
    with pytest.raises(BrainDiffusionError, match=r"zarr\.json cannot be read \(Permission denied\)\.$"):
        Cohort.open(store)


def test_damaged_attributes_and_arrays_are_told_in_one_sentence(store: Path) -> None:
    plain = json.loads((store / "zarr.json").read_text())
    for name in ("subjects", "preprocessing", "checksums"):
        for wrong in (None, 3, "x", [3], {"a": [1]}):
            told = json.loads(json.dumps(plain))
            told["attributes"][name] = wrong
            (store / "zarr.json").write_text(json.dumps(told))
            if (name, wrong) != ("checksums", {"a": [1]}):  # of no subject
                with pytest.raises(BrainDiffusionError, match="damaged or of another version"):
                    Cohort.open(store)
    (store / "zarr.json").write_text(json.dumps(plain))
    zarr.open_group(store, mode="r+")["masks"].resize((2, *GRID))
    with pytest.raises(BrainDiffusionError, match="fewer subjects than the table"):
        Cohort.open(store)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BrainDiffusionError, match=r"x\.zarr cannot be written \(.+\): choose another place"):
        Cohort.create(tmp_path / "file" / "x.zarr", HOW)
