"""No job writes over an input, nor over a file that this software did not write."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from braindiffusion import jobs
from braindiffusion.cli.app import app
from braindiffusion.cli.publish import publish_checkpoints
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.export import brains_in, write_bids
from braindiffusion.files import PrivateFolder, replacing, write_whole
from braindiffusion.models.cascade import Cascade, save_model
from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig, UNetConfig
from braindiffusion.outputs import RECORD, Outputs
from braindiffusion.runs import (
    AnomalyRequest,
    DemoRequest,
    DifferenceRequest,
    DistillRequest,
    EditRequest,
    EvaluateRequest,
    Failed,
    Finished,
    GenerateRequest,
    PrepareRequest,
    RegenerateRequest,
    Request,
    Run,
    SynthesizeRequest,
    TrainRequest,
    VisualizeRequest,
    Warned,
)
from braindiffusion.runs.requests import SegmentRequest
from braindiffusion.volume import Volume, save_volume

FOREIGN = b"a week of drawing by hand"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of one level that has learnt nothing."""
    level = LevelConfig(unet=UNetConfig(widths=(8,), blocks=(1,), attention=(False,)), steps=2)
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    save_model(
        Cascade(CascadeConfig(shape=(8, 8, 8), spacing=2.0, depth=1, levels=(level,) * 2)), folder, {"name": "toy"}
    )
    return folder


@pytest.fixture
def brains(tmp_path: Path) -> Path:
    """A folder of two volumes."""
    rng = np.random.default_rng(0)
    for name in ("a_T1w", "b_T1w"):
        save_volume(Volume(rng.random((1, 8, 8, 8), np.float32), np.diag([2.0, 2, 2, 1])), tmp_path / f"in/{name}.nii")
    return tmp_path / "in"


def generation(model: Path, brains: Path, out: Path) -> Request:
    return GenerateRequest(model=str(model), out=out, device="cpu")


def reproduction(model: Path, brains: Path, out: Path) -> Request:
    folder = out.parent / "before"
    perform(generation(model, brains, folder))
    return RegenerateRequest(like=folder / "sample_001.json", out=out, device="cpu")


JOBS: dict[str, tuple[Callable[[Path, Path, Path], Request], tuple[str, ...]]] = {
    "segment": (
        lambda m, b, o: SegmentRequest(input=b, out=o),
        ("a_T1w_mask.nii.gz", "a_T1w_regions.nii.gz", "readings.tsv"),
    ),
    "difference": (
        lambda m, b, o: DifferenceRequest(first=b / "a_T1w.nii", second=b / "b_T1w.nii", out=o / "d.nii.gz"),
        ("d.nii.gz", "d.json"),
    ),
    "visualize": (
        lambda m, b, o: VisualizeRequest(figure="slices", paths=(b / "a_T1w.nii",), out=o / "page.html"),
        ("page.html",),
    ),
    "edit": (
        lambda m, b, o: EditRequest(scan=b / "a_T1w.nii", mask=b / "b_T1w.nii", model=str(m), out=o),
        ("proposal_001.nii.gz", "proposal_001.json"),
    ),
    "anomaly": (
        lambda m, b, o: AnomalyRequest(scan=b / "a_T1w.nii", model=str(m), out=o / "a.nii.gz"),
        ("a.nii.gz", "a.json"),
    ),
    "evaluate": (
        lambda m, b, o: EvaluateRequest(real=(b,), generated=(b,), out=o),
        ("report.html", "evaluation.json"),
    ),
    "distill": (
        lambda m, b, o: DistillRequest(model=str(m), num_samples=4, steps=1, training_steps=1, out=o, device="cpu"),
        ("model.json", "model.safetensors"),
    ),
    "generate": (generation, ("sample_001.nii.gz",)),
    "synthesize": (lambda m, b, o: SynthesizeRequest(model=str(m), num=1, out=o, device="cpu"), ("participants.tsv",)),
    "regenerate": (reproduction, ("sample_001.nii.gz",)),
    "demo": (lambda m, b, o: DemoRequest(out=o), ("sample_001.nii.gz", "sample_001_trajectory.nii.gz")),
    "prepare": (
        lambda m, b, o: PrepareRequest(data_dir=b, out=o / "c.zarr", skull="strip"),
        ("c.zarr/notes.txt", "c.labels/a_T1w.nii.gz"),
    ),
}
"""For each job that writes where the user says: a request, and files that it would write."""


def perform(request: Request) -> list[object]:
    return list(jobs.perform(Run.create(request)))


