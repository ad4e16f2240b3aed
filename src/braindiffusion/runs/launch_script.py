"""A command for several processes: `torchrun` on one machine, a batch script where SLURM starts them.

Nothing else has to be said: each process finds its rank in the launcher's variables (`process_rank`).
"""

import shlex
from collections.abc import Sequence
from typing import Literal

Launcher = Literal["shell", "torchrun", "slurm"]

SLURM = """#!/bin/bash
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@120
export BRAINDIFFUSION_RUNS=$SCRATCH/runs
srun python -m {command}
"""
"""Two machines of four GPUs. Two minutes before its time is over the job is asked to keep a checkpoint."""


def launch_script(arguments: Sequence[str], launcher: Launcher) -> str:
    """Return the command line, or the batch script, with which a launcher starts a command in all its processes.

    Examples:
        >>> launch_script(["train", "--data-dir", "ixi.zarr"], "torchrun")
        'torchrun --nproc-per-node gpu -m braindiffusion train --data-dir ixi.zarr'

    Args:
        arguments: The words after `braindiffusion`.
        launcher: `shell` starts one process.
    """
    command = shlex.join(["braindiffusion", *arguments])
    match launcher:
        case "shell":
            return command
        case "torchrun":
            return f"torchrun --nproc-per-node gpu -m {command}"
        case "slurm":
            return SLURM.format(command=command)
