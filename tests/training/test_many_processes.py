"""Two processes, started by torchrun, do what one does: the same losses, the same weights, one record."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from braindiffusion.cohort.store import Cohort
from braindiffusion.jobs import perform
from braindiffusion.runs import Cancelled, Finished, Metric, Run, RunState, TrainRequest

SECONDS = 400  # of two processes that share two cores with other tests


def losses(run: Run) -> list[float]:
    return [v for e in run.events() if isinstance(e, Metric) for n, v in e.values.items() if n.endswith("loss")]


def weights(run: Run, name: str = "last") -> dict[str, np.ndarray]:
    return load_file(run.checkpoints / name / "model.safetensors")


@pytest.fixture(scope="module")
def runs(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Four trainings by two processes with batches of one, two a step."""
    root = tmp_path_factory.mktemp("runs")
    published = ["--out", str(root / "published")]
    words = (
        "train --preset tiny --level 2 --epochs 4 --batch-size 1 --accumulate 2 --validation-subjects 2 "
        "--device cpu --precision float32"
    )
    train = [*words.split(), "--device", "cpu", "--data", str(cohort.path), *published]
    lists = [
        [*train, "--name", "ddp"],
        [*train, "--name", "fsdp", "--strategy", "fsdp"],
        [*train, "--name", "stopped"],
        ["train", "--resume", "stopped", *published],
    ]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "BRAINDIFFUSION_RUNS": str(root), "OMP_NUM_THREADS": "1"}
    here = Path(__file__).parent / "every_step.py"
    done = subprocess.run(
        [*launch, str(here), json.dumps(lists)], env=environment, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return {name: Run.open(root / name) for name in ("ddp", "fsdp", "stopped")}


@pytest.fixture(scope="module")
def alone(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same by one process, with a batch of four."""
    request = TrainRequest(
        data=cohort.path,
        preset="tiny",
        levels=(2,),
        epochs=4,
        batch_size=4,
        device="cpu",
        precision="float32",
        validation_subjects=2,
    )
    run = Run.create(request, root=tmp_path_factory.mktemp("alone"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("braindiffusion.jobs.train.METRIC_SECONDS", -1.0)
        assert isinstance(list(perform(run))[-1], Finished)
    return run


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_the_same_as_one_process_with_the_whole_batch(runs: dict[str, Run], alone: Run, strategy: str) -> None:
    run = runs[strategy]
    assert run.state is RunState.FINISHED
    assert len(losses(run)) == 8  # each step's, and the held-out subjects' after it: told once, by the first process
    np.testing.assert_allclose(losses(run), losses(alone), rtol=1e-5)
    for name, value in weights(alone).items():
        np.testing.assert_allclose(weights(run)[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


def test_a_stopped_launch_keeps_what_it_has_and_goes_on(runs: dict[str, Run]) -> None:
    run = runs["stopped"]
    assert any(isinstance(event, Cancelled) for event in run.events())
    assert run.state is RunState.FINISHED
    assert losses(run)[-4:] == losses(runs["ddp"])[-4:]  # of the step that it was stopped at nothing was told any more
    for name, value in weights(runs["ddp"]).items():
        np.testing.assert_array_equal(weights(run)[name], value, err_msg=name)
