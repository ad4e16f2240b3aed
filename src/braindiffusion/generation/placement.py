"""Placement of a generated brain in the world: over the region map that conditioned it, or on the grid of a volume."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braindiffusion.cohort import transforms
from braindiffusion.cohort.mask import brain_centre, largest_bright
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.files import file_sha256
from braindiffusion.generation.inputs import Conditions
from braindiffusion.models.generator import Generator
from braindiffusion.runs import GenerateRequest
from braindiffusion.volume import Volume, box_affine, load_volume, resample


class Placement:
    """The place of each sample of a request.

    A brain that a region map conditioned gets the affine of the map's box: its voxels stay, and both overlay in mm.
    Any other lies with the middle of its box at 0 mm, or over the brain of the volume that `grid` names. With `grid`,
    the brain is resampled onto that volume's grid at last.

    Args:
        request: with `grid`.
        generator: the model.
        conditions: of the request.

    Raises:
        BrainDiffusionError: the volume cannot be read, or shows no brain.
    """

    def __init__(self, request: GenerateRequest, generator: Generator, conditions: Conditions) -> None:
        self._path, self._conditions = request.grid, conditions
        self._shape, self._spacing = generator.shape, generator.spacing
        self._grid = None if request.grid is None else load_volume(request.grid)
        if self._grid is not None:
            self._centred  # noqa: B018 raises now where it shows no brain

    def affine(self, number: int) -> NDArray[np.float64]:
        """Return the affine of the model's box for the sample of this number."""
        placed = self._conditions.affine(number)
        return self._centred if placed is None else placed

    @cached_property
    def _centred(self) -> NDArray[np.float64]:
        """The model's box over the brain of the grid's volume; without one, around 0 mm."""
        affine = box_affine(self._shape, self._spacing)
        if self._grid is not None:
            affine[:3, 3] += centre_of_brain(self._grid, self._shape, self._spacing)
        return affine

    def place(self, volume: Volume, number: int) -> Volume:
        """Return a volume of the model's box with the affine of its place. No voxel changes."""
        return replace(volume, affine=self.affine(number))

    def on_grid(self, volume: Volume) -> Volume:
        """Return a placed volume on the grid that was asked for; the same volume where none was.

        Raises:
            BrainDiffusionError: all of it lies outside of that grid, as a region map elsewhere makes it.
        """
        if self._grid is None:
            return volume
        shape, affine = self._grid.shape, self._grid.affine
        if volume.metadata.get("kind") == "labels":
            labels = transforms.resample_labels(volume.data[0], volume.affine, shape, affine)
            moved = replace(volume, data=labels[None], affine=affine)
        else:
            moved = resample(volume, affine, shape)
        if volume.data.any() and not moved.data.any():
            msg = f"The brain lies over its region map, outside of the grid of {self._path}: choose a volume"
            raise BrainDiffusionError(f"{msg} that covers the region map, or none.", "grid")
        return moved

    def record(self, number: int) -> dict[str, Any] | None:
        """Return what the sidecar says of the place; None where the box lies around 0 mm."""
        if self._path is None and self._conditions.affine(number) is None:
            return None
        record: dict[str, Any] = {"box_affine": self.affine(number).tolist()}
        if self._path is not None:
            record |= {"grid": str(self._path), "grid_sha256": file_sha256(Path(self._path))}
        return record


def centre_of_brain(volume: Volume, shape: tuple[int, int, int], spacing: float) -> NDArray[np.float64]:
    """Return where the middle of a model's box lies in the world (mm) when it is put over the brain of a volume.

    Args:
        volume: a label map, a stripped brain or a head.
        shape: voxels of the box.
        spacing: of the box, in mm.

    Raises:
        BrainDiffusionError: nothing stands out from the background.
    """
    data = volume.data[0]
    labels = volume.metadata.get("kind") == "labels"
    flat = data.min() == data.max()
    mask = data > 0 if labels or flat else largest_bright(data.astype(np.float32))
    if flat or not mask.any():
        raise BrainDiffusionError("The volume whose grid is asked for shows no brain: choose another.", "grid")
    x, y, z = (round(n * spacing / size) for n, size in zip(shape, volume.spacing, strict=True))
    centre = brain_centre(mask, volume.spacing[2], (x, y, z), is_brain=labels)
    world: NDArray[np.float64] = (volume.affine @ np.append(centre - 0.5, 1.0))[:3]
    return world
