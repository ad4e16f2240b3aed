"""The whole estimate of a training: real steps of a tiny level, and the way out where it cannot fit."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from braindiffusion.cli import app
from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.cohort.store import Cohort, PreparedVolume, Subject
from braindiffusion.estimate import estimate
from braindiffusion.runs import TrainRequest

SHAPE = (16, 16, 16)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("cohort") / "noise.zarr"
    cohort = Cohort.create(path, Preprocessing(spacing=8.0, shape=SHAPE))
    rng = np.random.default_rng(0)
    mask = np.ones(SHAPE, bool)
    for i in range(4):
        volume = rng.uniform(-1, 1, (1, *SHAPE)).astype(np.float16)
        cohort.put(Subject(id=f"s{i}"), PreparedVolume(volume, mask, None, np.diag([8.0, 8, 8, 1])))
    cohort.finish()
    return path


def test_the_command_tells_and_does_not_begin(
    store: Path, tmp_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("braindiffusion.estimate.training.LEAST_SECONDS", 0.0)
    monkeypatch.chdir(tmp_path)
    words = ["train", "--data", str(store), "--preset", "tiny", "--level", "0", "--epochs", "8", "--device", "cpu"]
    answer = CliRunner().invoke(app, ["estimate", "--json", *words, "--validation-subjects", "1"])
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.stdout)
    (level,) = told["levels"]
    assert level["steps"] == 6  # 8 passes over 3 people, 4 at a time
    assert told["seconds"] > 6 * level["seconds_per_step"] > 0
    assert "of the" in told["verdict"]
    assert not tmp_runs.exists()


def test_what_does_not_fit_is_told_with_a_way_out(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = TrainRequest(data=store, preset="tiny", levels=(0,), batch_size=2, epochs=1, device="cpu")
    monkeypatch.setattr("braindiffusion.estimate.training.held_bytes", lambda device: 0)
    monkeypatch.setattr("braindiffusion.estimate.training.free_bytes", lambda device: 0)
    nothing = estimate(request)
    assert not nothing.fits
    assert nothing.advice == "take a device with more memory"
    assert nothing.preset == "tiny"
    assert nothing.levels[0].seconds is None
    monkeypatch.setattr("braindiffusion.estimate.training.free_bytes", lambda device: nothing.bytes - 1)
    assert estimate(request).verdict.endswith("use batch size 1.")
