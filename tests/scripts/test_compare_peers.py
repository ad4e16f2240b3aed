"""The cases of a GPU at toy size on the CPU, and the table; recipes compared on a toy cohort."""

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from braindiffusion.cohort.store import Cohort
from braindiffusion.devices import COMPILE_VARIABLE, CompiledNetwork
from braindiffusion.models.cascade import Cascade, save_model
from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig, UNetConfig

Load = Callable[..., ModuleType]
CPU = torch.device("cpu")


@pytest.fixture
def bench(load: Load, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv(COMPILE_VARIABLE, "auto")
    module = load("compare_peers", "benchmarks")
    monkeypatch.setattr(module, "GPU", CPU)
    return module


def test_sampling_is_timed_compiled_and_not(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tmp_runs: Path
) -> None:
    level = LevelConfig(unet=UNetConfig(widths=(8,), blocks=(1,), attention=(False,)), steps=2)
    save_model(Cascade(CascadeConfig(shape=(8, 8, 8), depth=0, levels=(level,))), tmp_path / "toy", {"name": "toy"})
    compiled: list[Any] = []
    monkeypatch.setattr(torch, "compile", lambda function, **settings: compiled.append(settings) or function)
    monkeypatch.setattr(CompiledNetwork, "compiled", 0)
    monkeypatch.setattr(bench, "GPU_MODELS", {"1 mm": str(tmp_path / "toy")})
    found = bench.gpu_brain(1)
    assert len(compiled) == 1
    assert found["compiling failed"] == 0
    assert all(found[name] > 0 for name in ("1 mm", "1 mm compiled", "1 mm compiled first", "1 mm job"))
    rows = {row[0]: row for row in bench.table({"gpu_brain": found})}
    assert rows["GPU: a 1 mm brain, sampling alone"][-1] == "0.2 s"


def test_training_steps_are_timed_without_a_cohort(bench: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "GPU_PRESETS", {"tiny": {"batch_size": 1}})
    monkeypatch.setattr(bench, "GPU_SHAPE", (32, 32, 32))
    monkeypatch.setattr(bench, "GPU_STEPS", 2)
    found = bench.gpu_training(1)
    assert all(found[f"tiny {level} {name}"] > 0 for level in range(4) for name in ("seconds_per_step", "utilization"))
    rows = {row[0] for row in bench.table({"gpu_training": found})}
    assert "GPU: peak memory of training at 1 mm, `tiny` with batches of 1" in rows


def test_what_needs_a_gpu_is_left_out_and_told(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(
        "sys.argv", ["compare_peers.py", "--only", "gpu_brain", "recipes", "--out", str(tmp_path / "b")]
    )
    bench.main()
    left_out = json.loads((tmp_path / "b").read_text())["left out"]
    assert left_out == {"gpu_brain": "no CUDA device", "recipes": "no cohort was named"}
    assert "Left out: `gpu_brain` (no CUDA device), `recipes` (no cohort was named)." in capsys.readouterr().out


def test_recipes_are_compared_by_the_time_until_one_loss(
    load: Load, make_cohort: Callable[..., Cohort], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipes = load("measure_recipes", "benchmarks")
    point = recipes.Point
    assert recipes.seconds_until([point(1, 10.0, 0.5), point(2, 20.0, 0.3)], 0.4) == pytest.approx(15.0)
    assert recipes.seconds_until([point(1, 10.0, 0.3)], 0.4) == 10.0
    assert recipes.seconds_until([point(1, 10.0, 0.5)], 0.4) is None
    monkeypatch.setattr(recipes, "SHARES", (1.0,))
    data = make_cohort("toy", count=6, shape=(16, 24, 16)).path
    words = f"{data} --preset tiny --levels 0 --steps 8 --validation-subjects 2"
    monkeypatch.setattr("sys.argv", ["measure_recipes.py", *words.split()])
    recipes.main()
    (found,) = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert found["former steps"] == 8
    assert found["ratio"] is None or found["ratio"] == pytest.approx(found["former seconds"] / found["present seconds"])


def test_noise_levels_of_training_are_compared_at_those_of_the_sampler(
    load: Load, make_cohort: Callable[..., Cohort], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_cohort("toy", count=6, shape=(16, 24, 16)).path
    words = f"{data} --preset tiny --levels 1 --steps 8 --validation-subjects 2 --means -4 0.5"
    monkeypatch.setattr("sys.argv", ["sweep_noise_levels.py", *words.split()])
    load("sweep_noise_levels", "benchmarks").main()
    low, usual = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    sigmas = [float(sigma) for sigma in usual["loss by sigma"]]
    assert len(sigmas) == 6
    assert sigmas == sorted(sigmas, reverse=True)
    assert list(low["loss by sigma"]) == list(usual["loss by sigma"])
    assert low["loss by sigma"] != usual["loss by sigma"]
    assert usual["loss"] == pytest.approx(statistics.mean(usual["loss by sigma"].values()), abs=1e-3)


def test_the_plot_has_a_line_for_each_network(load: Load) -> None:
    found = {"4 mm": 1.0, "2 mm": 1.0, "1 mm": 1.2, "haar 4 mm": 2.0, "haar 2 mm": 2.0}
    figure = load("plot_cost", "benchmarks").cost_figure(found)
    lines = {(trace.name, trace.xaxis): list(trace.y) for trace in figure.data}
    assert lines["U-Net on one Haar level", "x"] == pytest.approx([0.183, 1.464], rel=1e-2)
    assert lines["BrainDiffusion, finest level", "x2"] == [1.0, 1.0, 1.2]
    assert lines["proportional to voxels", "x"] == pytest.approx([0.0915, 0.732, 5.857], rel=1e-2)
