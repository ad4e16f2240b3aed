"""What ends a command without a traceback."""

import errno

import pytest

from braindiffusion import cli
from braindiffusion.errors import BrainDiffusionError


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
