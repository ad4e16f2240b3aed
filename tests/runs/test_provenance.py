"""Contents of a sidecar."""

import hashlib
import json
from pathlib import Path

from braindiffusion import __version__
from braindiffusion.runs import GenerateRequest, Run
from braindiffusion.runs.provenance import file_sha256, provenance


def test_sidecar_names_all_that_made_the_volume(tmp_path: Path) -> None:
    weights = bytes(range(256)) * 5000
    model = tmp_path / "small"
    model.mkdir()
    (model / "model.safetensors").write_bytes(weights)
    run = Run.create(GenerateRequest(model="small", num_samples=3, seed=4), tmp_path / "runs")
    said = provenance(
        run, model=model, seed=6, sampler="DDIM", steps=20, preprocessing_hash="abc", eta=0.5, levels=[1, 2]
    )
    assert json.loads(json.dumps(said)) == said
    assert said["model"] == {"name": "small", "sha256": hashlib.sha256(weights).hexdigest()}
    assert said["synthetic"] is True
    assert (said["seed"], said["sampler"], said["steps"], said["eta"]) == (6, "DDIM", 20, 0.5)
    assert said["versions"]["braindiffusion"] == __version__  # type: ignore[index]
    assert said["command"] == "braindiffusion generate --model small --num-samples 3 --seed 4"
    assert said["preprocessing_hash"] == "abc"


def test_sha256_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert file_sha256(tmp_path / "empty") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
