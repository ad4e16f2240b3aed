"""The commands that hold one brain against others: where two differ, and who is nearest."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from braindiffusion.cli import working
from braindiffusion.cli.drive import drive, finish
from braindiffusion.runs import DifferenceRequest, NearestRequest


class Align(StrEnum):
    """What `--align` takes."""

    WORLD = "world"
    CENTRE = "centre"


class Scale(StrEnum):
    """What `--scale` takes."""

    AUTO = "auto"
    NONE = "none"
    OWN = "own"


def difference(
    first: Annotated[Path, typer.Argument(help="A NIfTI or MGH volume.")],
    second: Annotated[Path, typer.Argument(help="The one that is taken from it.")],
    out: Annotated[Path, typer.Option(help="The file to write: .nii.gz or .nii.")] = Path("difference.nii.gz"),
    align: Annotated[Align, typer.Option(help="Compare at the same millimetres, or with both middles as one.")] = (
        Align.WORLD
    ),
    scale: Annotated[
        Scale, typer.Option(help="Intensities as stored (none), or each in its own range (own); auto sees to it.")
    ] = Scale.AUTO,
    name: working.RunName = None,
) -> None:
    """Write where two volumes differ, on the finer of their grids; the JSON file beside it tells the unit."""
    request = working.make(
        DifferenceRequest,
        first=first.absolute(),
        second=second.absolute(),
        out=out.absolute(),
        align=align.value,
        scale=scale.value,
    )
    finish(drive(working.new_run(request, name)))


def nearest(
    brain: Annotated[Path, typer.Argument(help="A generated volume, or any other.")],
    real: Annotated[
        list[Path], typer.Option(help="Prepared cohort (.zarr), folder of volumes, or a volume (repeatable).")
    ],
    model: Annotated[
        str | None,
        typer.Option(help="Its card tells who was trained on; by default the packaged one that the sidecar names."),
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Folder of region label maps of the real volumes.")] = None,
    name: working.RunName = None,
) -> None:
    """Find the training brain and the held-out brain that are most like a brain: is it a copy?"""
    request = working.make(
        NearestRequest,
        brain=brain.absolute(),
        real=tuple(path.absolute() for path in real),
        model=model and working.whole_name(model),
        labels=labels and labels.absolute(),
    )
    finish(drive(working.new_run(request, name)))
