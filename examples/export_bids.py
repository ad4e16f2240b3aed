"""Export generated brains to a BIDS dataset: `python examples/export_bids.py generated --out bids`.

Each sample becomes a subject (`sub-gen001`) with its sidecar; its requested conditions (age, sex) go into
`participants.tsv`. The command `braindiffusion export-bids` does the same, with region labels and real brains too.
"""

from pathlib import Path
from typing import Annotated

import typer

from braindiffusion.export import brains_in, write_bids


def main(
    generated: Annotated[Path, typer.Argument(help="Folder written by `generate`.")],
    out: Annotated[Path, typer.Option(help="Folder for the dataset.")] = Path("bids"),
    name: Annotated[str, typer.Option(help="Name of the dataset.")] = "Generated brains",
) -> None:
    """Write a BIDS dataset of T1w volumes."""
    for path in write_bids(brains_in([generated]), out, name=name):
        print(path)


if __name__ == "__main__":
    typer.run(main)
