"""Contents of a sidecar."""

import json
from pathlib import Path

from braindiffusion import __version__
from braindiffusion.files import file_sha256
from braindiffusion.runs import GenerateRequest, Run
from braindiffusion.runs.provenance import provenance


def test_sidecar_names_all_that_made_the_volume(tmp_path: Path) -> None:
    request = GenerateRequest(model="small", num_samples=3, seed=4)
    run = Run.create(request, tmp_path / "runs")
    said = provenance(
        run, request=request, model={"name": "small", "sha256": "12"}, sampler="DDIM", steps=20, eta=0.5, levels=[1, 2]
    )
    assert json.loads(json.dumps(said)) == said
    assert said["model"] == {"name": "small", "sha256": "12"}
    assert said["synthetic"] is True
    assert (said["sampler"], said["steps"], said["eta"]) == ("DDIM", 20, 0.5)
    assert said["versions"]["braindiffusion"] == __version__  # type: ignore[index]
    assert said["command"] == "braindiffusion generate --model small --num-samples 3 --seed 4"


def test_sha256_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert file_sha256(tmp_path / "empty") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
