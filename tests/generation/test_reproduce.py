"""The very same brain again, from its sidecar alone."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from braindiffusion.conditions import ConditionSchema, Numbers, VectorField
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.generation.reproduce import request_from_sidecar
from braindiffusion.jobs.generate import generate, regenerate
from braindiffusion.models.cascade import Cascade, save_model
from braindiffusion.models.cascade.config import CascadeConfig
from braindiffusion.runs import Finished, GenerateRequest, RegenerateRequest, Run, Warned
from braindiffusion.runs.command import as_command
from braindiffusion.runs.sidecar import read_sidecar

from .conftest import CARD, LEVEL, SCHEMA, SHAPE, generated, speaking


@pytest.fixture
def sidecar(told_model: Path, tmp_path: Path, tmp_runs: Path) -> Path:
    """Of the third of three brains."""
    request = GenerateRequest(
        model=str(told_model), num_samples=3, condition={"age": 55.0}, guidance=2.0, out=tmp_path / "out", device="cpu"
    )
    list(generate(request, Run.create(request)))
    return tmp_path / "out" / "sample_003.json"


def again(sidecar: Path) -> tuple[list[object], Run]:
    request = RegenerateRequest(like=sidecar, device="cpu", previews=True)
    run = Run.create(request)
    return list(regenerate(request, run)), run


def test_the_very_same_to_the_last_bit(sidecar: Path) -> None:
    events, run = again(sidecar)
    name = "sample_003.nii.gz"
    old, new = (nib.load(folder / name) for folder in (sidecar.parent, run.results))
    np.testing.assert_array_equal(np.asarray(old.dataobj), np.asarray(new.dataobj))
    assert isinstance(events[-1], Finished)
    assert "to the last bit" in events[-1].message
    told, was = (json.loads(path.read_text()) for path in (run.results / sidecar.name, sidecar))
    assert told["voxels_sha256"] == was["voxels_sha256"]
    assert as_command(run.request.model_copy(update={"previews": False})) == (
        f"braindiffusion generate --reproduce {sidecar} --device cpu"
    )


CONDITIONS: list[dict[str, object]] = [
    {},
    {"age": 55.0, "sex": "F"},
    {"age": "90%"},
    {"volumes": {"left hippocampus": 4.0, "brainstem": "20%"}},
    {"volumes": [4.0, 5.0, 20.0]},
    {"volumes": [None, 5.0, None]},
    {"embeddings": [0.5, -1.0]},
    {"embeddings": (0.5, None), "age": 50.0},
    {"embeddings": "0.5,1"},
]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_brain_of_any_condition_is_known_again_and_reproduced(
    tmp_path: Path, tmp_runs: Path, condition: dict[str, object]
) -> None:
    numbers = Numbers(mean=0.0, std=1.0, quantiles=tuple(np.linspace(-2, 2, 11).tolist()))
    fields = (*SCHEMA.fields, VectorField(name="embeddings", entries=("e1", "e2"), seen=(numbers, numbers)))
    config = CascadeConfig(shape=SHAPE, depth=1, levels=(LEVEL,) * 2, condition=ConditionSchema(fields=fields))
    save_model(speaking(config), tmp_path / "model", CARD)
    out = tmp_path / "out"
    *_, last = generated(tmp_path / "model", out, condition=condition)
    assert isinstance(last, Finished), last
    before = (out / "sample_001.nii.gz").stat().st_mtime_ns
    *_, last = generated(tmp_path / "model", out, condition=condition)
    assert isinstance(last, Finished), last
    assert (out / "sample_001.nii.gz").stat().st_mtime_ns == before
    events, run = again(out / "sample_001.json")
    assert isinstance(events[-1], Finished)
    assert "to the last bit" in events[-1].message
    told, was = (read_sidecar(folder / "sample_001.nii.gz") for folder in (run.results, out))
    assert told["condition"] == was["condition"]


def test_says_when_it_is_not(sidecar: Path) -> None:
    told = json.loads(sidecar.read_text())
    sidecar.write_text(json.dumps(told | {"voxels_sha256": "of another machine"}))
    warned = [event.message for event in again(sidecar)[0] if isinstance(event, Warned)]
    assert "not the old one to the last bit" in warned[0]
    del told["voxels_sha256"]  # an earlier version knew none
    sidecar.write_text(json.dumps(told))
    events, _ = again(sidecar)
    assert not any(isinstance(event, Warned) for event in events)
    assert events[-1].message.startswith("1 brain")


def test_a_model_that_is_gone_or_another_is_told(sidecar: Path, told_model: Path, told: Cascade) -> None:
    save_model(speaking(told.config, seed=9), told_model, CARD)
    with pytest.raises(BrainDiffusionError, match="is not the one that made"):
        again(sidecar)
    for file in told_model.iterdir():
        file.unlink()
    with pytest.raises(BrainDiffusionError, match=r"told is no model|no model"):
        again(sidecar)


def test_a_damaged_field_ends_in_a_request_or_in_a_sentence(sidecar: Path, tmp_path: Path) -> None:
    """Whatever stands in any field: a file from others may be damaged anywhere."""
    told = json.loads(sidecar.read_text())
    told["request"] |= {"grid": str(sidecar), "autoguidance": told["request"]["model"]}  # fields that say which file
    said = []
    for name in told:
        for value in (None, float("nan"), -1, "text", [], ["text"], {}, {"text": None}, {"kind": []}):
            sidecar.write_text(json.dumps(told | {name: value}))
            try:
                request_from_sidecar(sidecar, tmp_path)
            except BrainDiffusionError as error:
                said.append(str(error))
    assert said
    assert all(len(message.splitlines()) == 1 for message in said)
