"""Many samples: shared out over real processes, resumed, never mixed, and each can be made again from its sidecar."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.generation.reproduce import request_from_sidecar
from braindiffusion.generation.sharding import Shard
from braindiffusion.jobs.generate import generate
from braindiffusion.models.cascade import Cascade, load_cascade, save_model
from braindiffusion.models.cascade.config import CascadeConfig
from braindiffusion.runs import ArtifactWritten, Event, Finished, GenerateRequest, Progress, Run, list_runs

from .conftest import LEVEL, speaking


def perform(request: GenerateRequest) -> list[Event]:
    return list(generate(request, Run.create(request)))


def voxels(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


def made(events: list[Event]) -> int:
    """Sampler steps that were really done."""
    return sum(isinstance(event, Progress) for event in events)


@pytest.fixture
def request_(told_model: Path, tmp_path: Path) -> GenerateRequest:
    table = tmp_path / "ages.csv"
    table.write_text("age,sex\n40,\n,M\n60,\n")
    return GenerateRequest(
        model=str(told_model),
        num_samples=5,
        seed=7,
        condition={"sex": "F"},
        conditions=table,
        guidance=2.0,
        guidance_fields=("age",),
        sampler="dpmpp_2m",
        steps=(2, 3),
        batch_size=2,
        out=tmp_path / "out",
        device="cpu",
    )


def test_two_processes_make_what_one_makes(request_: GenerateRequest, tmp_path: Path, tmp_runs: Path) -> None:
    words = [sys.executable, "-m", "braindiffusion", "generate", "--model", request_.model, "--num-samples", "5"]
    words += ["--seed", "7", "--condition", "sex=F", "--conditions", str(request_.conditions), "--guidance", "2"]
    words += ["--guidance-field", "age", "--sampler", "dpmpp_2m", "--steps", "2", "--steps", "3"]
    words += ["--batch-size", "2", "--out", str(tmp_path / "shared"), "--device", "cpu"]
    processes = []
    for rank in range(2):
        launch = {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"}
        environment = {**os.environ, **launch, "BRAINDIFFUSION_RUNS": str(tmp_runs)}
        processes.append(subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True))
    torch.set_num_threads(1)
    perform(request_)
    paths = []
    for process in processes:
        paths.append(process.communicate(timeout=300)[0].splitlines())
        assert process.returncode == 0
    # Batches are dealt out in turn: 1 and 2, then 5, to the first; 3 and 4 to the second.
    assert [[Path(p).name for p in told] for told in paths] == [
        ["sample_001.nii.gz", "sample_002.nii.gz", "sample_005.nii.gz"],
        ["sample_003.nii.gz", "sample_004.nii.gz"],
    ]
    for number in range(1, 6):
        name = f"sample_{number:03d}.nii.gz"
        assert np.array_equal(voxels(tmp_path / "shared" / name), voxels(tmp_path / "out" / name)), name
    assert len({run.name for run in list_runs(tmp_runs)}) == 3, "each process has a run of its own"


def test_what_is_there_is_not_made_again(request_: GenerateRequest, tmp_path: Path, tmp_runs: Path) -> None:
    torch.set_num_threads(1)
    whole = perform(request_)
    out = tmp_path / "out"
    before = {path.name: path.read_bytes() for path in out.glob("*.nii.gz")}
    again = perform(request_)
    assert made(again) == 0
    volumes = [event.path for event in again if isinstance(event, ArtifactWritten)]
    assert [Path(path).name for path in volumes] == sorted(before), "who asks gets all paths"
    (out / "sample_002.json").unlink()  # it died before this was written
    (out / "sample_004.nii.gz").unlink()
    rest = perform(request_)
    assert made(rest) == made(whole) * 2 // 3, "the batches of the two that are missing"
    assert {path.name: path.read_bytes() for path in out.glob("*.nii.gz")} == before
    more = request_.model_copy(update={"num_samples": 6, "trajectory": False})
    assert made(perform(more)) == 5, "more of the same"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 8}, "its seed was 7, not 8"),
        ({"guidance": 3.0}, "its guidance was"),
        ({"steps": 2}, r"its steps by level was \[2, 3\], not \[2, 2\]"),
        ({"condition": {"sex": "M"}}, "its condition was"),
        ({"sampler": "ddim"}, "its sampler was dpmpp_2m, not ddim"),
    ],
)
def test_another_request_is_refused(request_: GenerateRequest, tmp_runs: Path, change: dict, said: str) -> None:
    alone = request_.model_copy(update={"only": (1,)})
    perform(alone)
    other = alone.model_copy(update=change)
    with pytest.raises(BrainDiffusionError, match=rf"holds brains of another request \(sample_001.json: {said}"):
        perform(other)
    assert made(perform(other.model_copy(update={"overwrite": True}))) > 0
    assert made(perform(other)) == 0


def test_a_brain_again_from_its_sidecar(request_: GenerateRequest, tmp_path: Path, tmp_runs: Path) -> None:
    perform(request_)
    (tmp_path / "ages.csv").unlink()  # the sidecar knows what it said
    for number in (1, 4):
        name = f"sample_{number:03d}"
        again = request_from_sidecar(tmp_path / "out" / f"{name}.json", tmp_path / "again")
        perform(again)
        assert np.array_equal(
            voxels(tmp_path / "again" / f"{name}.nii.gz"), voxels(tmp_path / "out" / f"{name}.nii.gz")
        )
    assert len(list((tmp_path / "again").glob("*.nii.gz"))) == 2
    sidecar = json.loads((tmp_path / "out" / "sample_003.json").read_text())
    assert sidecar["condition"] == {"sex": "F", "age": 60.0}
    assert sidecar["condition_asked"] == {"sex": "F", "age": "60"}
    assert sidecar["guidance"]["scale"] == 2
    assert sidecar["sampler"] == "dpmpp_2m"
    assert sidecar["steps_by_level"] == [2, 3]
    assert sidecar["seed"] == 9

    cascade, card = load_cascade(Path(request_.model))
    save_model(cascade, Path(request_.model), {**card.to_json(), "name": "other"})
    with pytest.raises(BrainDiffusionError, match="is not the one that made"):
        request_from_sidecar(tmp_path / "out" / "sample_001.json", tmp_path / "again")
    (tmp_path / "out" / "sample_001.json").write_text("{}")
    with pytest.raises(BrainDiffusionError, match="does not tell enough"):
        request_from_sidecar(tmp_path / "out" / "sample_001.json", tmp_path / "again")


@pytest.mark.parametrize(
    ("asked", "scale"),
    [
        ({"condition": {"age": 60}}, 2.0),
        ({"condition": {"sex": "F"}}, None),
        ({"condition": {"age": 60}, "guidance": 1.0}, None),
        ({"condition": {"age": 60}, "guidance": 3.0}, 3.0),
        ({}, None),
    ],
)
def test_a_model_brings_its_own_guidance(
    told: Cascade, tmp_path: Path, tmp_runs: Path, asked: dict[str, object], scale: float | None
) -> None:
    save_model(told, tmp_path / "guided", {"name": "guided", "guidance": {"scale": 2.0, "fields": ["age"]}})
    perform(GenerateRequest(model=str(tmp_path / "guided"), out=tmp_path / "out", device="cpu", **asked))
    record = json.loads((tmp_path / "out" / "sample_001.json").read_text())["guidance"]
    assert (record and record["scale"]) == scale
    again = request_from_sidecar(tmp_path / "out" / "sample_001.json", tmp_path / "again")
    perform(again)
    first, second = (voxels(tmp_path / name / "sample_001.nii.gz") for name in ("out", "again"))
    assert np.array_equal(first, second)


def test_a_model_brings_its_own_fast_settings(told: Cascade, tmp_path: Path, tmp_runs: Path) -> None:
    """Fewer steps and another guidance; an explicit guidance still holds, and the sidecar makes the same brain."""
    fast = {"steps": [1, 2], "guidance": {"scale": 3.0, "levels": 1}}
    save_model(told, tmp_path / "fast", {"name": "fast", "guidance": {"scale": 2.0}, "fast": fast})

    def made(name: str, **settings: object) -> dict:
        request = GenerateRequest(
            model=str(tmp_path / "fast"), out=tmp_path / name, device="cpu", condition={"age": 60}, **settings
        )
        perform(request)
        return json.loads((tmp_path / name / "sample_001.json").read_text())

    slow, sooner = made("slow"), made("sooner", fast=True)
    assert slow["guidance"]["scale"] == 2
    assert sooner["steps_by_level"] == [1, 2] != slow["steps_by_level"]
    assert (sooner["guidance"]["scale"], sooner["guidance"]["levels"]) == (3, 1)
    assert made("explicit", fast=True, guidance=1.5)["guidance"]["scale"] == 1.5
    perform(request_from_sidecar(tmp_path / "sooner" / "sample_001.json", tmp_path / "again"))
    first, second, third = (voxels(tmp_path / name / "sample_001.nii.gz") for name in ("sooner", "again", "slow"))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, third)
    with pytest.raises(BrainDiffusionError, match="choose one of the two"):
        made("both", fast=True, steps=3)


def test_a_weaker_model_guides(cascade: Cascade, model: Path, tmp_path: Path, tmp_runs: Path) -> None:
    save_model(speaking(cascade.config, seed=1), tmp_path / "weak", {"name": "weak"})
    request = GenerateRequest(model=str(model), guidance=1.5, autoguidance=str(tmp_path / "weak"), device="cpu")
    perform(request.model_copy(update={"out": tmp_path / "guided"}))
    perform(GenerateRequest(model=str(model), out=tmp_path / "plain", device="cpu"))
    guided, plain = (voxels(tmp_path / name / "sample_001.nii.gz") for name in ("guided", "plain"))
    assert np.abs(guided - plain).mean() > 1e-4
    sidecar = json.loads((tmp_path / "guided" / "sample_001.json").read_text())
    assert sidecar["guidance"]["autoguidance"]["name"] == "weak"
    save_model(speaking(CascadeConfig(shape=(8, 8, 8), depth=0, levels=(LEVEL,))), tmp_path / "weak", {})
    with pytest.raises(BrainDiffusionError, match="cannot guide this model"):
        perform(request)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sampler": "magic"}, "There is no sampler 'magic': choose one of ddim"),
        ({"sampler": "heun", "eta": 0.5}, "Eta belongs to ddim"),
        ({"steps": (1, 2, 3)}, "The model has 2 levels: say one number of steps, or 2"),
        ({"guidance": 1.0}, "Guided conditions has no effect at guidance scale 1"),
        ({"condition": {}, "conditions": None}, "Guidance needs a condition to guide by"),
        ({"guidance_fields": ("iq",)}, "Cannot guide by 'iq': the model knows age, sex"),
        ({"guidance_interval": (5.0, 1.0)}, "the lower noise level comes first"),
        ({"autoguidance": "ixi-2mm"}, "Autoguidance takes neither guided conditions nor rescaling"),
        ({"condition": {"iq": 100}}, "cannot be asked for 'iq'"),
        ({"fast": True}, "has no fast settings: choose the number of sampling steps instead"),
    ],
)
def test_each_mistake_is_one_sentence(request_: GenerateRequest, tmp_runs: Path, change: dict, said: str) -> None:
    with pytest.raises(BrainDiffusionError, match=said):
        perform(request_.model_copy(update=change))
    assert not (request_.out / "sample_001.nii.gz").exists()


def test_channels_are_files_of_their_own(tmp_path: Path, tmp_runs: Path) -> None:
    config = CascadeConfig(shape=(16, 16, 16), depth=1, channels=2, levels=(LEVEL,) * 2)
    save_model(speaking(config), tmp_path / "model", {"preprocessing": {"modality": "T1,PD", "skull": "keep"}})
    request = GenerateRequest(
        model=str(tmp_path / "model"), out=tmp_path / "out", trajectory=True, previews=True, device="cpu"
    )
    events = perform(request)
    names = [
        Path(event.path).name for event in events if isinstance(event, ArtifactWritten) and event.kind != "preview"
    ]
    volumes = ["sample_001_T1.nii.gz", "sample_001_PD.nii.gz"]
    assert names == [name.replace(".nii", "_trajectory.nii") for name in volumes] + volumes
    one, other = (voxels(tmp_path / "out" / name) for name in volumes)
    assert one.shape == other.shape == (16, 16, 16)
    assert not np.array_equal(one, other)
    way = voxels(tmp_path / "out" / "sample_001_PD_trajectory.nii.gz")
    assert way.shape == (16, 16, 16, 7)
    assert np.array_equal(way[..., -1], other)
    sidecar = json.loads((tmp_path / "out" / "sample_001_PD.json").read_text())
    assert (sidecar["file"], sidecar["channel"]) == ("sample_001_PD.nii.gz", "PD")
    assert isinstance(perform(request)[-1], Finished)
    assert made(perform(request)) == 0
    (tmp_path / "out" / "sample_001_PD.json").unlink()
    assert made(perform(request)) > 0


def test_of_many_the_progress_is_told_in_one_stage(model: Path, tmp_path: Path, tmp_runs: Path) -> None:
    request = GenerateRequest(model=str(model), num_samples=21, only=(1, 20, 21), steps=1, out=tmp_path, device="cpu")
    steps = [event for event in perform(request) if isinstance(event, Progress)]
    assert {event.stage for event in steps} == {"brains"}
    assert [event.step for event in steps] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert {event.total for event in steps} == {3}


def test_a_launch_tells_which_share_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    request = GenerateRequest(num_samples=5)
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert [list(b) for b in Shard.current().batches(request)] == [[1], [2], [3], [4], [5]]
    for name, value in (("SLURM_PROCID", "1"), ("SLURM_STEP_NUM_TASKS", "3"), ("SLURM_LOCALID", "0")):
        monkeypatch.setenv(name, value)
    assert [list(b) for b in Shard.current().batches(request)] == [[2], [5]]
