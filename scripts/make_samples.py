"""Make the packaged example data: a few IXI volumes, skull-stripped and cropped.

    python scripts/make_samples.py IXI-2MM src/braindiffusion/example_data

IXI-2MM is a folder with `IXI-T1/`, `labels/` and `participants.tsv`, every label map on the grid of its volume.
"""

import csv
import shutil
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from scipy import ndimage

from braindiffusion.volume import Volume, load_volume, save_volume

# Three women and three men, from 21 to 74 years.
SUBJECTS = [
    "IXI080-HH-1341",
    "IXI056-HH-1327",
    "IXI168-HH-1607",
    "IXI437-HH-2152",
    "IXI161-HH-2533",
    "IXI327-HH-1999",
]
MARGIN = 2  # voxels of background left around the brain


def brain_mask(labels: np.ndarray) -> np.ndarray:
    """Return all labelled voxels, closed and with holes filled; (x, y, z) bool."""
    padded = np.pad(labels > 0, 3)
    closed = ndimage.binary_closing(padded, ndimage.generate_binary_structure(3, 1), iterations=2)
    return ndimage.binary_fill_holes(closed)[3:-3, 3:-3, 3:-3]


def strip_and_crop(t1: Volume, labels: Volume) -> tuple[Volume, Volume]:
    """Return the brain as uint8 (99.9th percentile at 250) and its labels, cropped to the brain."""
    mask = brain_mask(labels.data[0])
    top = np.percentile(t1.data[0][mask], 99.9)
    # 0 means outside of the mask; inside, values are at least 1.
    brain = np.where(mask, np.clip(np.rint(t1.data[0] / top * 250), 1, 255), 0).astype(np.uint8)
    box = tuple(
        slice(max(edge.start - MARGIN, 0), edge.stop + MARGIN)
        for edge in ndimage.find_objects(mask.astype(np.uint8))[0]
    )
    affine = t1.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [edge.start for edge in box]
    return Volume(brain[None, *box], affine), Volume(labels.data[(slice(None), *box)].astype(np.uint8), affine)


def main(
    source: Annotated[Path, typer.Argument(help="Folder with IXI-T1/, labels/ and participants.tsv.")],
    out: Annotated[Path, typer.Argument(help="Folder for the data.")],
    subject: Annotated[list[str], typer.Option(help="Subject to include (repeatable).")] = SUBJECTS,
) -> None:
    """Write the samples in the layout of IXI."""
    for name in subject:
        t1 = load_volume(source / "IXI-T1" / f"{name}-T1.nii.gz")
        labels = load_volume(source / "labels" / f"{name}-T1_DLMUSE.nii.gz")
        if t1.shape != labels.shape or not np.allclose(t1.affine, labels.affine, atol=1e-3):
            msg = f"{name}: the label map does not lie on the grid of its volume."
            raise typer.BadParameter(msg)
        brain, regions = strip_and_crop(t1, labels)
        save_volume(brain, out / "IXI-T1" / f"{name}-T1.nii.gz")
        save_volume(regions, out / "labels" / f"{name}-T1_DLMUSE.nii.gz")
    for name in ("labels.tsv", "LICENSE-SBIA.md"):
        shutil.copyfile(source / "labels" / name, out / "labels" / name)
    with (source / "participants.tsv").open(newline="") as table:
        rows = {row["participant_id"]: row for row in csv.DictReader(table, delimiter="\t")}
    with (out / "participants.tsv").open("w", newline="") as table:
        writer = csv.DictWriter(table, ["participant_id", "age", "sex"], delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[name] for name in subject)


if __name__ == "__main__":
    typer.run(main)
