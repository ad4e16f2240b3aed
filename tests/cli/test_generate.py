"""`generate` and `models NAME` as a user meets them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from braindiffusion.cli import app, runner
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.generation.reproduce import model_identity, request_from_sidecar
from braindiffusion.runs import GenerateRequest, RegenerateRequest, Request

CONFIGURATION = {
    "condition": {
        "fields": [
            {
                "kind": "scalar",
                "name": "age",
                "unit": "years",
                "seen": {"mean": 50, "std": 9, "quantiles": [20, *[50] * 9, 86]},
            },
            {"kind": "category", "name": "sex", "values": ["F", "M"]},
            {"kind": "map", "name": "regions", "labels": 41},
        ]
    }
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """All of a model that needs no torch."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.json").write_text(json.dumps({"name": "toy", "configuration": CONFIGURATION}))
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Request]:
    """Requests, instead of brains."""
    requests: list[Request] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runner, "perform_request", lambda request, name=None: requests.append(request))
    return requests


def invoke(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def test_a_table_says_how_many(asked: list[Request], tmp_path: Path) -> None:
    Path("ages.csv").write_text("age\n40\n60\n80\n")
    assert invoke("generate", "--conditions", "ages.csv", "--condition", "sex=F").exit_code == 0
    assert invoke("generate", "--conditions", "ages.csv", "--num-samples", "9").exit_code == 0
    assert [request.num_samples for request in asked] == [3, 9]
    assert asked[0].condition == {"sex": "F"}
    assert asked[0].conditions == tmp_path / "ages.csv"


def test_like_takes_all_from_the_sidecar(asked: list[Request], model: Path, tmp_path: Path) -> None:
    was = GenerateRequest(model=str(model), num_samples=40, seed=3, condition={"age": "50%"}, guidance=2, previews=True)
    told = {
        "request": was.model_dump(mode="json"),
        "sample": 7,
        "model": model_identity(model),
        "guidance": {"scale": 2},
        "condition": {"age": 50.0},
        "condition_files": {},
        "precision": "float32",
    }
    sidecar = tmp_path / "sample_007.json"
    sidecar.write_text(json.dumps(told))
    assert invoke("generate", "--like", str(sidecar), "--out", "again").exit_code == 0
    same = {
        "only": (7,),
        "anatomy": "none",
        "condition": {"age": 50.0},
        "precision": "float32",
        "out": tmp_path / "again",
    }
    assert asked == [RegenerateRequest(like=sidecar, out=tmp_path / "again")]
    assert request_from_sidecar(sidecar, tmp_path / "again") == was.model_copy(update={**same, "previews": False})

    refused = invoke("generate", "--like", str(sidecar), "--guidance", "3")
    assert isinstance(refused.exception, BrainDiffusionError)
    assert str(refused.exception) == "--reproduce generates the very same brain again: leave --guidance out."
    (model / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(BrainDiffusionError, match="is not the one that made"):
        request_from_sidecar(sidecar, tmp_path)


def test_models_tells_what_one_can_be_asked_for(model: Path) -> None:
    told = invoke("models", str(model))
    assert told.exit_code == 0, told.exception
    lines = [" ".join(line.split()) for line in told.stdout.splitlines()]
    assert lines[0] == "name: toy"
    assert lines[-3:] == ["age 20 to 86 years", "sex F or M", "regions file of a label map"]
    assert json.loads(invoke("models", str(model), "--json").stdout)["name"] == "toy"
    unasked = invoke("models", "ixi-2mm")
    assert "ixi-2mm" in unasked.stdout
