"""A dataset that others read: named as BIDS names, found again by our own finder, told as it was made."""

import csv
import errno
import gzip
import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from bids_validator import BIDSValidator
from typer.testing import CliRunner

from braindiffusion.cli.app import app
from braindiffusion.cohort.demographics import read_demographics
from braindiffusion.cohort.find import find
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.example_data import sample_labels_path, sample_participants_path, samples_dir
from braindiffusion.export import bids, brains_in, write_bids
from braindiffusion.regions import REGIONS, regions_of
from braindiffusion.runs import GenerateRequest, Run
from braindiffusion.runs.sidecar import load_sidecar as read_again
from braindiffusion.runs.sidecar import read_sidecar, sidecar_path, write_sidecar
from braindiffusion.volume import Volume, load_volume, save_volume


def brain(path: Path, value: float = 1.0, **told: object) -> Path:
    save_volume(Volume(np.full((1, 4, 5, 6), value, np.float32), np.diag([2.0, 2, 2, 1])), path)
    if told:
        write_sidecar(path, {"synthetic": True, "model": {"name": "ixi-2mm"}, **told})
    return path


@pytest.fixture
def generated(tmp_path: Path) -> Path:
    """A folder as `generate` writes it."""
    folder = tmp_path / "generated"
    volumes = {"left hippocampus": 3.5}
    brain(folder / "sample_001.nii.gz", 1, sample=1, seed=7, condition={}, background_cleared=True)
    condition = {"age": 50.0, "sex": "F", "volumes": volumes, "regions": "/somewhere/map.nii.gz"}
    brain(folder / "sample_002.nii.gz", 2, sample=2, seed=8, condition=condition)
    brain(folder / "sample_001_trajectory.nii.gz")
    brain(folder / "sample_001_preview.nii")
    return folder


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "participants.tsv").open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def assert_valid(out: Path) -> None:
    """Every name is one of BIDS, in the dataset and in its derivatives."""
    files = [path.relative_to(out) for path in sorted(out.rglob("*")) if path.is_file()]
    raw = [path for path in files if path.parts[0] != "derivatives"]
    assert [str(path) for path in raw if not BIDSValidator().is_bids(f"/{path}")] == []
    assert [str(path) for path in files if not BIDSValidator().is_bids(f"/{path}")] == []
    described = json.loads((out / "dataset_description.json").read_text())
    assert {"Name", "BIDSVersion", "DatasetType"} <= set(described)
    assert {row["participant_id"] for row in rows_of(out)} == {path.name for path in out.glob("sub-*")}
    assert set(rows_of(out)[0]) == {"participant_id", *json.loads((out / "participants.json").read_text())}


def test_generated_brains(generated: Path, tmp_path: Path) -> None:
    out = tmp_path / "bids"
    written = list(write_bids(brains_in([generated]), out, name="Made"))
    assert_valid(out)
    assert [item.path for item in find(out)] == written
    assert [item.subject for item in find(out)] == ["sub-gen001", "sub-gen002"]
    first, second = rows_of(out)
    assert (first["age"], first["synthetic"], first["seed"], first["model"]) == ("n/a", "yes", "7", "ixi-2mm")
    assert (second["age"], second["sex"], second["volumes_left_hippocampus"]) == ("50", "F", "3.5")
    assert second["regions"] == "map.nii.gz"  # and no path of this machine
    np.testing.assert_array_equal(load_volume(written[1]).data, 2)
    told = read_again(sidecar_path(written[0]))
    assert (told["seed"], told["SkullStripped"], told["file"]) == (7, True, "sub-gen001_T1w.nii.gz")
    assert "of no real person: 2." in (out / "README.md").read_text()
    assert read_demographics(out / "participants.tsv").of("sub-gen002").age == 50


def test_real_brains_with_their_labels_and_ages(tmp_path: Path) -> None:
    out = tmp_path / "bids"
    brains = brains_in([samples_dir() / "IXI-T1"], labels=samples_dir() / "labels")
    written = list(write_bids(brains, out, people=read_demographics(sample_participants_path())))
    assert_valid(out)
    assert written[0].name == "sub-IXI056HH1327_T1w.nii.gz"
    assert all(row["age"] != "n/a" and row["synthetic"] == "no" for row in rows_of(out))
    derivative = out / "derivatives" / "braindiffusion"
    labels = derivative / "sub-IXI056HH1327" / "anat" / "sub-IXI056HH1327_dseg.nii.gz"
    np.testing.assert_array_equal(load_volume(labels).data, load_volume(brains[0].labels).data)
    assert "Hippocampus" in (derivative / "dseg.tsv").read_text()
    assert find(out, labels=derivative)[0].labels == labels