@pytest.mark.parametrize(("job", "name"), [(job, name) for job, (_, names) in JOBS.items() for name in names])
def test_a_file_of_the_user_is_never_written_over(
    job: str, name: str, model: Path, brains: Path, tmp_path: Path, tmp_runs: Path
) -> None:
    request = JOBS[job][0](model, brains, tmp_path / "out")
    mine = tmp_path / "out" / name
    mine.parent.mkdir(parents=True, exist_ok=True)
    mine.write_bytes(FOREIGN)
    os.utime(mine, (0, 0))
    *_, last = perform(request)
    assert isinstance(last, Failed), last
    whole_folder = name == "c.zarr/notes.txt" or job == "synthesize"
    assert str(mine.parent if whole_folder else mine) in last.message
    assert "choose another" in last.message
    assert "bug" not in last.message
    assert mine.read_bytes() == FOREIGN


@pytest.mark.parametrize("job", sorted(JOBS.keys() - {"regenerate"}))  # whose sidecar lies in that folder
def test_a_folder_that_takes_no_files_is_told_before_any_work(
    job: str, model: Path, brains: Path, tmp_path: Path, tmp_runs: Path
) -> None:
    (tmp_path / "file").write_bytes(FOREIGN)
    *events, last = perform(JOBS[job][0](model, brains, tmp_path / "file" / "out"))
    assert isinstance(last, Failed), last
    assert str(tmp_path / "file") in last.message
    assert "choose another" in last.message
    assert not [event for event in events if isinstance(event, Warned)]


def test_a_folder_without_permission_is_told_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path or not mode & os.W_OK)
    with pytest.raises(BrainDiffusionError, match=r"Cannot write into .*out \(no permission\): choose another folder"):
        Outputs().check([tmp_path / "out" / "a.nii.gz"])
    result = CliRunner().invoke(app, ["train", "--data", str(tmp_path), "--out", str(tmp_path / "models")])
    assert "no permission" in str(result.exception)


def test_every_request_with_an_output_is_among_these() -> None:
    requests = get_args(get_args(Request)[0])
    writing = {kind.model_fields["job"].default for kind in requests if "out" in kind.model_fields}
    assert writing == set(JOBS)


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_input_is_never_written_over(
    overwrite: bool, model: Path, brains: Path, tmp_path: Path, tmp_runs: Path
) -> None:
    a, b = brains / "a_T1w.nii", brains / "b_T1w.nii"
    link = tmp_path / "link.nii"
    link.hardlink_to(a)
    sidecar = brains / "a_T1w.json"
    sidecar.write_bytes(FOREIGN)
    like = Path(str(reproduction(model, brains, tmp_path / "out").like))
    before = {path: path.read_bytes() for path in (a, b, sidecar, like)}
    for request in (
        DifferenceRequest(first=a, second=b, out=a, overwrite=overwrite),
        DifferenceRequest(first=a, second=b, out=link, overwrite=overwrite),
        DifferenceRequest(first=a, second=b, out=brains / "a_T1w.nii.gz", overwrite=overwrite),  # its sidecar
        SegmentRequest(input=a, out=a.with_name("a_T1w.nii"), overwrite=overwrite),
        GenerateRequest(
            model=str(model), out=like.parent, grid=like.with_name("sample_001.nii.gz"), overwrite=overwrite, seed=1
        ),
        RegenerateRequest(like=like, out=like.parent, overwrite=overwrite, device="cpu"),
    ):
        *_, last = perform(request)
        assert isinstance(last, Failed), request
        assert "choose another" in last.message
    assert {path: path.read_bytes() for path in before} == before


def test_own_files_are_written_over_until_somebody_changes_them(brains: Path, tmp_path: Path, tmp_runs: Path) -> None:
    out = tmp_path / "out" / "d.nii.gz"
    request = DifferenceRequest(first=brains / "a_T1w.nii", second=brains / "b_T1w.nii", out=out)
    for _ in range(2):
        assert isinstance(perform(request)[-1], Finished)
    made = out.read_bytes()
    out.write_bytes(made + b"drawn on")
    assert isinstance(perform(request)[-1], Failed)
    assert out.read_bytes() == made + b"drawn on"
    allowed = request.model_copy(update={"overwrite": True})
    assert isinstance(perform(allowed)[-1], Finished)
    assert out.read_bytes() == made


