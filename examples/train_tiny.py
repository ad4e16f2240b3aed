"""Train a toy model on a cohort in a minute or so: `python examples/train_tiny.py cohort.zarr`.

It makes clouds, not brains: it shows how to train and what comes of it. Real models want `--preset laptop` and hours.
Ctrl-C keeps what is learnt; resume_training.py goes on.
"""

from pathlib import Path
from typing import Annotated

import typer

import braindiffusion
from braindiffusion.figures.curves import curves
from braindiffusion.figures.page import write_figure
from braindiffusion.runs import Event, Metric, Run


def tell(event: Event) -> None:
    """Print the losses of held-out subjects."""
    if isinstance(event, Metric) and "validation_loss" in event.values:
        print(f"{event.stage}, step {event.step}: validation loss {event.values['validation_loss']:.4f}")


def main(
    cohort: Annotated[Path, typer.Argument(help="A prepared cohort, `.zarr`, or a folder of scans.")],
    preset: Annotated[str, typer.Option(help="A preset's name, or a file of your own.")] = "tiny",
    epochs: Annotated[float | None, typer.Option(help="Passes over the subjects; the preset's by default.")] = None,
) -> None:
    """Train, tell the losses, and draw them."""
    model = braindiffusion.train(cohort, preset, epochs=epochs, on_event=tell)
    run = Run.open(model.path.parents[1])
    print(f"Model: {model.path}\nCurves: {write_figure(curves([run]), run.path / 'curves.html')}")


if __name__ == "__main__":
    typer.run(main)
