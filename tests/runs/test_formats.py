"""Run folders, sidecars and models of format version 1 still open; those of a newer version are refused.

`fixtures/v1` was written by version 0.1.0: a tiny training, the generation of two brains with its model, and the
sidecar of the second. Their paths were replaced by others.
"""

import json
import shutil
from pathlib import Path

import pytest

from braindiffusion.api import load_model
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.generation.reproduce import request_from_sidecar
from braindiffusion.models.registry import find_model
from braindiffusion.runs import (
    ArtifactWritten,
    CheckpointWritten,
    DemoRequest,
    Failed,
    Finished,
    GenerateRequest,
    Metric,
    QCFlag,
    Run,
    RunState,
    TrainRequest,
    list_runs,
)
from braindiffusion.runs.command import command_arguments
from braindiffusion.runs.provenance import provenance
from braindiffusion.runs.requests import EvaluateRequest, Request, SegmentRequest, TrainSegmentationRequest
from braindiffusion.runs.sidecar import load_sidecar, read_sidecar
from braindiffusion.runs.versions import FORMAT_VERSION

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "v1"


@pytest.fixture
def v1(tmp_path: Path) -> Path:
    """A copy in a folder of its own, whose sidecar names the model where it is now."""
    folder = tmp_path / "v1"
    shutil.copytree(FIXTURES, folder)
    sidecar = folder / "brains" / "sample_002.json"
    sidecar.write_text(sidecar.read_text().replace("/data/runs", str(folder)))
    return folder


def test_runs_of_version_1_open() -> None:
    training, generation = Run.open(FIXTURES / "training"), Run.open(FIXTURES / "generation")
    assert {run.name for run in list_runs(FIXTURES)} == {"training", "generation"}
    assert training.record.format_version == generation.record.format_version == 1
    assert training.state is generation.state is RunState.FINISHED
    assert training.request == TrainRequest(
        data=Path("/data/cohort.zarr"),
        preset="/data/preset.json",
        conditions=("age", "sex"),
        validation_subjects=1,
        device="cpu",
        precision="float32",
    )
    assert isinstance(generation.request, GenerateRequest)
    assert generation.request.condition == {"age": "60", "sex": "F"}
    assert command_arguments(generation.request)[:3] == ["generate", "--model", "/data/runs/training"]


@pytest.mark.parametrize(
    ("earlier", "request_"),
    [
        (
            {"job": "read", "input": "/a.nii.gz", "out": "/b.nii.gz"},
            SegmentRequest(input=Path("/a.nii.gz"), out=Path("/b.nii.gz")),
        ),
        ({"job": "train-reader", "data": "/c.zarr"}, TrainSegmentationRequest(data=Path("/c.zarr"))),
        (
            {"job": "evaluate", "real": ["/r"], "generated": ["/g"], "reader": "none"},
            EvaluateRequest(real=(Path("/r"),), generated=(Path("/g"),), segmentation_model="none"),
        ),
    ],
)
def test_runs_of_version_2_open_under_the_present_names(
    tmp_path: Path, earlier: dict[str, object], request_: Request
) -> None:
    record = {"request": earlier, "created": "2026-11-01T00:00:00Z", "format_version": 2}
    (tmp_path / "run.json").write_text(json.dumps(record))
    assert Run.open(tmp_path).request == request_


def test_every_event_of_version_1_is_read() -> None:
    for name, last, kinds in (
        ("training", Finished, {Metric, CheckpointWritten}),
        ("generation", Finished, {ArtifactWritten}),
    ):
        run = Run.open(FIXTURES / name)
        events = run.events()
        assert len(events) == len(run.events_file.read_bytes().splitlines())
        assert isinstance(events[-1], last)
        assert kinds <= {type(event) for event in events}


def test_a_model_of_version_1_generates(v1: Path) -> None:
    folder = find_model(v1 / "training")
    assert folder == v1 / "training" / "checkpoints" / "best"
    model = load_model(folder)
    assert set(model.conditions) == {"age", "sex"}
    brain = model.sample(seed=4, age=60, sex="F", guidance=2, device="cpu", precision="float32")
    assert brain.shape == (24, 32, 24)
    assert brain.metadata["condition"] == {"age": 60.0, "sex": "F"}


def test_a_sidecar_of_version_1_reproduces_its_brain(v1: Path) -> None:
    sidecar = v1 / "brains" / "sample_002.json"
    assert read_sidecar(sidecar.with_name("sample_002.nii.gz")) == load_sidecar(sidecar)
    request = request_from_sidecar(sidecar, v1 / "again")
    assert request == GenerateRequest(
        model=str(v1 / "training"),
        num_samples=2,
        seed=3,
        condition={"age": 60.0, "sex": "F"},
        guidance=2.0,
        only=(2,),
        anatomy="none",
        fast=False,
        out=v1 / "again",
        device="cpu",
        precision="float32",
    )


def test_the_format_version_is_written(tmp_path: Path, v1: Path) -> None:
    request = DemoRequest()
    run = Run.create(request, tmp_path)
    assert json.loads((run.path / "run.json").read_text())["format_version"] == FORMAT_VERSION
    told = provenance(run, request=request, model={}, sampler="ddim", steps=4)
    assert told["format_version"] == FORMAT_VERSION


def test_a_newer_format_is_refused_in_one_sentence(tmp_path: Path, v1: Path) -> None:
    run = Run.create(DemoRequest(), tmp_path)
    for file, opened in (
        (run.path / "run.json", lambda: Run.open(run.path)),
        (v1 / "brains" / "sample_002.json", lambda: request_from_sidecar(v1 / "brains" / "sample_002.json", tmp_path)),
    ):
        newer = json.loads(file.read_text()) | {"format_version": FORMAT_VERSION + 1, "what_nobody_knows": 1}
        file.write_text(json.dumps(newer))
        with pytest.raises(BrainDiffusionError) as refused:
            opened()
        assert str(refused.value).startswith(f"{file} has format version {FORMAT_VERSION + 1}")
        assert str(refused.value).endswith("update BrainDiffusion.")


def test_an_error_tells_which_field_it_is_about(tmp_path: Path) -> None:
    from braindiffusion.jobs import perform

    run = Run.create(GenerateRequest(num_samples=2, only=(3,)), tmp_path)
    *_, last = perform(run)
    assert isinstance(last, Failed)
    assert (last.message, last.field) == ("A sample number is none of 1 to 2.", "only")


def test_an_event_of_version_1_has_the_severity_of_today():
    flag = {"kind": "age", "severity": "doubt", "message": "age unknown"}
    assert QCFlag.model_validate(flag).severity == "warning"
