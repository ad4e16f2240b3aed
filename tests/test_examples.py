"""Tests of the example and developer scripts: each has help, and the quick examples are run."""

import csv
import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from braindiffusion.example_data import sample_labels_path
from braindiffusion.export import write_bids
from braindiffusion.export.brains import Brain
from braindiffusion.regions import group, volumes_ml
from braindiffusion.volume import Volume, load_volume, save_volume

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "examples"
DEVELOPER_SCRIPTS = (
    "join_cohorts",
    "make_blind_sheet",
    "make_cascade_pictures",
    "make_mean_heads",
    "make_pictures",
    "make_samples",
    "take_screenshots",
    "package_model",
    "package_segmentation",
)
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py"))


def load(name: str, folder: Path = FOLDER) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def call(name: str, *arguments: object) -> Result:
    app = typer.Typer(add_completion=False)
    app.command()(load(name).main)
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_script_has_help(name: str) -> None:
    done = call(name, "--help")
    assert done.exit_code == 0, done.output
    assert f"examples/{name}.py" in (FOLDER / f"{name}.py").read_text(encoding="utf-8").split('"""')[1]


@pytest.mark.parametrize("name", DEVELOPER_SCRIPTS)
def test_each_developer_script_has_help(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "scripts")  # one takes the planes of another
    app = typer.Typer(add_completion=False)
    app.command()(load(name, ROOT / "scripts").main)
    done = CliRunner().invoke(app, ["--help"])
    assert done.exit_code == 0, done.output
    assert f"scripts/{name}.py" in (ROOT / "scripts" / f"{name}.py").read_text(encoding="utf-8")


def test_the_list_of_examples_is_complete() -> None:
    listed = re.findall(r"\((\w+)\.py\)", (FOLDER / "README.md").read_text(encoding="utf-8"))
    assert sorted(listed) == SCRIPTS


def test_pages_of_a_volume_are_written(tmp_path: Path) -> None:
    done = call("show_in_browser", "--out", tmp_path, "--no-open")
    assert done.stdout.split() == [str(tmp_path / "rendering.html"), str(tmp_path / "slices.html")]
    assert all(Path(page).stat().st_size < 15e6 for page in done.stdout.split())


def test_real_and_generated_are_compared(tmp_path: Path) -> None:
    done = call("compare_real_and_generated", "--out", tmp_path / "page.html")
    sizes = [float(line.rpartition(", ")[2].removesuffix(" l")) for line in done.stdout.splitlines()[:2]]
    assert all(1.0 < size < 1.8 for size in sizes)  # litres of a grown-up's brain
    assert (tmp_path / "page.html").stat().st_size < 15e6


def test_regions_of_a_label_map_are_written_and_measured(tmp_path: Path) -> None:
    done = call("segment_a_scan", "--labels", sample_labels_path(), "--out", tmp_path)
    written = load_volume(tmp_path / "regions.nii.gz")
    expected = group(load_volume(sample_labels_path()).data[0])
    np.testing.assert_array_equal(written.data[0], expected)
    told = [float(line.split()[-2]) for line in done.stdout.splitlines()]
    np.testing.assert_allclose(told, volumes_ml(expected, 2.0)[1:], atol=0.051)
    assert (tmp_path / "regions.html").stat().st_size < 15e6


def test_samples_are_exported_to_bids(tmp_path: Path) -> None:
    generated, out = tmp_path / "generated", tmp_path / "bids"
    for number in (1, 2):
        volume = Volume(np.random.default_rng(number).random((1, 4, 5, 6), np.float32), np.eye(4))
        save_volume(volume, generated / f"sample_{number:03d}.nii.gz")
        sidecar = {"synthetic": True, "seed": 6 + number, "condition": {"age": 50.0} if number == 2 else {}}
        (generated / f"sample_{number:03d}.json").write_text(json.dumps(sidecar))
    save_volume(Volume(np.ones((3, 4, 5, 6), np.float32), np.eye(4)), generated / "sample_001_trajectory.nii.gz")
    done = call("export_bids", generated, "--out", out)
    assert done.exit_code == 0, done.output
    with (out / "participants.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["participant_id"] for row in rows] == ["sub-gen001", "sub-gen002"]
    assert [(row["age"], row["seed"]) for row in rows] == [("n/a", "7"), ("50", "8")]
    for row in rows:
        subject = row["participant_id"]
        made = load_volume(out / subject / "anat" / f"{subject}_T1w.nii.gz")
        source = load_volume(generated / f"sample_{subject[-3:]}.nii.gz")
        np.testing.assert_array_equal(made.data, source.data)
        assert json.loads((out / subject / "anat" / f"{subject}_T1w.json").read_text())["synthetic"] is True


def test_the_conditions_of_a_model_are_listed() -> None:
    assert "Conditions of ixi-2mm" in call("sample_with_conditions").stdout


def test_a_table_of_ages_is_written(tmp_path: Path) -> None:
    load("cohort_from_ages").write_ages(tmp_path / "ages.csv")
    with (tmp_path / "ages.csv").open() as file:
        rows = [(row["age"], row["sex"]) for row in csv.DictReader(file)]
    assert len(set(rows)) == len(rows) == 14
    assert rows[0] == ("20", "F")
    assert rows[-1] == ("80", "M")


def test_resuming_without_a_stopped_training_is_refused(tmp_runs: Path) -> None:
    done = call("resume_training")
    assert "No training was stopped" in str(done.exception)


def test_synthetic_brains_are_mixed_into_a_training(tmp_path: Path) -> None:
    rng, shape = np.random.default_rng(0), (1, 8, 8, 8)
    brains = []
    for number in (1, 2, 3):
        path, map_ = tmp_path / f"in/{number}.nii.gz", tmp_path / f"in/{number}_seg.nii.gz"
        save_volume(Volume(rng.random(shape, np.float32), np.eye(4)), path)
        save_volume(Volume(rng.integers(0, 41, shape, np.uint8), np.eye(4), {"kind": "labels"}), map_)
        told = {"synthetic": True, "condition": {}}
        brains.append(Brain(path, f"gen{number:03d}", labels=map_, sidecar=told, synthetic=True))
    list(write_bids(brains, tmp_path / "cohort"))
    for folder, data in (("images", rng.random(shape, np.float32)), ("labels", rng.integers(0, 4, shape, np.uint8))):
        save_volume(Volume(data, np.eye(4)), tmp_path / folder / "01.nii.gz")
    real = ("--real", tmp_path / "images", "--labels", tmp_path / "labels")
    done = call("augment_a_training", tmp_path / "cohort", *real, "--ratio", 2)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == "1 real and 2 synthetic brains"
    assert sorted(lines[1:]) == [
        "images (1, 1, 8, 8, 8), labels 0, 1, 2, 3",
        "images (2, 1, 8, 8, 8), labels 0, 1, 2, 3",
    ]
