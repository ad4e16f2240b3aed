"""The command line as its users meet it: what it prints, what it writes, and its exit status."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from braindiffusion import __version__
from braindiffusion import example_data as samples
from braindiffusion.cli import app, main, runner
from braindiffusion.cli.commands import train
from braindiffusion.runs import (
    CheckpointWritten,
    DemoRequest,
    Finished,
    GenerateRequest,
    Metric,
    Progress,
    Run,
    RunState,
    Started,
    TrainRequest,
    Warned,
    list_runs,
)

TESTS = Path(__file__).parent
SECONDS = 60.0

DRIVER = """
import sys
sys.path.insert(0, {tests!r})
from braindiffusion import cli, jobs
for name in jobs.JOB_LOCATIONS:
    jobs.JOB_LOCATIONS[name] = "fake_jobs:{job}"
sys.argv[1:] = {arguments!r}
cli.main()
"""


@dataclass(frozen=True)
class Done:
    """Exit status and output of a command."""

    returncode: int
    stdout: str
    stderr: str


Command = Callable[..., Done]


@pytest.fixture
def braindiffusion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The console script's function, in this process (a new one costs seconds), in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["braindiffusion", *arguments])
        status = 0
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
        return Done(status, *capsys.readouterr())

    return run


def with_job(job: str, *arguments: str, cwd: Path) -> "subprocess.Popen[str]":
    """The real command, with jobs of ours."""
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER.format(tests=str(TESTS), job=job, arguments=list(arguments))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
    )


def test_help_names_every_command_and_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from braindiffusion.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "assert os.environ['OMP_WAIT_POLICY'] == 'PASSIVE'\n"
        "heavy = {'torch', 'torchio', 'napari', 'plotly', 'zarr', 'nibabel', 'pandas', 'scipy'} & set(sys.modules)\n"
        "sys.exit(str(sorted(heavy)) if heavy else 0)\n"
    )
    for arguments in (["--help"], ["train", "--help"], ["--version"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=SECONDS, check=False
        )
        assert done.returncode == 0, done.stderr
        if arguments == ["--help"]:
            for command in ("prepare", "train", "generate", "demo", "visualize", "runs", "models", "doctor"):
                assert re.search(rf"^\s+{command}\b", done.stdout, re.MULTILINE)
        elif arguments == ["--version"]:
            assert done.stdout.strip() == __version__


@pytest.mark.parametrize(
    ("job", "status"), [("counts", 0), ("bad_input", 1), ("buggy", 1), ("warns", 3)], ids=lambda value: str(value)
)
def test_exit_status_and_one_sentence(tmp_path: Path, tmp_runs: Path, job: str, status: int) -> None:
    process = with_job(job, "demo", cwd=tmp_path)
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == status
    assert "Traceback" not in err
    assert out == ""
    expected = {
        "counts": "counting: 3 of 3",
        "bad_input": "The file x.nii is cut off; fetch it again.",
        "buggy": "error.txt",
        "warns": "Warning: IXI002: it is cut off",
    }
    assert expected[job] in err
    (run,) = list_runs(tmp_runs)
    assert str(run.path) in err


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT to send on Windows")
def test_ctrl_c_stops_cleanly_with_status_130(tmp_path: Path, tmp_runs: Path) -> None:
    process = with_job("endless", "demo", cwd=tmp_path)
    assert process.stderr is not None
    while "waiting: " not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert "Stopped" in err
    assert "Traceback" not in err
    (run,) = list_runs(tmp_runs)
    assert run.state is RunState.CANCELLED
    assert (run.results / "saved").is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals in the standard library")
def test_a_pipe_gets_the_paths_while_a_terminal_gets_the_bars(tmp_path: Path, tmp_runs: Path) -> None:
    ours, theirs = os.openpty()
    code = DRIVER.format(tests=str(TESTS), job="makes", arguments=["demo"])
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "150"}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=theirs, text=True, cwd=tmp_path, env=environment
    ) as process:
        os.close(theirs)
        seen = b""
        try:
            while block := os.read(ours, 4096):
                seen += block
        except OSError:  # Linux: the other side is closed
            pass
        os.close(ours)
        out, _ = process.communicate(timeout=SECONDS)
    (run,) = list_runs(tmp_runs)
    assert process.returncode == 0
    assert out == f"{run.results / 'sample_001.nii.gz'}\n"
    screen = seen.decode()
    assert "sample 1 [level 0]" in screen  # a stage's name is no markup
    assert "2/2" in screen
    assert "61 s left" in screen
    assert "Done." in screen


def test_train_copies_its_models_and_resume_goes_on(tmp_path: Path, tmp_runs: Path) -> None:
    (tmp_path / "IXI-T1").mkdir()
    words = ["train", "--data-dir", "IXI-T1", "--batch-size", "2", "--epochs", "100"]
    process = with_job("checkpoints", *words, cwd=tmp_path)
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, err
    best = tmp_path / "checkpoints" / "best"
    assert sorted(file.name for file in best.glob("[!.]*")) == ["model.json", "model.safetensors"]
    assert (best / "model.safetensors").read_bytes() == b"\x02"
    assert out.splitlines() == ["checkpoints/best"]
    (run,) = list_runs(tmp_runs)
    assert run.request == TrainRequest(data=tmp_path / "IXI-T1", batch_size=2, epochs=100)

    process = with_job("checkpoints", "train", "--resume", run.name, "--out", "again", cwd=tmp_path)
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, err
    assert list_runs(tmp_runs) == [run]
    assert sum(isinstance(event, Started) for event in run.events()) == 2
    assert (tmp_path / "again" / "best" / "model.json").is_file()


def test_the_commands_that_users_know(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runner, "new_run", lambda request, name=None: asked.append(request))
    monkeypatch.setattr(runner, "run_with_progress", lambda run, on_event=None: Finished())
    monkeypatch.setattr(train, "publish_checkpoints", lambda run, out: [])
    (tmp_path / "checkpoints" / "best").mkdir(parents=True)
    for words in (
        "train --data-dir /path/to/IXI-T1 --batch-size 2 --epochs 100",
        "generate --model-path checkpoints/best --num-samples 5",
        "train --data_dir /path/to/IXI-T1 --batch_size 2 --epochs 100",
        "generate --model_path checkpoints/best --num_samples 5",
    ):
        result = CliRunner().invoke(app, words.split())
        assert result.exit_code == 0, result.output
    assert (
        asked
        == [
            TrainRequest(data=Path("/path/to/IXI-T1"), batch_size=2, epochs=100),
            GenerateRequest(model=str(tmp_path / "checkpoints/best"), num_samples=5, out=tmp_path / "generated"),
        ]
        * 2
    )


def test_train_takes_the_one_cohort_of_the_folder(braindiffusion: Command, tmp_path: Path) -> None:
    done = braindiffusion("train", "--preset", "tiny")
    assert done.returncode == 1
    assert "--data-dir" in done.stderr
    for name in ("a.zarr", "b.zarr"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "zarr.json").write_text("{}")
        if name == "a.zarr":
            assert train.only_cohort() == Path("a.zarr")
    done = braindiffusion("train", "--preset", "tiny")
    assert done.returncode == 1
    assert "a.zarr, b.zarr" in done.stderr


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (
            "generate --num-samples 0",
            1,
            "Number of samples: Input should be greater than or equal to 1 (was 0). (Option: ",
        ),
        ("generate --eta 2", 1, "(Option: --eta.)"),
        ("train --resume nothing", 1, "There is no run 'nothing'"),
        ("runs nothing", 1, "There is no run 'nothing'"),
        ("visualize --volume-path nowhere.nii.gz --no-open", 1, "nowhere.nii.gz"),
        ("fly", 2, "No such command"),
    ],
)
def test_wrong_input_is_one_sentence(
    braindiffusion: Command, tmp_runs: Path, words: str, status: int, told: str
) -> None:
    done = braindiffusion(*words.split())
    assert done.returncode == status
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    if status == 1:
        assert len(done.stderr.splitlines()) == 1


def test_a_training_that_never_began_cannot_be_resumed(braindiffusion: Command, tmp_runs: Path) -> None:
    done = braindiffusion("train", "--data", "nowhere.zarr")
    assert done.returncode == 1
    assert "nowhere.zarr" in done.stderr
    assert "resume" not in done.stderr


def test_runs_lists_tells_and_stops(braindiffusion: Command, tmp_runs: Path) -> None:
    done = Run.create(DemoRequest(seed=3), tmp_runs, "old")
    for step in (1, 2):
        done.append(Progress(stage="sample 1", step=step, total=2))
        done.append(Metric(stage="sample 1", step=step, values={"validation_loss": step / 4}))
        done.append(Metric(stage="sample 1", step=step, values={"seconds": 8 * step}))
    done.append(Warned(message="first"))
    done.append(Warned(message="second"))
    done.append(Finished(message="one brain"))
    running = Run.create(DemoRequest(), tmp_runs, "new")
    running.append(Started(job="demo", pid=os.getpid()))

    rows = json.loads(braindiffusion("runs", "--json").stdout)
    assert [(row["name"], row["state"]) for row in rows] == [("new", "running"), ("old", "finished")]
    listed = braindiffusion("runs").stdout
    assert listed.index("new") < listed.index("old")

    told = braindiffusion("runs", "old").stdout
    assert "braindiffusion demo --seed 3" in told
    assert "sample 1: 2 of 2" in told
    assert "sample 1: 1 of 2" not in told
    assert "validation loss 0.5 (step 2)" in told
    assert "seconds 16 (step 2)" in told
    assert "warning: first" in told
    assert "warning: second" in told
    assert "finished: one brain" in told

    assert braindiffusion("runs", "old", "--stop").returncode == 1
    assert braindiffusion("runs", "new", "--stop").returncode == 0
    assert running.asked_to_stop


def test_models_lists_own_trainings(braindiffusion: Command, tmp_path: Path, tmp_runs: Path) -> None:
    run = Run.create(TrainRequest(data=tmp_path), tmp_runs, "mine")
    rows = json.loads(braindiffusion("models", "--json").stdout)
    assert str(run.path) not in [row["path"] for row in rows]
    (run.checkpoints / "best").mkdir()
    (run.checkpoints / "best" / "model.json").write_text("{}")
    run.append(CheckpointWritten(path=str(run.checkpoints / "best"), step=1))
    rows = json.loads(braindiffusion("models", "--json").stdout)
    assert str(run.path) in [row["path"] for row in rows]


def test_visualize_writes_beside_the_volume(braindiffusion: Command, tmp_path: Path) -> None:
    source = next((Path(samples.__file__).parent / "IXI-T1").glob("*.nii.gz"))
    (tmp_path / "generated").mkdir()
    (tmp_path / "generated" / "sample_001.nii.gz").write_bytes(source.read_bytes())
    done = braindiffusion("visualize", "--volume-path", "generated/sample_001.nii.gz", "--no-open")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "generated/sample_001.html"
    assert (tmp_path / "generated" / "sample_001.html").stat().st_size < 15e6
