"""The processes that one launch started: torchrun's and SLURM's variables. Needs no torch."""

import os
from dataclasses import dataclass
from typing import Self

# What tells this process from its fellows: number, how many, number on this machine. Of SLURM the variables of a step:
# those of the job are also set in a batch script, which is one process.
LAUNCHERS = (
    ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),
)
MACHINES = "SLURM_STEP_NUM_NODES"


@dataclass(frozen=True)
class Launch:
    """This process among those of one launch (`torchrun`, `srun`).

    Attributes:
        rank: from 0.
        world: how many processes.
        local: rank on this machine.
    """

    rank: int = 0
    world: int = 1
    local: int = 0

    @classmethod
    def of_this_process(cls) -> Self:
        """As the launcher says; alone where there is none."""
        for names in LAUNCHERS:
            if all(name in os.environ for name in names):
                return cls(*(int(os.environ[name]) for name in names))
        return cls()

    @property
    def machines(self) -> int:
        """Over how many machines the processes are spread, as many on each."""
        if "LOCAL_WORLD_SIZE" in os.environ:
            return self.world // int(os.environ["LOCAL_WORLD_SIZE"])
        return int(os.environ.get(MACHINES, "1"))