FREESURFER = np.zeros(256, np.int32)
FREESURFER[[region.index for region in REGIONS]] = [next(iter(region.freesurfer), 0) for region in REGIONS]


@pytest.mark.parametrize(
    ("convert", "expected"),
    [
        (lambda dlmuse: dlmuse, {47: "Hippocampus_R", 48: "Hippocampus_L"}),
        (regions_of, {4: "left lateral ventricle", 18: "left hippocampus", 32: "left cerebral white matter"}),
        (lambda dlmuse: FREESURFER[regions_of(dlmuse)], {17: "left hippocampus", 53: "right hippocampus"}),
        (lambda dlmuse: FREESURFER[regions_of(dlmuse)].astype(np.float32), {17: "left hippocampus"}),
        (lambda dlmuse: 1 + dlmuse % 3, None),  # tissue classes
        (lambda dlmuse: dlmuse > 0, None),
        (lambda dlmuse: (dlmuse == 47) + 0, None),  # a lesion, or one structure
        (lambda dlmuse: 2 * (dlmuse > 200), None),  # of any size
        (lambda dlmuse: dlmuse + 5000, None),
    ],
)
def test_labels_have_the_names_of_their_own_scheme(tmp_path: Path, convert: object, expected: dict | None) -> None:
    scan = samples_dir() / "IXI-T1" / "IXI056-HH-1327-T1.nii.gz"
    dlmuse = load_volume(sample_labels_path())
    labels = Volume(np.asarray(convert(dlmuse.data.astype(np.int64))), dlmuse.affine)
    save_volume(labels, tmp_path / "labels" / "IXI056-HH-1327_seg.nii.gz")
    brains = brains_in([scan], labels=tmp_path / "labels")
    list(write_bids(brains, tmp_path / "bids"))
    assert_valid(tmp_path / "bids")
    table = tmp_path / "bids" / "derivatives" / "braindiffusion" / "dseg.tsv"
    assert table.exists() == (expected is not None)
    if expected is not None:
        with table.open(newline="") as file:
            names = {int(row["index"]): row["name"] for row in csv.DictReader(file, delimiter="\t")}
        assert names | expected == names
        assert set(np.unique(labels.data).astype(int)) <= set(names)


def test_label_maps_of_different_schemes_are_refused(tmp_path: Path) -> None:
    brains = brains_in([samples_dir() / "IXI-T1"], labels=samples_dir() / "labels")[:2]
    grouped = load_volume(brains[0].labels)
    save_volume(Volume(regions_of(grouped.data.astype(np.int64)), grouped.affine), tmp_path / "grouped.nii.gz")
    mixed = [replace(brains[0], labels=tmp_path / "grouped.nii.gz"), brains[1]]
    with pytest.raises(BrainDiffusionError, match=r"regions of BrainDiffusion \(.*grouped.*values of DLMUSE \(.*"):
        list(write_bids(mixed, tmp_path / "bids"))
    assert not (tmp_path / "bids").exists()


def test_sessions_channels_and_second_scans(tmp_path: Path) -> None:
    source = tmp_path / "in"
    for name in ("sub-01_ses-a_T1w.nii.gz", "sub-01_ses-b_T1w.nii.gz", "sub-01_ses-b_run-2_T1w.nii"):
        brain(source / name)
    for channel in ("T1", "T2"):
        brain(tmp_path / f"made/sample_001_{channel}.nii.gz", sample=1, seed=3, channel=channel)
    out = tmp_path / "bids"
    twice = [source, tmp_path / "made", source / "sub-01_ses-a_T1w.nii.gz"]  # this one is in the folder, too
    names = [path.name for path in write_bids(brains_in(twice), out)]
    assert_valid(out)
    assert names == [
        "sub-01_ses-a_T1w.nii.gz",
        "sub-01_ses-b_run-2_T1w.nii.gz",
        "sub-01_ses-b_T1w.nii.gz",
        "sub-gen001_T1w.nii.gz",
        "sub-gen001_T2w.nii.gz",
    ] or names[1:3] == ["sub-01_ses-b_T1w.nii.gz", "sub-01_ses-b_run-2_T1w.nii.gz"]


