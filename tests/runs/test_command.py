"""A request written as a command line, read back by the real command line, is the same request."""

import shlex
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from click.testing import CliRunner
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from typer.main import get_command

from braindiffusion.cli import app, runner
from braindiffusion.cli.commands import estimate, visualize
from braindiffusion.runs.command import as_command, command_arguments, flags
from braindiffusion.runs.requests import (
    AnomalyRequest,
    DemoRequest,
    DifferenceRequest,
    DistillRequest,
    EditRequest,
    EstimateRequest,
    EvaluateRequest,
    GenerateRequest,
    InspectRequest,
    NearestRequest,
    PrepareRequest,
    PreviewRequest,
    RegenerateRequest,
    Request,
    SegmentRequest,
    SynthesizeRequest,
    TrainRequest,
    TrainSegmentationRequest,
    VisualizeRequest,
)

COMMAND_LINE = get_command(app)
"""Built once: `typer.testing` builds all commands with all their options for each call."""
# Words that a shell or an option parser could trip over.
names = st.text(st.sampled_from("aZ9 -_'\"$é."), min_size=1, max_size=8).filter(lambda text: text.strip(" .") != "")
paths = names.map(lambda name: Path("/data") / name)
counts = st.integers(1, 1000)
precisions = st.sampled_from(["auto", "float32", "bfloat16"])


