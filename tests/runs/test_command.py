"""A request written as a command line, read back by the real command line, is the same request."""

import shlex
from pathlib import Path

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from braindiffusion.cli import app, working
from braindiffusion.runs import (
    DemoRequest,
    DifferenceRequest,
    EvaluateRequest,
    GenerateRequest,
    NearestRequest,
    PrepareRequest,
    Request,
    TrainRequest,
    VisualizeRequest,
)
from braindiffusion.runs.command import as_command, command_arguments

# Words that a shell or an option parser could trip over.
names = st.text(st.sampled_from("aZ9 -_'\"$é."), min_size=1, max_size=8).filter(lambda text: text.strip(" .") != "")
paths = names.map(lambda name: Path("/data") / name)
counts = st.integers(1, 1000)
precisions = st.sampled_from(["auto", "float32", "bfloat16"])


def maybe(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.none() | strategy


requests = st.one_of(
    st.builds(
        PrepareRequest,
        data_dir=paths,
        out=paths,
        labels=maybe(paths),
        participants=maybe(paths),
        modality=st.sampled_from(["T1", "T2"]),
        spacing=st.floats(0.1, 5),
        shape=maybe(st.tuples(counts, counts, counts)),
        skull=maybe(st.sampled_from(["strip", "keep"])),
        subjects=maybe(st.lists(st.sampled_from(["IXI002", "sub-01"]), min_size=1, max_size=3).map(tuple)),
        workers=st.integers(0, 8),
    ),
    st.builds(
        TrainRequest,
        data=paths,
        preset=st.sampled_from(["tiny", "laptop"]),
        batch_size=maybe(counts),
        accumulate=maybe(counts),
        conditions=maybe(st.lists(st.sampled_from(["age", "volumes"]), max_size=2).map(tuple)),
        patience=maybe(counts),
        checkpointing=st.booleans(),
        strategy=st.sampled_from(["ddp", "fsdp"]),
        epochs=maybe(st.floats(0.01, 1000)),
        levels=maybe(st.lists(st.integers(0, 3), min_size=1, max_size=3).map(tuple)),
        validation_subjects=maybe(st.integers(0, 30)),
        seed=st.integers(0, 2**31),
        device=st.sampled_from(["auto", "cuda"]),
        precision=precisions,
        checkpoint_minutes=st.floats(0.01, 60),
        sample_minutes=st.floats(0.01, 60),
    ),
    st.builds(
        GenerateRequest,
        model=st.sampled_from(["ixi-2mm", "/models/my own"]),
        num_samples=counts,
        seed=st.integers(0, 2**31),
        condition=st.dictionaries(st.sampled_from(["age", "sex"]), st.sampled_from(["63", "90%", "F"]))
        | st.just({"volumes": {"left hippocampus": "10%", "brainstem": "21.5"}}),
        guidance=st.floats(0, 10),
        guidance_interval=maybe(st.tuples(st.floats(0, 1), st.floats(1, 80))),
        guidance_rescale=st.floats(0, 1),
        guidance_fields=maybe(st.lists(st.sampled_from(["age", "sex"]), min_size=1, max_size=2).map(tuple)),
        autoguidance=maybe(st.just("/models/weak")),
        sampler=maybe(st.sampled_from(["ddim", "heun"])),
        steps=maybe(counts) | st.tuples(counts, counts),
        levels=maybe(counts),
        eta=st.floats(0, 1),
        batch_size=counts,
        only=maybe(st.lists(counts, min_size=1, max_size=2).map(tuple)),
        overwrite=st.booleans(),
        out=paths,
        previews=st.booleans(),
        trajectory=st.booleans(),
        device=st.sampled_from(["auto", "cpu"]),
        precision=precisions,
    ),
    st.builds(
        EvaluateRequest,
        real=st.lists(paths, min_size=1, max_size=2).map(tuple),
        generated=st.lists(paths, min_size=1, max_size=2).map(tuple),
        out=paths,
        model=maybe(st.sampled_from(["ixi-2mm", "/models/my own"])),
        labels=maybe(paths),
        reader=st.sampled_from(["auto", "none", "/readers/my own"]),
        features=st.lists(paths, max_size=2).map(tuple),
        pairs=counts,
        repeats=st.integers(10, 1000),
        seed=st.integers(0, 2**31),
    ),
    st.builds(
        NearestRequest,
        brain=paths,
        real=st.lists(paths, min_size=1, max_size=2).map(tuple),
        model=maybe(st.sampled_from(["ixi-2mm", "/models/my own"])),
        labels=maybe(paths),
    ),
    st.builds(
        DifferenceRequest,
        first=paths,
        second=paths,
        out=paths,
        align=st.sampled_from(["world", "centre"]),
        scale=st.sampled_from(["auto", "none", "own"]),
    ),
    st.builds(DemoRequest, out=paths, seed=st.integers(0, 2**31)),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(request_=requests)
def test_the_command_line_asks_for_the_same(monkeypatch: pytest.MonkeyPatch, request_: Request) -> None:
    asked: list[Request] = []

    def instead_of_running(request: Request, name: str | None = None) -> None:
        asked.append(request)
        raise typer.Exit

    monkeypatch.setattr(working, "new_run", instead_of_running)
    program, *arguments = shlex.split(as_command(request_))
    assert program == "braindiffusion"
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert asked == [request_]


def test_what_has_its_default_is_left_out() -> None:
    assert command_arguments(GenerateRequest()) == ["generate"]
    assert command_arguments(TrainRequest(data=Path("/a/ixi.zarr"), preset="tiny")) == [
        "train",
        "--data-dir",
        "/a/ixi.zarr",
        "--preset",
        "tiny",
    ]


def test_a_figure_is_asked_for_as_the_command_line_draws_it() -> None:
    request = VisualizeRequest(figure="compare", paths=(Path("/a.nii"), Path("/b.nii")), out=Path("/c.html"))
    assert as_command(request) == "braindiffusion visualize compare /a.nii /b.nii --out /c.html"
