"""The command `inspect`: what is in a folder of volumes, before anything is made of it."""

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from braindiffusion.cli import runner
from braindiffusion.cli.options import Options, RunName, takes
from braindiffusion.runs import Event, Inspected, InspectRequest, QCFlag

_STYLES = {"problem": "red", "warning": "yellow", "note": ""}


@takes(InspectRequest)
def inspect(
    options: Options[InspectRequest],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    name: RunName = None,
) -> None:
    """Check every volume of a folder: its subject, its geometry, and warnings. Nothing is preprocessed.

    Reported are wrong orientations, cut-off brains, odd intensities, noise and voxels, duplicates, broken files.
    """
    rows: dict[str, Inspected] = {}

    def keep(event: Event) -> None:
        if isinstance(event, Inspected):
            rows[event.path] = event

    last = runner.run_with_progress(runner.new_run(options.request(), name), keep)
    if as_json:
        typer.echo(
            json.dumps([row.model_dump(mode="json", exclude={"type", "time"}) for row in rows.values()], indent=2)
        )
    elif rows:
        Console().print(_table(list(rows.values())))
    runner.finish(last)


def _table(rows: list[Inspected]) -> Table:
    subject = Column("subject", no_wrap=True, overflow="fold")  # ids stay whole in a narrow terminal
    table = Table(subject, "age", "sex", "site", "kind", "voxels", "mm", Column("remarks", overflow="fold"))
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