@pytest.mark.parametrize("inside", ["", "sub-01/anat", "sub-01/ses-1/anat", "mri"])
def test_two_people_of_one_name_are_two_subjects(inside: str, tmp_path: Path) -> None:
    """Sites that number their people alike, a contrast in a folder of its own, and proposals of two edits."""
    for site in ("a", "b"):
        session = "_ses-1" if "ses-1" in inside else ""
        brain(tmp_path / site / inside / f"sub-01{session}_T1w.nii.gz")
        brain(tmp_path / f"{site}{site}" / inside / f"sub-01{session}_T2w.nii.gz")
        edited = brain(tmp_path / "edits" / site / "proposal_001.nii.gz")
        write_sidecar(edited, {"synthetic": "part"})
    brain(tmp_path / "b" / "sub-02_T1w.nii.gz")
    (tmp_path / "people.tsv").write_text("participant_id\tage\nsub-01\t40\nsub-02\t50\n")
    told: list[str] = []
    brains = brains_in([tmp_path / name for name in ("a", "aa", "b", "edits")], tell=told.append)
    list(write_bids(brains, tmp_path / "out", people=read_demographics(tmp_path / "people.tsv")))
    assert_valid(tmp_path / "out")
    assert {row["participant_id"]: row["age"] for row in rows_of(tmp_path / "out")} == {
        "sub-01": "n/a",
        "sub-01001": "n/a",
        "sub-02": "50",
        "sub-proposal001": "n/a",
        "sub-proposal001001": "n/a",
    }
    assert len([one for one in brains if one.subject == "01"]) == 2  # T1w and T2w
    assert [sentence.split(",")[0].replace(str(tmp_path), "") for sentence in told] == [
        f"sub-01 of /b{'/mri' if inside == 'mri' else ''} becomes sub-01001",
        "proposal_001 of /edits/b becomes sub-proposal001001",
    ]


def test_every_label_map_of_a_subject_is_exported(tmp_path: Path) -> None:
    for number, suffix in enumerate(("T1w", "T2w"), start=1):
        brain(tmp_path / f"in/sub-01_{suffix}.nii.gz")
        brain(tmp_path / f"in/sub-02_{suffix}.nii.gz")
        brain(tmp_path / f"labels/sub-01_{suffix}_seg.nii.gz", number)
    brain(tmp_path / "labels/sub-02_dseg.nii.gz", 3)  # of both volumes
    out = tmp_path / "bids"
    list(write_bids(brains_in([tmp_path / "in"], labels=tmp_path / "labels"), out))
    assert_valid(out)
    values = {path.name: int(load_volume(path).data.max()) for path in (out / "derivatives").rglob("*.nii.gz")}
    assert values == {"sub-01_dseg.nii.gz": 1, "sub-01_desc-T2w_dseg.nii.gz": 2, "sub-02_dseg.nii.gz": 3}


@pytest.mark.parametrize("name", ["王小明", "Мария", "___", "Müller"])
def test_a_scan_is_never_named_as_a_generated_brain(generated: Path, tmp_path: Path, name: str) -> None:
    scans = [brain(tmp_path / f"{name}.nii.gz"), brain(tmp_path / "other" / f"{name}.nii.gz")]
    brains = brains_in([*scans, generated], tell=lambda _: None)
    *_, first, second = (one.subject for one in brains)
    assert (first, second) == ("gen001", "gen002")
    assert brains[0].subject.isascii()
    assert brains[0].subject.isalnum()
    assert not brains[0].subject.startswith("gen")


def test_contrast_agents_are_an_entity(tmp_path: Path) -> None:
    for channel in ("T1", "FLAIR", "T1ce"):
        brain(tmp_path / f"made/sample_001_{channel}.nii.gz", sample=1, seed=3, channel=channel)
    out = tmp_path / "bids"
    names = sorted(path.name for path in write_bids(brains_in([tmp_path / "made"]), out))
    assert names == [f"sub-gen001_{name}.nii.gz" for name in ("FLAIR", "T1w", "ce-gadolinium_T1w")]
    assert_valid(out)


def test_a_run_and_a_volume(generated: Path, tmp_path: Path) -> None:
    inside = Run.create(GenerateRequest(), tmp_path / "runs")
    brain(inside.results / "sample_001.nii.gz", 5, sample=1, seed=1)
    outside = Run.create(GenerateRequest(out=generated), tmp_path / "runs")
    found = brains_in([inside.path, outside.path, brain(tmp_path / "my scan.nii")], modality="T2")
    assert [one.subject for one in found] == ["gen001", "gen002", "gen003", "myscan"]
    assert [one.suffix for one in found] == ["T2w"] * 4


