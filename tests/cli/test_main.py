"""What ends a command without a traceback, and the log of one without a terminal."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from braindiffusion import cli
from braindiffusion.cli import runner
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs import DemoRequest, Event, Finished, Metric, Progress, Run


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (BrainDiffusionError("The brain is missing."), "The brain is missing.\n"),
        (OSError(errno.EROFS, "Read-only file system", "/runs/a/stop"), "/runs/a/stop cannot be read or written"),
        (OSError("gone"), r"A file cannot be read or written \(gone\)"),
    ],
)
def test_bad_input_and_disks_are_one_sentence(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit, match="1"):
        cli.main()
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert told.startswith(said.replace("\\", ""))


def test_a_line_of_a_log_has_all_that_was_measured_since_the_last_one(
    tmp_runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def events(run: Run) -> Iterator[Event]:
        for stage in ("level 0", "level 1"):
            yield Metric(stage=stage, step=1, values={"loss": 0.75, "utilization": 0.5})
            yield Metric(stage=stage, step=1, values={"validation_loss": 0.25})
            yield Metric(stage=stage, step=2, values={"loss": 0.625})
            yield Progress(stage=stage, step=2, total=2)
            yield Progress(stage=stage, step=2, total=2)
        yield Finished(message="The model is there.")

    monkeypatch.setattr(runner, "perform", events)
    runner.run_with_progress(Run.create(DemoRequest()))
    assert capsys.readouterr().err.splitlines() == [
        "level 0: 2 of 2, loss 0.625, utilization 0.5, validation loss 0.25",
        "level 0: 2 of 2",
        "level 1: 2 of 2, loss 0.625, utilization 0.5, validation loss 0.25",
        "level 1: 2 of 2",
        "The model is there.",
    ]