def test_a_process_that_was_killed_leaves_no_file_that_nobody_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record is written before the file takes its place: killed in between, either content is known."""
    path, outputs = tmp_path / "page.html", Outputs()
    with outputs.writing():
        write_whole(path, "old")

    def killed(*_: object) -> None:
        raise OSError

    with monkeypatch.context() as patch, outputs.writing():
        patch.setattr(Path, "replace", killed)
        with pytest.raises(OSError, match=r"^$"):
            write_whole(path, "new")
    Outputs().check([path])
    assert path.read_text() == "old"
    (tmp_path / RECORD).write_text((tmp_path / RECORD).read_text() + '{"file": "page.ht')
    Outputs().check([path])


def test_temporary_files_of_killed_processes_go_with_the_next_start(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from braindiffusion.files import replacing\n"
        "with replacing(Path(sys.argv[1])) as beside:\n beside.write_text('half'); os._exit(9)"
    )
    path = tmp_path / "sample_004.nii.gz"
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    earlier = tmp_path / ".0123abcd.sample_004.nii.gz"
    earlier.touch()
    with replacing(path) as mine:
        mine.touch()
        assert len(list(tmp_path.iterdir())) == 3
        Outputs().check([tmp_path / "sample_005.nii.gz"])
        assert len(list(tmp_path.iterdir())) == 3
        Outputs().check([path])
        assert list(tmp_path.iterdir()) == [mine]


def test_temporary_folders_of_killed_processes_go_with_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import os; from pathlib import Path; from braindiffusion.files import PrivateFolder\n"
        "folder = PrivateFolder(); (Path(folder.name) / 'brain.nii').touch(); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False, env={**os.environ, "TMPDIR": str(tmp_path)})
    (left,) = tmp_path.iterdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for foreign in ("braindiffusion-models", "other-1f-abcdefgh"):
        (tmp_path / foreign).mkdir()
    with PrivateFolder() as first, PrivateFolder() as second:
        assert not left.exists()
        assert Path(first).stat().st_mode & 0o077 == 0
        assert len(list(tmp_path.iterdir())) == 4
        assert Path(second).is_dir()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_training_replaces_no_model_that_it_did_not_write(tmp_path: Path, tmp_runs: Path) -> None:
    run = Run.create(TrainRequest(data=tmp_path))
    for name in ("best", "last"):
        (run.checkpoints / name).mkdir()
        for file in ("model.json", "model.safetensors"):
            (run.checkpoints / name / file).write_text("1")
    out = tmp_path / "checkpoints"
    publish_checkpoints(run, out)
    (run.checkpoints / "best" / "model.json").write_text("2")
    publish_checkpoints(run, out)
    assert (out / "best" / "model.json").read_text() == "2"
    (out / "best" / RECORD).unlink()
    publish_checkpoints(run, out)  # copies of the run's own models, as earlier versions left them
    for mine in ("notes.txt", "model.json"):
        (out / "best" / mine).write_bytes(FOREIGN)
        result = CliRunner().invoke(app, ["train", "--data", str(tmp_path), "--out", str(out)])
        assert isinstance(result.exception, BrainDiffusionError)
        assert mine in str(result.exception)
        assert (out / "best" / mine).read_bytes() == FOREIGN
        if mine == "notes.txt":
            (out / "best" / mine).unlink()
    assert len(list(tmp_runs.iterdir())) == 1


def test_a_dataset_needs_an_empty_folder(brains: Path, tmp_path: Path) -> None:
    mine = tmp_path / "bids" / "README.md"
    mine.parent.mkdir()
    mine.write_bytes(FOREIGN)
    with pytest.raises(BrainDiffusionError, match="empty folder"):
        list(write_bids(brains_in([brains]), tmp_path / "bids"))
    assert mine.read_bytes() == FOREIGN


def test_figures_of_the_command_line_keep_to_it_too(brains: Path, tmp_path: Path, tmp_runs: Path) -> None:
    page = tmp_path / "page.html"
    page.write_bytes(FOREIGN)
    run = Run.create(TrainRequest(data=tmp_path))
    for words in (["slices", str(brains / "a_T1w.nii")], ["curves", str(run.path)]):
        result = CliRunner().invoke(app, ["visualize", *words, "--out", str(page), "--no-open"])
        assert isinstance(result.exception, BrainDiffusionError)
        assert page.read_bytes() == FOREIGN
    words = ["visualize", "slices", str(brains / "a_T1w.nii"), "--out", str(page), "--no-open", "--overwrite"]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert page.read_bytes() != FOREIGN


def test_files_of_earlier_versions_are_known_by_what_they_say(tmp_path: Path) -> None:
    made = Volume(np.zeros((1, 2, 2, 2), np.float32), np.eye(4), {"description": "BrainDiffusion synthetic x seed 0"})
    save_volume(made, tmp_path / "a.nii.gz")
    (tmp_path / "a.json").write_text(json.dumps({"versions": {"braindiffusion": "0.1"}}))
    Outputs().check([tmp_path / "a.nii.gz", tmp_path / "a.json"])
    save_volume(Volume(made.data, made.affine), tmp_path / "b.nii.gz")
    for mine in ("b.nii.gz", "b.json"):
        (tmp_path / "b.json").write_text('{"EchoTime": 3}')
        with pytest.raises(BrainDiffusionError, match="did not write it"):
            Outputs().check([tmp_path / mine])
