"""The command `export-bids`."""

from pathlib import Path
from typing import Annotated

import typer

from braindiffusion.cli.runner import WITH_PROBLEMS


def export_bids(
    sources: Annotated[
        list[Path], typer.Argument(metavar="SOURCE...", help="Volumes, folders of them, or runs of `generate`.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the dataset: new, or empty.")],
    labels: Annotated[Path | None, typer.Option(help="Folder of region label maps, matched by file name.")] = None,
    participants: Annotated[Path | None, typer.Option(help="Table of the age and sex of real subjects.")] = None,
    modality: Annotated[str, typer.Option(help="Modality of volumes that have none: T1, T2, PD, FLAIR, MRA.")] = "T1",
    name: Annotated[str, typer.Option(help="Name of the dataset.")] = "Brains",
) -> None:
    """Write brains into a BIDS dataset, with the requested conditions and the sidecar of each.

    Generated brains become sub-gen001, sub-gen002, ...; real ones keep their names. Label maps go into
    derivatives/braindiffusion.
    """
    from braindiffusion.cohort.demographics import read_demographics
    from braindiffusion.export import brains_in, privacy, write_bids

    people = read_demographics(participants) if participants is not None else None
    problems: list[str] = [*(people.notes if people is not None else ())]
    brains = brains_in(sources, labels=labels, modality=modality, tell=problems.append)
    for sentence in problems:
        typer.echo(f"Warning: {sentence}", err=True)
    for path in write_bids(brains, out, name=name, people=people):
        typer.echo(path)
    for sentence in privacy(brains):
        typer.echo(sentence, err=True)
    if problems:
        raise typer.Exit(WITH_PROBLEMS)
