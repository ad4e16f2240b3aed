"""The rank of this process among those that torchrun or SLURM started, from their variables. Needs no torch."""

import os
from dataclasses import dataclass
from typing import Self

# Rank, number of processes, rank on this machine. For SLURM the variables of a step: those of the job are also set in
# a batch script, which is one process.
LAUNCHERS = (
    ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),
)
MACHINES = "SLURM_STEP_NUM_NODES"


@dataclass(frozen=True)
class ProcessRank:
    """This process among those of one launch (`torchrun`, `srun`).

    Attributes:
        rank: Number of the process, from 0.
        world: Number of processes.
        local: Rank on this machine.
    """

    rank: int = 0
    world: int = 1
    local: int = 0

    @classmethod
    def current(cls) -> Self:
        """Return the place that the launcher gave to this process; alone where there is none."""
        for names in LAUNCHERS:
            if all(name in os.environ for name in names):
                return cls(*(int(os.environ[name]) for name in names))
        return cls()

    @property
    def machines(self) -> int:
        """Number of machines that the processes are spread over, as many on each."""
        if "LOCAL_WORLD_SIZE" in os.environ:
            return self.world // int(os.environ["LOCAL_WORLD_SIZE"])
        return int(os.environ.get(MACHINES, "1"))