@pytest.mark.parametrize("modality", ["CT", "bold"])
def test_a_modality_that_bids_does_not_know(generated: Path, modality: str) -> None:
    with pytest.raises(BrainDiffusionError, match=f"no name for the modality '{modality}'"):
        brains_in([generated], modality=modality)


def test_what_cannot_be_exported_is_told(generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BrainDiffusionError, match="holds something already"):
        list(write_bids(brains_in([generated]), generated))
    with pytest.raises(BrainDiffusionError, match="no brains to export"):
        list(write_bids([], tmp_path / "a"))
    with pytest.raises(BrainDiffusionError, match="There are no brains in"):
        brains_in([generated / "sample_001_trajectory.nii.gz"])

    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    monkeypatch.setattr(bids, "place", full)
    with pytest.raises(BrainDiffusionError, match="free some space"):
        list(write_bids(brains_in([generated]), tmp_path / "b"))


def test_from_the_shell(generated: Path, tmp_path: Path) -> None:
    out = tmp_path / "bids"
    told = CliRunner().invoke(app, ["export-bids", str(generated), "--out", str(out), "--name", "Made"])
    assert told.exit_code == 0, told.output
    assert_valid(out)
    assert told.stdout.count("_T1w.nii.gz") == 2
    assert json.loads((out / "dataset_description.json").read_text())["Name"] == "Made"


def test_sidecars_that_are_none(tmp_path: Path) -> None:
    path = brain(tmp_path / "a.nii.gz")
    assert read_sidecar(path) == {}
    for nonsense in ("[1]", "no json"):
        sidecar_path(path).write_text(nonsense)
        assert read_sidecar(path) == {}


SECRET = "Doe^Jane 1961-02-03"


def scan_with_identity(path: Path) -> Path:
    """A scan whose header, extension and sidecar name a person, and whose values are scaled."""
    image = nib.Nifti1Image(np.arange(120, dtype=np.int16).reshape(4, 5, 6), np.diag([2.0, 2, 2, 1]))
    image.header.set_xyzt_units("mm")
    image.header.set_slope_inter(0.5, -7)
    for name in ("descrip", "aux_file", "db_name", "intent_name"):
        image.header[name] = SECRET[: image.header[name].dtype.itemsize].encode()
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", SECRET.encode()))
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    told = dict.fromkeys(("PatientName", "PatientBirthDate", "InstitutionName"), SECRET)
    told |= {"EchoTime": 0.003, "SequenceName": "*tfl3d1", "ImageType": ["ORIGINAL"], "SoftwareVersions": "/home/jane"}
    sidecar_path(path).write_text(json.dumps(told))
    return path


@pytest.mark.parametrize("name", ["01_T1w.nii.gz", "01_T1w.nii"])
def test_the_identity_of_a_scan_is_not_exported(tmp_path: Path, name: str) -> None:
    source = scan_with_identity(tmp_path / "in" / name)
    told = CliRunner().invoke(app, ["export-bids", str(source), "--out", str(tmp_path / "bids")])
    assert told.exit_code == 0, told.output
    (volume,) = (tmp_path / "bids").rglob("*.nii.gz")
    assert "PatientName" in told.stderr
    assert "PatientName" in (tmp_path / "bids" / "README.md").read_text()
    for path in (tmp_path / "bids").rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        content = gzip.decompress(content) if path == volume else content
        assert not any(part.encode() in content for part in ("Doe", "Jane", "1961", "jane")), path
    kept = json.loads(sidecar_path(volume).read_text())
    assert kept["EchoTime"] == 0.003
    assert (kept["SequenceName"], kept["ImageType"]) == ("*tfl3d1", ["ORIGINAL"])
    before, after = nib.load(source), nib.load(volume)
    assert np.array_equal(before.affine, after.affine)
    np.testing.assert_array_equal(before.get_fdata(), after.get_fdata())


