"""The script that is copied for a cluster is the one of the documentation."""

import shlex
from pathlib import Path

from braindiffusion.runs.launch_script import SLURM, launch_script

ARGUMENTS = ["train", "--data-dir", "/data/my brains.zarr"]
PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "cluster.md"


def test_each_launcher_starts_the_same_command() -> None:
    command = "braindiffusion train --data-dir '/data/my brains.zarr'"
    assert launch_script(ARGUMENTS, "shell") == command
    assert launch_script(ARGUMENTS, "torchrun") == f"torchrun --nproc-per-node gpu -m {command}"
    script = launch_script(ARGUMENTS, "slurm")
    assert shlex.split(script.splitlines()[-1]) == ["srun", "python", "-m", "braindiffusion", *ARGUMENTS]


def test_the_documentation_shows_this_script() -> None:
    head = SLURM.partition("{command}")[0]
    assert head in PAGE.read_text()
