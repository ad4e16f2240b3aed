"""Volume = voxels + affine. Orientation is settled here, once, when a file is read.

Reads NIfTI-1 and NIfTI-2 (`.nii`, `.nii.gz`, `.img`/`.hdr`) and MGH (`.mgh`, `.mgz`) through nibabel, turns the axes
to the closest RAS+ (a permutation and flips, never an interpolation), and writes NIfTI. Every voxel keeps its place
in the world.
"""

import gzip
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import numpy as np
import numpy.typing as npt

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.files import replacing
from braindiffusion.nifti import (
    affine_problem,
    check_size,
    kind_and_time,
    open_image,
    plain_header,
    read_voxels,
    settle_scaled,
    spacing_of,
    stored_type,
    to_nifti,
)

WRITABLE_SUFFIXES = (".nii.gz", ".nii")
"""What `save_volume` writes."""

_GZIP_LEVEL = 6


@dataclass(frozen=True, eq=False)
class Volume:
    """A volume: voxels and their place in the world, the one form in which brains pass between packages.

    Examples:
        >>> empty = Volume(np.zeros((1, 80, 104, 88), np.float32), np.diag([2, 2, 2, 1]))
        >>> empty.channels, empty.shape, empty.spacing
        (1, (80, 104, 88), (2.0, 2.0, 2.0))

    Attributes:
        data: Voxels, shape (channels, x, y, z), axes towards right, anterior and superior (RAS+). Time is a channel
            axis too.
        affine: Voxel indices (x, y, z) to world millimetres, shape (4, 4), float64. It may be oblique.
        metadata: Whatever is known beside; every value fits into JSON. `load_volume` fills in `source` (path),
            `orientation` (the file's own axis codes, such as `PSR`), `file_affine` (as stored, in millimetres) and
            `header` (the file's fields); `kind` is `labels` where the file calls itself a label map; `time_step` is
            the time between channels in seconds, where there is one, and `time_unit` the file's unit of time;
            `description` is the free text of the header, at most 79 characters of Latin-1.
    """

    data: npt.NDArray[Any]
    affine: npt.NDArray[np.float64]
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.data.ndim != 4 or 0 in self.data.shape:
            msg = f"A volume's data have the shape (channels, x, y, z), none of them empty, not {self.data.shape}."
            raise BrainDiffusionError(msg)
        affine = np.array(self.affine, dtype=np.float64)
        problem = affine_problem(affine)
        if problem:
            msg = f"A volume cannot be placed in the world: its affine {problem}."
            raise BrainDiffusionError(msg)
        object.__setattr__(self, "affine", affine)

    @property
    def channels(self) -> int:
        """Channels, or time points."""
        return int(self.data.shape[0])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along x, y and z."""
        x, y, z = self.data.shape[1:]
        return int(x), int(y), int(z)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size along x, y and z, in millimetres."""
        return spacing_of(self.affine)

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in millilitres, sheared or not."""
        return abs(float(np.linalg.det(self.affine[:3, :3]))) / 1000


@dataclass(frozen=True)
class VolumeHeader:
    """Header of a volume file, read without its voxels.

    Attributes:
        shape: Voxels along x, y and z after turning to RAS+.
        channels: Channels, or time points.
        spacing: Voxel size along x, y and z (RAS+), in millimetres.
        orientation: Axis codes of the file as it is stored, such as `PSR`.
        affine: Voxels (RAS+) to millimetres, shape (4, 4).
        dtype: Type of the stored values, before any scaling.
    """

    shape: tuple[int, int, int]
    channels: int
    spacing: tuple[float, float, float]
    orientation: str
    affine: npt.NDArray[np.float64]
    dtype: np.dtype[Any]


def load_volume(path: str | os.PathLike[str]) -> Volume:
    """Read a volume and turn it to RAS+.

    Examples:
        >>> from braindiffusion.example_data import sample_t1_path
        >>> load_volume(sample_t1_path()).spacing
        (2.0, 2.0, 2.0)

    Integers stay integers; values with a slope or an intercept come as floats. A fourth axis (time, channels) becomes
    the channels; of a fifth, only one of the two may be longer than 1.

    Args:
        path: `.nii`, `.nii.gz`, `.img` or `.hdr` (NIfTI pair), `.mgh`, `.mgz`.

    Returns:
        The volume, shape (channels, x, y, z), affine in millimetres.

    Raises:
        BrainDiffusionError: The file is missing, truncated or of another format; says nothing about its place in the
            world; holds colours, complex numbers, NaN or infinities; or is no volume.
    """
    from nibabel.orientations import aff2axcodes

    path = Path(path)
    image, affine = open_image(path)
    check_size(path, image)
    data = read_voxels(path, image)
    # `data` may be a memory map of the file, big-endian at that: what leaves here is neither.
    data = settle_scaled(data, image)
    data = np.moveaxis(data.reshape(*data.shape[:3], -1), -1, 0)
    if data.dtype.kind == "f" and not np.isfinite(data).all():
        count = int(data.size - np.isfinite(data).sum())
        msg = (
            f"{path} holds values that are not numbers (NaN or infinite, {count} of {data.size}): replace them, with 0 "
            "for instance, before you use it."
        )
        raise BrainDiffusionError(msg)
    data, canonical = to_ras(data, affine)
    native = data.dtype.newbyteorder("=")
    if data.dtype == np.longdouble:
        native = np.dtype(np.float64)
    metadata = {
        "source": str(path),
        "orientation": "".join(aff2axcodes(affine)),
        "file_affine": affine.tolist(),
        "header": plain_header(image.header),
    }
    metadata |= kind_and_time(image)
    return Volume(np.array(data, dtype=native, order="C", subok=False), canonical, metadata)


def read_header(path: str | os.PathLike[str]) -> VolumeHeader:
    """Read what a file says about itself, cheaply: no voxel is loaded.

    Raises:
        BrainDiffusionError: As `load_volume`, except for what only the voxels tell.
    """
    from nibabel.orientations import aff2axcodes, inv_ornt_aff, io_orientation

    image, affine = open_image(Path(path))
    ornt = io_orientation(affine)
    canonical = affine @ inv_ornt_aff(ornt, image.shape[:3])
    shape = tuple(int(n) for _, n in sorted(zip(ornt[:, 0], image.shape[:3], strict=True)))
    return VolumeHeader(
        shape=cast("tuple[int, int, int]", shape),
        channels=math.prod(image.shape[3:]),
        spacing=spacing_of(canonical),
        orientation="".join(aff2axcodes(affine)),
        affine=canonical,
        dtype=np.dtype(image.get_data_dtype()),
    )


def to_ras(data: npt.NDArray[Any], affine: npt.NDArray[np.float64]) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    """Turn the axes of an array to the closest RAS+: permuted and flipped, never interpolated.

    Args:
        data: Shape (channels, i, j, k), axes in any order and direction.
        affine: (i, j, k) to world millimetres, shape (4, 4), invertible.

    Returns:
        A view of the data, shape (channels, x, y, z), and its affine.
    """
    from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

    ornt = io_orientation(affine)
    turned = apply_orientation(np.moveaxis(data, 0, -1), ornt)
    return np.moveaxis(turned, -1, 0), affine @ inv_ornt_aff(ornt, data.shape[1:])


def box_affine(shape: tuple[int, int, int], spacing: float) -> npt.NDArray[np.float64]:
    """Return the affine of a box whose middle is at 0 mm: RAS+, isotropic.

    Args:
        shape: Voxels along x, y and z.
        spacing: Voxel size in millimetres.
    """
    affine = np.diag([spacing] * 3 + [1.0])
    affine[:3, 3] = [-spacing * (n - 1) / 2 for n in shape]
    return affine


def resample(volume: Volume, affine: npt.NDArray[np.float64], shape: tuple[int, int, int]) -> Volume:
    """Return a volume on another grid.

    Args:
        volume: Any grid.
        affine: Voxels of the new grid to millimetres, (4, 4).
        shape: Voxels of the new grid along x, y and z.

    Returns:
        Label maps by nearest neighbour, of their type, 0 outside of the old grid; images by linear interpolation, as
        floats, their minimum outside.
    """
    from scipy.ndimage import affine_transform

    labels = volume.metadata.get("kind") == "labels"
    wide = labels or volume.data.dtype in (np.float32, np.float64)
    data: npt.NDArray[Any] = volume.data if wide else volume.data.astype(np.float32)
    outside = 0.0 if labels else float(data.min())
    order: Literal[0, 1] = 0 if labels else 1
    matrix = np.linalg.inv(volume.affine) @ affine
    moved = np.empty((volume.channels, *shape), data.dtype)
    for old, new in zip(data, moved, strict=True):
        # "grid-constant": a place that rounding puts just outside keeps its value.
        affine_transform(old, matrix, output_shape=shape, output=new, order=order, mode="grid-constant", cval=outside)
    kept = {name: value for name, value in volume.metadata.items() if name not in ("orientation", "file_affine")}
    return Volume(moved, affine, kept)


def resample_to_ras(volume: Volume) -> Volume:
    """Resample an oblique volume to a grid along the world's axes, with its spacing, around all of its voxels.

    Args:
        volume: Any volume; see `resample` for the interpolation.

    Returns:
        A volume whose affine is a positive diagonal and a translation; the same one if it has such an affine already.
    """
    spacing = np.array(volume.spacing)
    if np.allclose(volume.affine[:3, :3], np.diag(spacing), atol=1e-6):
        return volume
    ends = [(0, n - 1) for n in volume.shape]
    corners = np.array(np.meshgrid(*ends)).reshape(3, -1)
    world = volume.affine[:3, :3] @ corners + volume.affine[:3, 3:]
    low, high = world.min(axis=1), world.max(axis=1)
    x, y, z = (int(n) + 1 for n in np.ceil((high - low) / spacing - 1e-6))
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = low
    return resample(volume, affine, (x, y, z))


def save_volume(volume: Volume, path: str | os.PathLike[str], *, dtype: npt.DTypeLike | None = None) -> None:
    """Write a volume as NIfTI: whole or not at all, and the same bytes for the same volume.

    Examples:
        >>> from braindiffusion.example_data import sample_t1_path
        >>> save_volume(load_volume(sample_t1_path()), "brain.nii.gz")

    One channel makes a 3D file, several a 4D one (the channels last). sform and qform both hold the affine, unless it
    is sheared: a qform cannot say that. Of the metadata, `kind`, `time_step`, `time_unit` and `description` are written
    (see `Volume`), and the space that `header` says the coordinates are in (scanner, aligned, MNI, ...). Parent folders
    are made.

    Args:
        volume: What to write.
        path: `.nii` or `.nii.gz`.
        dtype: Type of the stored values; None keeps the volume's own (bool becomes uint8, float16 float32, int64
            int32 where it fits). Floats are rounded to the nearest integer where integers are asked for. Values are
            never scaled.

    Raises:
        BrainDiffusionError: Another suffix, values that the type cannot hold, or a folder that cannot be written to.
    """
    path = Path(path)
    if not path.name.lower().endswith(WRITABLE_SUFFIXES):
        msg = f"{path} cannot be written: volumes are saved as .nii.gz or .nii, so give it one of these endings."
        raise BrainDiffusionError(msg)
    image = to_nifti(stored_type(volume.data, dtype, path), volume.affine, volume.metadata)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as beside, beside.open("xb") as file:
            if path.name.lower().endswith(".gz"):
                # Neither name nor time of writing: equal volumes make equal files.
                with gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0) as zipped:
                    image.to_stream(zipped)
            else:
                image.to_stream(cast("BinaryIO", file))
    except OSError as error:
        msg = f"{path} could not be written ({error.strerror or error}): choose another place or free some space."
        raise BrainDiffusionError(msg) from error
