"""What the processes of a launch run: `braindiffusion` with each of some lists of words, every loss told.

A run of the name `stopped` gets SIGTERM, in all processes, while it makes its second step: as SLURM does.
"""

import json
import signal
import sys

from braindiffusion.cli import main
from braindiffusion.jobs import train as job
from braindiffusion.training.trainer import LevelTrainer

job.METRIC_SECONDS = -1.0
step = LevelTrainer._step


def step_and_stop(trainer, batches):
    if "stopped" in sys.argv and "--name" in sys.argv and trainer.step == 1:
        signal.raise_signal(signal.SIGTERM)
    return step(trainer, batches)


LevelTrainer._step = step_and_stop
for words in json.loads(sys.argv[1]):
    sys.argv[1:] = words
    try:
        main()
    except SystemExit as end:
        if end.code and "stopped" not in words:
            raise