def test_no_folder_of_the_machine_is_exported(generated: Path, tmp_path: Path) -> None:
    path = generated / "sample_001.nii.gz"
    told = read_sidecar(path)
    paths = {"out": "/home/jane doe/x", "grid": "C:\\Users\\jane doe\\g.nii", "model": "~/jane doe/m"}
    command = "braindiffusion generate --out '/home/jane doe/x' --condition 'regions=/home/jane doe/r.nii.gz'"
    write_sidecar(path, {**told, "request": paths, "command": command, "placement": {"grid": "/home/jane doe/g"}})
    (exported, _) = write_bids(brains_in([generated]), tmp_path / "bids")
    again = json.loads(sidecar_path(exported).read_text())
    assert "jane" not in json.dumps(again)
    assert again["request"] == {"out": "x", "grid": "g.nii", "model": "m"}
    assert again["command"] == "braindiffusion generate --out x --condition regions=r.nii.gz"


def test_texts_with_a_stroke_are_no_paths(generated: Path, tmp_path: Path) -> None:
    sidecar_path(generated / "sample_001.nii.gz").write_text("{")  # the header speaks alone
    path = generated / "sample_002.nii.gz"
    condition = {"site": "GE/Siemens", "scores": "jane/scores.tsv#3", "regions": "jane/r.nii.gz"}
    write_sidecar(path, {**read_sidecar(path), "condition": condition})
    volume = load_volume(generated / "sample_001.nii.gz")
    save_volume(
        Volume(volume.data, volume.affine, {"description": "BrainDiffusion synthetic toy seed 4"}),
        generated / "sample_001.nii.gz",
    )
    list(write_bids(brains_in([generated], tell=lambda _: None), tmp_path / "bids"))
    first, second = rows_of(tmp_path / "bids")
    assert (first["synthetic"], first["seed"], first["site"]) == ("yes", "n/a", "n/a")
    assert [second[name] for name in condition] == ["GE/Siemens", "scores.tsv#3", "r.nii.gz"]


def test_hostile_names_make_no_rows_columns_or_formulas(generated: Path, tmp_path: Path) -> None:
    for number, name in enumerate(('=HYPERLINK("http://x","y")', "a\tb\nsub-evil\t1"), start=1):
        path = generated / f"sample_00{number}.nii.gz"
        condition = {"=x\t": "@y", "site": "+1+1"}
        write_sidecar(path, {**read_sidecar(path), "model": {"name": name}, "condition": condition})
    list(write_bids(brains_in([generated]), tmp_path / "bids"))
    assert_valid(tmp_path / "bids")
    rows = rows_of(tmp_path / "bids")
    assert [row["participant_id"] for row in rows] == ["sub-gen001", "sub-gen002"]
    assert [row["model"] for row in rows] == ['\'=HYPERLINK("http://x","y")', "a b sub-evil 1"]
    cells = [one for row in rows for pair in row.items() for one in pair]
    assert not [one for one in cells if one.startswith(("=", "+", "-", "@"))]


def test_a_generated_brain_is_never_called_scanned(tmp_path: Path) -> None:
    """Its sidecar has a byte order mark, is cut, or is missing; the header speaks where the sidecar does not."""
    source, made = tmp_path / "in", {"synthetic": True, "sample": 1, "seed": 4, "model": {"name": "toy"}}
    for name in ("bom", "cut", "missing", "wrong", "header", "scan", "who"):
        brain(source / f"{name}_T1w.nii.gz", **made if name in ("bom", "cut", "missing", "wrong") else {})
    bom, cut, missing, wrong, scan = (
        source / f"{name}_T1w.json" for name in ("bom", "cut", "missing", "wrong", "scan")
    )
    bom.write_bytes(b"\xef\xbb\xbf" + bom.read_bytes())
    cut.write_bytes(cut.read_bytes()[:40])
    missing.unlink()
    wrong.write_text('{"synthetic": true, "condition": [1]}')
    scan.write_text('{"EchoTime": 0.003}')
    volume = load_volume(source / "header_T1w.nii.gz")
    save_volume(
        Volume(volume.data, volume.affine, {"description": "BrainDiffusion synthetic toy seed 4"}),
        source / "header_T1w.nii.gz",
    )
    told: list[str] = []
    brains = brains_in([source], tell=told.append)
    known = {one.path.name.removesuffix("_T1w.nii.gz"): one.synthetic for one in brains}
    assert known == {
        "bom": True, "cut": None, "missing": None, "wrong": None, "header": True, "scan": False, "who": None,
    }  # fmt: skip
    assert [sum(name in sentence for sentence in told) for name in ("cut_T1w.json", "wrong_T1w.json")] == [1, 1]
    list(write_bids(brains, tmp_path / "bids"))
    assert_valid(tmp_path / "bids")
    assert sorted(row["synthetic"] for row in rows_of(tmp_path / "bids")) == ["n/a"] * 4 + ["no"] + ["yes"] * 2
    assert "`n/a` in that column" in (tmp_path / "bids" / "README.md").read_text()


