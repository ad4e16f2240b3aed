"""The command that looks at a folder of volumes before anything is made of it."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from braindiffusion.cli import working
from braindiffusion.cli.drive import drive, finish
from braindiffusion.runs import Event, Inspected, InspectRequest, QCFlag

_STYLES = {"problem": "red", "doubt": "yellow", "note": ""}


def inspect(
    data_dir: Annotated[Path, typer.Argument(help="IXI folder, BIDS dataset or any folder of volumes.")],
    labels: Annotated[Path | None, typer.Option(help="Folder of label maps: DLMUSE's, or FreeSurfer's.")] = None,
    participants: Annotated[Path | None, typer.Option(help="IXI.xls, or a table with id, age and sex.")] = None,
    modality: Annotated[str, typer.Option(help="As prepare takes it: T1, T2, PD ..., T1,T2,PD, T1/T2/PD.")] = "T1",
    workers: Annotated[int, typer.Option(help="Processes; 0 takes one a core.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    name: working.RunName = None,
) -> None:
    """Look at every volume of a folder: who it is of, and what is odd about it. Nothing is prepared.

    Told are wrong orientations, cut-off brains, odd intensities, noise and voxels, duplicates, broken files.
    """
    request = working.make(
        InspectRequest,
        data_dir=data_dir.absolute(),
        labels=labels and labels.absolute(),
        participants=participants and participants.absolute(),
        modality=modality,
        workers=workers,
    )
    rows: dict[str, Inspected] = {}

    def keep(event: Event) -> None:
        if isinstance(event, Inspected):
            rows[event.path] = event

    last = drive(working.new_run(request, name), keep)
    if as_json:
        typer.echo(
            json.dumps([row.model_dump(mode="json", exclude={"type", "time"}) for row in rows.values()], indent=2)
        )
    elif rows:
        Console().print(_table(list(rows.values())))
    finish(last)


def _table(rows: list[Inspected]) -> Table:
    table = Table("subject", "age", "sex", "site", "kind", "voxels", "mm", "remarks")
    for row in rows:
        table.add_row(
            row.subject,
            f"{row.age:.1f}" if row.age is not None else "",
            row.sex or "",
            row.site or "",
            row.modality or "",
            " x ".join(map(str, row.shape or ())),
            " x ".join(f"{side:.3g}" for side in row.spacing or ()),
            Text("\n").join(_line(mark) for mark in row.marks),
        )
    return table


def _line(mark: QCFlag) -> Text:
    return Text(f"{mark.severity}: {mark.message}", style=_STYLES[mark.severity])
