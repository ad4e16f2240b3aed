"""A synthetic cohort: a BIDS dataset that can be continued, whose subjects depend on seed and number alone."""

import csv
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bids_validator import BIDSValidator
from typer.testing import CliRunner

import braindiffusion
from braindiffusion.cli import app
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.generation.reproduce import request_from_sidecar
from braindiffusion.jobs import perform
from braindiffusion.regions import REGIONS
from braindiffusion.runs import ArtifactWritten, Failed, Finished, Run, SynthesizeRequest, Warned
from braindiffusion.runs.reports.synthesis import read_cohort_report
from braindiffusion.runs.requests.synthesis import MOST
from braindiffusion.runs.sidecar import load_sidecar, sidecar_path
from braindiffusion.synthesis.novelty import REFERENCE
from braindiffusion.volume import Volume, load_volume, save_volume

from .conftest import do

Ask = Callable[..., SynthesizeRequest]
CohortOf = Callable[[list[np.ndarray]], Path]


def volumes(out: Path) -> list[Path]:
    return sorted(out.glob("sub-*/anat/*_T1w.nii.gz"))


def hashes(out: Path) -> list[str]:
    return [load_sidecar(sidecar_path(path))["voxels_sha256"] for path in volumes(out)]


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "participants.tsv").open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def files(out: Path) -> list[Path]:
    """All files but those that the dataset tells validators to ignore."""
    ignored = (out / ".bidsignore").read_text().split()
    every = [path.relative_to(out) for path in sorted(out.rglob("*")) if path.is_file()]
    return [path for path in every if path.name not in (*ignored, ".bidsignore")]


def test_a_cohort_is_a_bids_dataset_with_region_maps(ask: Ask) -> None:
    events = do(ask())
    out = ask().out
    assert isinstance(events[-1], Finished), events[-1]
    assert [Path(e.path) for e in events if isinstance(e, ArtifactWritten) and e.kind == "volume"] == volumes(out)
    assert [path for path in files(out) if not BIDSValidator().is_bids(f"/{path}")] == []
    table = rows(out)
    assert [row["participant_id"] for row in table] == [f"sub-gen00{i}" for i in (1, 2, 3, 4)]
    assert sorted(row["sex"] for row in table) == ["F", "F", "M", "M"]
    assert all(20 <= float(row["age"]) <= 80 for row in table)
    assert len({row["age"] for row in table}) == 4
    assert set(table[0]) == {"participant_id", *json.loads((out / "participants.json").read_text())}
    described = json.loads((out / "dataset_description.json").read_text())
    assert described["GeneratedBy"][0]["Name"] == "BrainDiffusion"
    derivative = out / "derivatives" / "braindiffusion"
    names = dict(line.split("\t") for line in (derivative / "dseg.tsv").read_text().splitlines()[1:])
    assert names == {str(region.index): region.name for region in REGIONS}
    labels = load_volume(derivative / "sub-gen001" / "anat" / "sub-gen001_dseg.nii.gz")
    assert set(np.unique(labels.data).astype(int).astype(str)) <= set(names)
    assert np.allclose(labels.affine, load_volume(volumes(out)[0]).affine)
    texts = [path.read_text() for path in out.rglob("*") if path.suffix in (".json", ".html", ".tsv", ".md")]
    assert not any(str(out.parent) in text for text in texts)  # no folder of this machine


def test_the_validator_of_bids_finds_no_errors(ask: Ask) -> None:
    validator = shutil.which("bids-validator-deno")
    if validator is None:
        pytest.skip("needs the validator of BIDS: pip install bids-validator-deno")
    do(ask(num=2))
    told = subprocess.run(
        [validator, str(ask().out), "--recursive", "--format", "json"], stdout=subprocess.PIPE, check=False
    )
    found = json.loads(told.stdout)
    every = [found, *found["derivativesSummary"].values()]
    errors = [issue for part in every for issue in part["issues"]["issues"] if issue.get("severity") == "error"]
    assert errors == []


def test_the_report_says_what_the_cohort_is_like(ask: Ask) -> None:
    do(ask())
    report = read_cohort_report(ask().out)
    ages = sorted(float(row["age"]) for row in rows(ask().out))
    assert report.ages is not None
    assert (report.ages.youngest, report.ages.oldest, report.subjects) == (ages[0], ages[-1], 4)
    assert report.sexes == {"F": 2, "M": 2}
    assert "left frontal cortex" in {row.region for row in report.regions}
    assert all(row.low_ml <= row.median_ml <= row.high_ml for row in report.regions)
    assert any(row.low_ml < row.high_ml for row in report.regions)
    assert any("No reference cohort was given" in sentence for sentence in report.limits)
    page = (ask().out / "report.html").read_text()
    assert "No reference cohort was given" in page
    assert "left frontal cortex" in page


def test_a_subject_follows_from_seed_and_number(ask: Ask, tmp_path: Path) -> None:
    do(ask(num=2))
    do(ask(num=4, out=tmp_path / "more"))
    do(ask(num=2, seed=1, out=tmp_path / "other"))
    assert hashes(ask().out) == hashes(tmp_path / "more")[:2]
    assert rows(ask().out) == rows(tmp_path / "more")[:2]
    assert not set(hashes(ask().out)) & set(hashes(tmp_path / "other"))