def test_an_edited_scan_is_never_called_scanned(tmp_path: Path) -> None:
    """Neither where somebody knows the person's age, nor by a further volume of the subject."""
    edited = {"synthetic": "part", "model": {"name": "ixi-2mm"}, "seed": 3, "scan_sha256": "0", "EchoTime": 0.003}
    write_sidecar(brain(tmp_path / "in/sub-01_T1w.nii.gz"), edited)
    write_sidecar(brain(tmp_path / "in/sub-02_T2w.nii.gz"), edited)
    write_sidecar(brain(tmp_path / "in/sub-02_FLAIR.nii.gz"), {"EchoTime": 0.003})
    made = {"description": "BrainDiffusion synthetic toy seed 4"}  # a generated brain was edited
    save_volume(Volume(np.ones((1, 4, 5, 6)), np.eye(4), made), tmp_path / "in/sub-03_T1w.nii.gz")
    write_sidecar(tmp_path / "in/sub-03_T1w.nii.gz", edited)
    people = tmp_path / "participants.tsv"
    people.write_text("participant_id\tage\tsex\nsub-01\t60\tF\n")
    out = tmp_path / "bids"
    written = list(write_bids(brains_in([tmp_path / "in"]), out, people=read_demographics(people)))
    assert_valid(out)
    rows = {row["participant_id"]: row["synthetic"] for row in rows_of(out)}
    assert rows == {"sub-01": "part", "sub-02": "part", "sub-gen001": "yes"}
    told = {path.name.removesuffix(".nii.gz"): read_sidecar(path) for path in written}
    assert told["sub-01_T1w"] == {"Modality": "MR", "EchoTime": 0.003, "synthetic": "part"}
    assert "synthetic" not in told["sub-02_FLAIR"]
    assert "or changed it: 2." in (out / "README.md").read_text()
    assert "Without a word" not in (out / "README.md").read_text()


def test_the_values_of_a_sweep_are_exported_once(tmp_path: Path) -> None:
    edited = {"synthetic": "part", "model": {"name": "ixi-2mm"}, "seed": 3, "scan_sha256": "0"}
    for name in ("sweep_001", "sweep_002"):
        write_sidecar(brain(tmp_path / f"in/{name}.nii.gz"), edited)
    save_volume(Volume(np.ones((2, 4, 5, 6)), np.eye(4)), tmp_path / "in/sweep.nii.gz")
    write_sidecar(tmp_path / "in/sweep.nii.gz", edited | {"values": [{"name": "age 60"}, {"name": "age 70"}]})
    told: list[str] = []
    found = brains_in([tmp_path / "in"], tell=told.append)
    assert [one.path.name for one in found] == ["sweep_001.nii.gz", "sweep_002.nii.gz"]
    assert "sweep.nii.gz is left out" in " ".join(told)


def test_one_volume_that_bids_has_no_name_for_stops_no_other(tmp_path: Path) -> None:
    brain(tmp_path / "in/sub-01/anat/sub-01_T1w.nii.gz")
    (tmp_path / "in/sub-01/anat/sub-01_T1w.json").write_bytes(b'\xef\xbb\xbf{"EchoTime": 0.003}')
    brain(tmp_path / "in/sub-01/func/sub-01_task-rest_bold.nii.gz")
    (tmp_path / "in/dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.8.0"}')
    out = tmp_path / "bids"
    result = CliRunner().invoke(app, ["export-bids", str(tmp_path / "in"), "--out", str(out)])
    assert result.exit_code == 3
    assert "bold" in result.stderr
    assert [path.name for path in out.rglob("*.nii.gz")] == ["sub-01_T1w.nii.gz"]
    assert json.loads((out / "sub-01/anat/sub-01_T1w.json").read_text())["EchoTime"] == 0.003


@pytest.mark.parametrize(
    "content",
    ['{"synthetic": true', '{"synthetic": true, "model": "x"}', '{"synthetic": true, "condition": [1]}', "[" * 10_000],
)
def test_a_sidecar_that_holds_something_else_is_told_in_one_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(BrainDiffusionError, match=r"a\.json"):
        read_again(tmp_path / "a.json")
