"""Train a toy model on a cohort in a minute or so: `python examples/train_tiny.py cohort.zarr`.

It makes clouds, not brains: it shows how to train and what comes of it. Real models want `--preset laptop` and hours.
"""

from pathlib import Path
from typing import Annotated

import typer

from braindiffusion.figures.curves import curves
from braindiffusion.figures.page import write_figure
from braindiffusion.jobs import perform
from braindiffusion.runs import Finished, Metric, Run, TrainRequest


def main(
    cohort: Annotated[Path, typer.Argument(help="A prepared cohort, `.zarr`.")],
    preset: Annotated[str, typer.Option(help="tiny, laptop, gpu-8gb, gpu-24gb, gpu-80gb or auto.")] = "tiny",
    epochs: Annotated[float | None, typer.Option(help="Passes over the subjects; the preset's by default.")] = None,
) -> None:
    """Train, tell the losses, and draw them."""
    run = Run.create(TrainRequest(data=cohort.absolute(), preset=preset, epochs=epochs))
    print(f"Run: {run.path} (Ctrl-C keeps what is learnt; resume_training.py goes on)")
    for event in perform(run):
        if isinstance(event, Metric) and "validation_loss" in event.values:
            print(f"{event.stage}, step {event.step}: validation loss {event.values['validation_loss']:.4f}")
    if not isinstance(event, Finished):
        raise SystemExit(event.message)
    print(f"Model: {run.checkpoints / 'best'}\nCurves: {write_figure(curves([run]), run.path / 'curves.html')}")


if __name__ == "__main__":
    typer.run(main)
