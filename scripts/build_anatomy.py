"""Build the region maps and the shape model that a packaged model samples anatomy from.

    python scripts/build_anatomy.py build/ixi-2mm.zarr --model build/ixi-2mm/checkpoints/best

Takes the training subjects of the model's card from the cohort. Registration takes three seconds a subject on one core.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
import typer
from numpy.typing import NDArray
from rich.progress import track

from braindiffusion.cohort.standardise import BACKGROUND
from braindiffusion.cohort.store import Cohort
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.generation.anatomy import AnatomyLibrary
from braindiffusion.generation.registration import ROUNDS, register_maps
from braindiffusion.models.registry import read_card
from braindiffusion.regions import regions_of
from braindiffusion.regions.deformation import COARSER
from braindiffusion.regions.sulci import relative_intensity, stored

LARGEST = 127
"""Of an 8-bit integer, in which velocities are stored."""


def _image(cohort: Cohort, row: int) -> NDArray[np.float32]:
    """Return the first contrast of a subject, (x, y, z), from 0 to 1."""
    return (np.asarray(cohort.volumes[row][0], np.float32) - BACKGROUND) / 2


def main(
    data: Annotated[Path, typer.Argument(help="The cohort, with label maps, on the model's grid.")],
    model: Annotated[Path, typer.Option(help="Folder of the model.")],
) -> None:
    """Write anatomy.npz into the model's folder."""
    cohort = Cohort.open(data)
    if cohort.labels is None:
        raise BrainDiffusionError(f"{data} has no label maps: prepare it with a folder of label maps.")
    training = set(read_card(model).to_json()["split"]["train"])
    rows = [row for row, subject in enumerate(cohort.subjects) if subject.id in training]
    people = [cohort.subjects[row] for row in rows]
    maps = np.stack([regions_of(np.asarray(cohort.labels[row])) for row in rows])
    spacing = cohort.preprocessing.spacing
    images = (_image(cohort, row) for row in rows)
    relative = [relative_intensity(image, labels, spacing) for image, labels in zip(images, maps, strict=True)]
    if any(one is None for one in relative):
        raise BrainDiffusionError(f"Fluid is not dark in all images of {data}: build the library from T1w images.")
    found = list(track(register_maps(maps), total=ROUNDS * len(maps), description="Registration"))[-len(maps) :]
    millimetres = F.avg_pool3d(torch.from_numpy(np.stack(found)), COARSER, ceil_mode=True).numpy() * spacing * COARSER
    step = float(np.abs(millimetres).max()) / LARGEST
    library = AnatomyLibrary.build(
        maps,
        spacing,
        [one.id for one in people],
        [one.age for one in people],
        [one.sex for one in people],
        np.rint(millimetres / step).astype(np.int8),
        step,
    )
    intensities = [stored(one, labels) for one, labels in zip(relative, maps, strict=True) if one is not None]
    library = replace(library, relative=np.stack(intensities))
    path = library.save(model)
    typer.echo(f"{path}: {len(maps)} subjects, {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    typer.run(main)
