"""The script that is copied for a cluster is the one of the documentation."""

import shlex
from pathlib import Path

import pytest
from pydantic import BaseModel
from torch.distributed.run import get_args_parser

from braindiffusion.runs.command import flags
from braindiffusion.runs.launch_script import SLURM, launch_script
from braindiffusion.runs.requests import GenerateRequest, SynthesizeRequest, TrainRequest

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


@pytest.mark.parametrize("kind", [TrainRequest, GenerateRequest, SynthesizeRequest])
def test_torchrun_takes_no_option_for_one_of_its_own(kind: type[BaseModel]) -> None:
    """Its parser completes options that are cut short, those of the program behind it too: one name must be left."""
    words = []
    for name in kind.model_fields:
        words += flags(kind, name)[-1:] if name != "job" else []
    rest = ["command", *words]
    assert get_args_parser().parse_args(["-m", "braindiffusion", *rest]).training_script_args == rest
