"""Resume a training that was stopped: `python examples/resume_training.py`, or with the folder of its run.

A resumed training ends in the same weights as one without an interruption.
"""

from pathlib import Path
from typing import Annotated

import typer

from braindiffusion.jobs import perform
from braindiffusion.runs import Finished, Progress, Run, RunState, list_runs


def main(
    run: Annotated[Path | None, typer.Argument(help="Folder of the run; default: the newest that was stopped.")] = None,
) -> None:
    """Resume a training."""
    stopped = (RunState.CANCELLED, RunState.INTERRUPTED, RunState.FAILED)
    found = [one for one in list_runs() if one.request.job == "train" and one.state in stopped] if run is None else []
    if run is None and not found:
        raise SystemExit("No training was stopped: there is nothing to resume.")
    chosen = found[0] if run is None else Run.open(run)
    print(f"Resuming {chosen.name}, which was {chosen.state}.")
    for event in perform(chosen):
        if isinstance(event, Progress) and event.step == event.total:
            print(f"{event.stage} is done: {event.total} steps")
    if not isinstance(event, Finished):
        raise SystemExit(event.message)
    print(event.message)


if __name__ == "__main__":
    typer.run(main)