def maybe(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.none() | strategy


STRATEGIES: dict[type[BaseModel], st.SearchStrategy[Any]] = {
    PrepareRequest: st.builds(
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
    TrainRequest: st.builds(
        TrainRequest,
        data=paths,
        preset=st.sampled_from(["tiny", "laptop"]),
        batch_size=maybe(counts),
        accumulate=maybe(counts),
        start_from=maybe(st.just("/models/my own")),
        patch=maybe(st.integers(4, 64)),
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
    GenerateRequest: st.builds(
        GenerateRequest,
        model=st.sampled_from(["ixi-2mm", "/models/my own"]),
        num_samples=counts,
        conditions=maybe(paths),
        seed=st.integers(0, 2**31),
        condition=st.dictionaries(st.sampled_from(["age", "sex"]), st.sampled_from(["63", "90%", "F"]))
        | st.just({"volumes": {"left hippocampus": "10%", "brainstem": "21.5"}}),
        guidance=maybe(st.floats(0, 10)),
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
    SynthesizeRequest: st.builds(
        SynthesizeRequest,
        model=st.sampled_from(["ixi-2mm", "/models/my own"]),
        num=counts,
        age=maybe(st.sampled_from(["20:80", "7.5:7.5"])),
        sex=maybe(st.sampled_from(["balanced", "F"])),
        condition=st.dictionaries(st.sampled_from(["site"]), st.sampled_from(["HH", "90%"])),
        seed=st.integers(0, 2**31),
        reference=maybe(paths),
        voxels_only=st.booleans(),
        redraws=st.integers(0, 100),
        guidance=maybe(st.floats(0, 10)),
        fast=maybe(st.booleans()),
        levels=maybe(counts),
        batch_size=counts,
        out=paths,
    ),
    EditRequest: st.builds(
        EditRequest,
        scan=paths,
        mask=maybe(paths),
        label=maybe(st.integers(1, 40)),
        change=st.sampled_from([{}, {"age": "20:80", "sex": "F"}, {"volumes": {"left hippocampus": "10%"}}]),
        second=maybe(paths),
        share=st.sampled_from([0.0, 0.5, 1.0]),
        super_resolution=st.booleans(),
        num_values=st.integers(1, 9),
        num_proposals=st.integers(1, 9),
        seed=st.integers(0, 9),
        first_level=st.integers(0, 3),
        coarse=st.sampled_from(["interpolated", "scan"]),
        anatomy=st.sampled_from(["surroundings", "scan", "none"]),
        resampling=st.integers(1, 20),
        out=paths,
    ),
    AnomalyRequest: st.builds(
        AnomalyRequest,
        scan=paths,
        age=maybe(st.floats(0, 120)),
        sex=maybe(st.sampled_from(["F", "M"])),
        num_seeds=st.integers(1, 50),
        seed=st.integers(0, 9),
        out=paths,
        device=st.sampled_from(["auto", "cpu"]),
    ),
    EvaluateRequest: st.builds(
        EvaluateRequest,
        real=st.lists(paths, min_size=1, max_size=2).map(tuple),
        generated=st.lists(paths, min_size=1, max_size=2).map(tuple),
        out=paths,
        model=maybe(st.sampled_from(["ixi-2mm", "/models/my own"])),
        labels=maybe(paths),
        segmentation_model=st.sampled_from(["auto", "none", "/readers/my own"]),
        features=st.lists(paths, max_size=2).map(tuple),
        pairs=counts,
        repeats=st.integers(10, 1000),
        seed=st.integers(0, 2**31),
    ),
    NearestRequest: st.builds(
        NearestRequest,
        brain=paths,
        real=st.lists(paths, min_size=1, max_size=2).map(tuple),
        model=maybe(st.sampled_from(["ixi-2mm", "/models/my own"])),
        labels=maybe(paths),
    ),
    DifferenceRequest: st.builds(
        DifferenceRequest,
        first=paths,
        second=paths,
        out=paths,
        align=st.sampled_from(["world", "centre"]),
        scale=st.sampled_from(["auto", "none", "own"]),
    ),
    DemoRequest: st.builds(DemoRequest, out=paths, seed=st.integers(0, 2**31)),
    InspectRequest: st.builds(
        InspectRequest,
        data_dir=paths,
        labels=maybe(paths),
        participants=maybe(paths),
        modality=st.sampled_from(["T1", "T1,T2"]),
        workers=st.integers(0, 8),
    ),
    TrainSegmentationRequest: st.builds(
        TrainSegmentationRequest,
        data=paths,
        start_from=maybe(st.sampled_from(["ixi-2mm-regions", "/models/my own"])),
        steps=counts,
        batch_size=counts,
        window=st.tuples(counts, counts, counts),
        learning_rate=st.floats(1e-6, 1),
        validation_subjects=st.integers(0, 30),
        seed=st.integers(0, 2**31),
        precision=precisions,
        checkpoint_minutes=st.floats(0.01, 60),
    ),
    DistillRequest: st.builds(
        DistillRequest,
        model=st.sampled_from(["ixi-2mm", "/models/my own"]),
        num_samples=st.integers(4, 100),
        seed=st.integers(0, 2**31),
        condition=st.dictionaries(st.sampled_from(["age", "sex"]), st.sampled_from(["63", "90%", "F"])),
        conditions=maybe(paths),
        steps=st.integers(1, 10),
        first_level=maybe(st.integers(0, 3)),
        other_steps=maybe(st.integers(1, 20)),
        training_steps=counts,
        batch_size=counts,
        learning_rate=st.floats(1e-6, 1),
        out=paths,
        overwrite=st.booleans(),
        device=st.sampled_from(["auto", "cpu"]),
        precision=precisions,
    ),
    SegmentRequest: st.builds(
        SegmentRequest, input=paths, out=paths, model=st.sampled_from(["ixi-2mm-regions", "/models/a b"])
    ),
    RegenerateRequest: st.builds(
        RegenerateRequest, like=paths, out=paths, device=st.sampled_from(["auto", "cpu"]), previews=st.booleans()
    ),
    VisualizeRequest: st.builds(
        VisualizeRequest,
        figure=st.sampled_from(["volume", "slices", "compare", "process", "regions"]),
        paths=st.lists(paths, min_size=1, max_size=3).map(tuple),
        out=maybe(paths),
        channel=st.integers(0, 9),
    ),
}
STRATEGIES[PreviewRequest] = st.builds(PreviewRequest, request=STRATEGIES[GenerateRequest])
STRATEGIES[EstimateRequest] = st.builds(EstimateRequest, of=STRATEGIES[TrainRequest] | STRATEGIES[GenerateRequest])
requests = st.one_of(*STRATEGIES.values())


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """Requests, instead of runs, figures and estimates."""
    requests: list[Request] = []

    def keep(request: Request, *_: object, **__: object) -> None:
        requests.append(request)
        raise typer.Exit

    monkeypatch.setattr(runner, "new_run", keep)
    monkeypatch.setattr(visualize, "draw", keep)
    monkeypatch.setattr(estimate, "answer", keep)
    return requests


@settings(
    max_examples=150,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(request_=requests)
def test_the_command_line_makes_the_same_request(asked: list[Request], request_: Request) -> None:
    asked.clear()
    program, *arguments = shlex.split(as_command(request_))
    assert program == "braindiffusion"
    result = CliRunner().invoke(COMMAND_LINE, arguments)
    assert result.exit_code == 0, result.output
    match request_:
        case PreviewRequest():
            assert asked == [request_.request]
        case EstimateRequest():
            assert asked == [request_.of]
        case _:
            assert asked == [request_]


def test_every_kind_of_request_is_tried() -> None:
    assert {kind.__name__ for kind in get_args(get_args(Request)[0])} == {kind.__name__ for kind in STRATEGIES}


def test_flags_take_underscores_too(asked: list[Request]) -> None:
    for words in (
        "train --data_dir /d --batch_size 2",
        "generate --num_samples 3 --model_path m",
        "train_segmentation --data /d",
    ):
        assert CliRunner().invoke(COMMAND_LINE, words.split()).exit_code == 0
    assert asked == [
        TrainRequest(data=Path("/d"), batch_size=2),
        GenerateRequest(num_samples=3, model="m", out=Path("generated").absolute()),
        TrainSegmentationRequest(data=Path("/d")),
    ]


@pytest.mark.parametrize(
    "kind",
    [kind for kind in STRATEGIES if kind not in (PreviewRequest, RegenerateRequest, VisualizeRequest, EstimateRequest)],
)
def test_every_field_is_an_option(kind: type[BaseModel]) -> None:
    command = COMMAND_LINE.commands[kind.model_fields["job"].default]  # type: ignore[attr-defined]
    parameters = {one.name: one for one in command.params}
    for name in set(kind.model_fields) - {"job"}:
        assert parameters[name].opts == (flags(kind, name) or [name])
        assert " ".join(str(kind.model_fields[name].description).split()) in parameters[name].help


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
