"""The commands of the reader: read volumes, and train a reader."""

from pathlib import Path
from typing import Annotated

import typer

from braindiffusion.cli.drive import drive, finish
from braindiffusion.cli.publish import publish_checkpoints
from braindiffusion.cli.working import Device, Precisely, Precision, RunName, find_run, make, new_run
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.models.registry import DEFAULT_SEGMENTATION_MODEL, is_packaged
from braindiffusion.runs import CheckpointWritten, Event, Finished
from braindiffusion.runs.requests import ReadRequest, TrainReaderRequest


def read(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="A T1w volume, or a folder of them.")],
    out: Annotated[Path, typer.Option(help="Label map (.nii.gz) of a volume; a folder for a folder.")],
    model: Annotated[str, typer.Option(help="Packaged reader's name, or path of one.")] = DEFAULT_SEGMENTATION_MODEL,
    name: RunName = None,
) -> None:
    """Read brains: a map of 40 regions, the brain mask, and a table of volumes (ml) and age."""
    whole = str(Path(model).absolute()) if Path(model).exists() and not is_packaged(model) else model
    finish(drive(new_run(make(ReadRequest, input=source.absolute(), out=out.absolute(), model=whole), name)))


def train_reader(
    data: Annotated[
        Path | None, typer.Option(help="Cohort prepared with --skull keep, --labels and a --shape with room around.")
    ] = None,
    steps: Annotated[int, typer.Option(help="Of the optimizer.")] = 3000,
    batch_size: Annotated[int, typer.Option(help="Windows a step, every other one stripped.")] = 2,
    window: Annotated[tuple[int, int, int], typer.Option(help="Voxels of a window, multiples of 8.")] = (40, 48, 48),
    validation_subjects: Annotated[int, typer.Option(help="Subjects kept aside.")] = 30,
    seed: int = 0,
    device: Device = "auto",
    precision: Precisely = Precision.AUTO,
    checkpoint_minutes: Annotated[float, typer.Option(help="Minutes between two checkpoints.")] = 4.0,
    out: Annotated[Path, typer.Option(help="Folder that gets a copy of the reader: best.")] = Path("reader"),
    resume: Annotated[str | None, typer.Option(help="Go on with this run (its name or folder).")] = None,
    name: RunName = None,
) -> None:
    """Train a reader. Ctrl-C keeps a checkpoint; `--resume` goes on from it."""
    if resume is not None:
        run = find_run(resume)
        if run.request.job != "train-reader":
            raise BrainDiffusionError(f"The run {run.name} trains no reader: its job is {run.request.job}.")
    elif data is None:
        raise BrainDiffusionError("Say what to train on: --data COHORT.zarr.")
    else:
        request = make(
            TrainReaderRequest,
            data=data.absolute(),
            steps=steps,
            batch_size=batch_size,
            window=window,
            validation_subjects=validation_subjects,
            seed=seed,
            device=device,
            precision=precision.value,
            checkpoint_minutes=checkpoint_minutes,
        )
        run = new_run(request, name)

    def copy(event: Event) -> None:
        if isinstance(event, CheckpointWritten):
            publish_checkpoints(run, out)

    last = drive(run, copy)
    for model in publish_checkpoints(run, out):
        typer.echo(model)
    if not isinstance(last, Finished):
        typer.echo(f"To go on: braindiffusion train-reader --resume {run.name} --out {out}", err=True)
    finish(last)
