"""Preprocess a folder of scans into a cohort for training: `python examples/prepare_a_folder.py /path/to/IXI-T1`.

Without a folder, it uses the six packaged brains.
"""

from pathlib import Path
from typing import Annotated

import typer

import braindiffusion
from braindiffusion.example_data import samples_dir


def main(
    folder: Annotated[Path | None, typer.Argument(help="IXI, a BIDS dataset, or any folder of volumes.")] = None,
    labels: Annotated[Path | None, typer.Option(help="Folder with label maps, matched by subject.")] = None,
    participants: Annotated[Path | None, typer.Option(help="Table with id, age and sex.")] = None,
    spacing: Annotated[float, typer.Option(help="Voxel size in mm.")] = 2.0,
    out: Annotated[Path, typer.Option(help="Cohort to write.")] = Path("cohort.zarr"),
) -> None:
    """Preprocess a folder and list its subjects; scans that are left out are warned of."""
    if folder is None:
        folder = samples_dir() / "IXI-T1"
        labels, participants = samples_dir() / "labels", samples_dir() / "participants.tsv"
    cohort = braindiffusion.prepare(folder, out, labels=labels, participants=participants, spacing=spacing)
    print(f"{len(cohort)} brains of {cohort.volumes.shape[2:]} voxels, {cohort.preprocessing.spacing} mm, in {out}")
    for subject in cohort.subjects:
        print(f"  {subject.id}: {subject.age or 'age unknown'}, {subject.sex or 'sex unknown'}")


if __name__ == "__main__":
    typer.run(main)