def test_a_subject_can_be_generated_again_from_its_sidecar(
    ask: Ask, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    do(ask(num=3))
    path = volumes(ask().out)[2]
    monkeypatch.chdir(model.parent)  # sidecars of a dataset name the model without its folder
    do(request_from_sidecar(sidecar_path(path), tmp_path / "again"))
    (again,) = (tmp_path / "again").glob("sample_???.nii.gz")
    np.testing.assert_array_equal(load_volume(again).data, load_volume(path).data)


def test_a_cohort_is_continued_and_made_larger(ask: Ask) -> None:
    events = perform(run := Run.create(ask()))
    for event in events:
        if isinstance(event, ArtifactWritten) and "gen002" in event.path:
            break
    events.close()
    out = ask().out
    assert run.state == "cancelled"
    assert [row["participant_id"] for row in rows(out)] == ["sub-gen001", "sub-gen002"]  # a dataset of what there is
    before = {path: path.stat().st_mtime_ns for path in volumes(out)}
    written = [e.path for e in do(ask(num=5)) if isinstance(e, ArtifactWritten) and e.kind == "volume"]
    assert [Path(path).name[:10] for path in written] == ["sub-gen003", "sub-gen004", "sub-gen005"]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(rows(out)) == 5
    assert list(run.path.rglob("sample_*")) == []  # nothing is kept twice


def test_a_subject_without_its_region_map_is_made_again(ask: Ask) -> None:
    do(ask(num=2))
    before = hashes(ask().out)
    (ask().out / "derivatives/braindiffusion/sub-gen002/anat/sub-gen002_dseg.nii.gz").unlink()
    written = [Path(e.path).name for e in do(ask(num=2)) if isinstance(e, ArtifactWritten) and e.kind == "volume"]
    assert written == ["sub-gen002_T1w.nii.gz"]
    assert hashes(ask().out) == before


def test_a_damaged_region_map_is_told(ask: Ask) -> None:
    do(ask(num=1))
    path = ask().out / "derivatives/braindiffusion/sub-gen001/anat/sub-gen001_dseg.nii.gz"
    regions = load_volume(path)
    for wrong in (len(REGIONS), 256 + 4):
        save_volume(Volume(np.full_like(regions.data, wrong, np.uint16), regions.affine, {"kind": "labels"}), path)
        *_, last = perform(Run.create(ask(num=1)))
        assert isinstance(last, Failed)
        assert "sub-gen001_dseg.nii.gz holds values of no region" in last.message


def test_processes_share_a_cohort(ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    do(ask(num=3, out=tmp_path / "alone"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "0")
    made = []
    for rank in (1, 0):
        monkeypatch.setenv("RANK", str(rank))
        events = do(ask(num=3))
        assert isinstance(events[-1], Finished), events[-1]
        made.append([Path(e.path).name[:10] for e in events if isinstance(e, ArtifactWritten) and e.kind == "volume"])
    assert made == [["sub-gen002"], ["sub-gen001", "sub-gen003"]]
    assert hashes(ask().out) == hashes(tmp_path / "alone")
    assert rows(ask().out) == rows(tmp_path / "alone")


def copied(ask: Ask, others: list[np.ndarray], tmp_path: Path) -> list[np.ndarray]:
    """The model's subjects, the first of which looks like the second subject of the cohort."""
    do(ask(num=2, out=tmp_path / "first"))
    return [load_volume(volumes(tmp_path / "first")[1]).data[0], *others[1:]]


def test_a_copy_of_a_training_brain_is_drawn_again(
    ask: Ask, others: list[np.ndarray], cohort_of: CohortOf, tmp_path: Path
) -> None:
    reference = cohort_of(copied(ask, others, tmp_path))
    do(ask(num=3, reference=reference))
    out, alone = ask().out, tmp_path / "first"
    assert [row["redraws"] for row in rows(out)] == ["0", "1", "0"]
    assert rows(out)[1]["seed"] == str(MOST + 1)
    assert hashes(out)[0] == hashes(alone)[0]
    assert hashes(out)[1] != hashes(alone)[1]
    assert (rows(out)[1]["age"], rows(out)[1]["sex"]) == (rows(alone)[1]["age"], rows(alone)[1]["sex"])
    report = read_cohort_report(out)
    assert (report.redraws, report.redrawn) == (1, ["sub-gen002"])
    assert (report.novelty[0].copies, report.novelty[0].subjects) == (0, 3)
    assert report.novelty[0].nearest > report.novelty[0].threshold
    assert not any("No reference" in sentence for sentence in report.limits)


def test_a_copy_that_stays_one_is_left_out(
    ask: Ask, others: list[np.ndarray], cohort_of: CohortOf, tmp_path: Path
) -> None:
    reference = cohort_of(copied(ask, others, tmp_path))
    events = do(ask(num=3, reference=reference, redraws=0))
    assert [e.subject for e in events if isinstance(e, Warned) and "left out" in e.message] == ["sub-gen002"]
    assert isinstance(events[-1], Finished)
    assert events[-1].problems == 1
    assert [row["participant_id"] for row in rows(ask().out)] == ["sub-gen001", "sub-gen003"]
    assert any("1 of 3 subjects are missing" in sentence for sentence in read_cohort_report(ask().out).limits)


def test_a_finished_cohort_is_compared_later(
    ask: Ask, others: list[np.ndarray], cohort_of: CohortOf, tmp_path: Path
) -> None:
    reference = cohort_of(copied(ask, others, tmp_path))
    do(ask(num=2))
    do(ask(num=2, reference=reference))
    assert [row["redraws"] for row in rows(ask().out)] == ["0", "1"]
    assert read_cohort_report(ask().out).novelty[0].subjects == 2


def test_a_finished_cohort_is_compared_with_another_reference(
    ask: Ask, others: list[np.ndarray], cohort_of: CohortOf, tmp_path: Path
) -> None:
    """The one of before lacked a training brain, of which a subject is a copy."""
    copies = copied(ask, others, tmp_path)
    do(ask(num=2, reference=cohort_of(others)))
    assert [row["redraws"] for row in rows(ask().out)] == ["0", "0"]
    before = [load_sidecar(sidecar_path(path))[REFERENCE] for path in volumes(ask().out)]
    shutil.rmtree(tmp_path / "reference.zarr")
    reference = cohort_of(copies)
    do(ask(num=2, reference=reference))
    assert [row["redraws"] for row in rows(ask().out)] == ["0", "1"]
    after = [load_sidecar(sidecar_path(path))[REFERENCE] for path in volumes(ask().out)]
    assert len({*before, *after}) == 2
    assert set(before).isdisjoint(after)
    assert read_cohort_report(ask().out).novelty[0].copies == 0
    times = [path.stat().st_mtime_ns for path in sorted(ask().out.glob("sub-*/anat/*.json"))]
    do(ask(num=2, reference=reference))
    assert times == [path.stat().st_mtime_ns for path in sorted(ask().out.glob("sub-*/anat/*.json"))]


def test_a_folder_of_something_else_is_left_alone(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    last = do(ask(out=tmp_path / "mine"))[-1]
    assert isinstance(last, Failed)
    assert "did not begin" in last.message
    do(ask(num=1, seed=1))
    last = do(ask(num=1, seed=3))[-1]
    assert isinstance(last, Failed)
    assert "another request (sub-gen001_T1w.nii.gz: its seed was 1, not 3)" in last.message
    described = json.loads((ask().out / "dataset_description.json").read_text()) | {"Authors": ["Me"]}
    (ask().out / "dataset_description.json").write_text(json.dumps(described))
    assert "dataset_description.json" in do(ask(num=2, seed=1))[-1].message
    assert json.loads((ask().out / "dataset_description.json").read_text())["Authors"] == ["Me"]
    do(ask(num=1, seed=1, overwrite=True))
    (ask().out / "README.md").write_text("my own words")
    last = do(ask(num=2, seed=1))[-1]
    assert isinstance(last, Failed)
    assert "README.md" in last.message
    assert (ask().out / "README.md").read_text() == "my own words"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"age": "20:300"}, "younger to the older"),
        ({"age": "80:20"}, "younger to the older"),
        ({"age": "old"}, "two numbers with a colon"),
        ({"age": "nan:nan"}, "younger to the older"),
    ],
)
def test_ages_that_are_no_range(ask: Ask, fields: dict[str, str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        ask(**fields)


def test_conditions_that_the_model_has_not_seen(ask: Ask, tmp_path: Path) -> None:
    for fields, field, sentence in (
        ({"age": "1:80"}, "", ""),
        ({"age": "20:140"}, "age", "far from what the model saw"),
        ({"condition": {"age": 40}}, "condition", "an option of its own"),
        ({"reference": tmp_path / "folder"}, "reference", "no prepared cohort"),
    ):
        last = do(ask(num=1, out=tmp_path / "x" / str(len(sentence)), **fields))[-1]
        if sentence:
            assert isinstance(last, Failed)
            assert (last.field, sentence in last.message) == (field, True), last


def test_from_the_shell_and_from_python(ask: Ask, model: Path, tmp_path: Path) -> None:
    words = ["synthesize", "--model", str(model), "--num", "2", "--age", "20:80", "--sex", "balanced"]
    told = CliRunner().invoke(app, [*words, "--bids", str(tmp_path / "shell"), "--device", "cpu"])
    assert told.exit_code == 0, told.output
    assert told.stdout.count("_T1w.nii.gz") == 2
    report = braindiffusion.synthesize(tmp_path / "python", 2, model=model, age="20:80", device="cpu")
    assert report.subjects == 2
    assert hashes(tmp_path / "python") == hashes(tmp_path / "shell")
    with pytest.raises(BrainDiffusionError, match="colon"):
        braindiffusion.synthesize(tmp_path / "bad", 2, model=model, age="20-80")
