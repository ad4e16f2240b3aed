"""Train a tiny model on a cohort in about a minute: `python examples/train_tiny.py cohort.zarr`.

Its samples are blobs: the script shows how to train, not how well. A real model takes `--preset laptop` and hours.
Ctrl-C writes a checkpoint; resume_training.py continues from it.
"""

from pathlib import Path
from typing import Annotated

import typer

import braindiffusion
from braindiffusion.figures.curves import curves
from braindiffusion.figures.page import write_figure
from braindiffusion.runs import Event, Metric, Run


def print_loss(event: Event) -> None:
    """Print the validation loss, that of held-out subjects."""
    if isinstance(event, Metric) and "validation_loss" in event.values:
        print(f"{event.stage}, step {event.step}: validation loss {event.values['validation_loss']:.4f}")


def main(
    cohort: Annotated[Path, typer.Argument(help="A preprocessed cohort (`.zarr`), or a folder of scans.")],
    preset: Annotated[str, typer.Option(help="Name of a preset, or a preset file.")] = "tiny",
    epochs: Annotated[float | None, typer.Option(help="Passes over the subjects; default: as in the preset.")] = None,
) -> None:
    """Train a model and draw its loss curves."""
    model = braindiffusion.train(cohort, preset, epochs=epochs, on_event=print_loss)
    run = Run.open(model.path.parents[1])
    print(f"Model: {model.path}\nCurves: {write_figure(curves([run]), run.path / 'curves.html')}")


if __name__ == "__main__":
    typer.run(main)
