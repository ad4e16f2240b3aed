"""Volume = voxels + affine. Orientation is settled here, once, at the door: nothing further in asks about it.

Reads NIfTI-1 and NIfTI-2 (`.nii`, `.nii.gz`, `.img`/`.hdr`) and MGH (`.mgh`, `.mgz`) through nibabel, turns the axes to the closest
RAS+ (a permutation and flips, never an interpolation), and writes NIfTI. Every voxel keeps its place in the world.
"""

import gzip
import math
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.orientations import aff2axcodes, apply_orientation, inv_ornt_aff, io_orientation

from braindiffusion.errors import BrainDiffusionError

READABLE_SUFFIXES = (".nii.gz", ".nii", ".mgz", ".mgh", ".img.gz", ".img", ".hdr.gz", ".hdr")
"""What `load_volume` reads, longest first."""
WRITABLE_SUFFIXES = (".nii.gz", ".nii")
"""What `save_volume` writes."""

AXES = ("x", "y", "z")

_MILLIMETRES = {"unknown": 1.0, "mm": 1.0, "meter": 1000.0, "micron": 0.001}
_GZIP_LEVEL = 6


@dataclass(frozen=True, eq=False)
class Volume:
    """A brain as it crosses between rooms.

    Attributes:
        data: Voxels, shape (channels, x, y, z), axes towards right, anterior and superior (RAS+). Time is a channel axis too.
        affine: Voxel indices (x, y, z) to world millimetres, shape (4, 4), float64. It may be oblique.
        metadata: Whatever is known beside; every value fits into JSON. `load_volume` fills in `source` (path), `orientation` (the file's
            own axis codes, such as `PSR`), `file_affine` (as stored, in millimetres) and `header` (the file's fields).
    """

    data: npt.NDArray[Any]
    affine: npt.NDArray[np.float64]
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.data.ndim != 4 or 0 in self.data.shape:
            msg = f"A volume's data have the shape (channels, x, y, z), none of them empty, not {self.data.shape}."
            raise BrainDiffusionError(msg)
        affine = np.array(self.affine, dtype=np.float64)
        problem = _affine_problem(affine)
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
        return _spacing(self.affine)


@dataclass(frozen=True)
class VolumeHeader:
    """What a file says about itself, its voxels unread.

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

    Integers stay integers; values with a slope or an intercept come as floats. A fourth axis (time, channels) becomes the channels; of a fifth,
    only one of the two may be longer than 1.

    Args:
        path: `.nii`, `.nii.gz`, `.img` or `.hdr` (NIfTI pair), `.mgh`, `.mgz`.

    Returns:
        The volume, shape (channels, x, y, z), affine in millimetres.

    Raises:
        BrainDiffusionError: The file is missing, truncated or of another format; says nothing about its place in the world; holds colours,
            complex numbers, NaN or infinities; or is no volume.
    """
    path = Path(path)
    image, affine = _open(path)
    with _reading(path):
        data = np.asanyarray(image.dataobj)
    # `data` may be a memory map of the file, big-endian at that: what leaves here is neither.
    data = _settle_scaled(data, image)
    data = np.moveaxis(data.reshape(*data.shape[:3], -1), -1, 0)
    if data.dtype.kind == "f" and not np.isfinite(data).all():
        count = int(data.size - np.isfinite(data).sum())
        msg = f"{path} holds {count} values that are not numbers (NaN or infinite): replace them, with 0 for instance, before you use it."
        raise BrainDiffusionError(msg)
    data, canonical = to_ras(data, affine)
    native = data.dtype.newbyteorder("=")
    if data.dtype == np.longdouble:
        native = np.dtype(np.float64)
    metadata = {
        "source": str(path),
        "orientation": "".join(aff2axcodes(affine)),
        "file_affine": affine.tolist(),
        "header": _plain_header(image.header),
    }
    return Volume(np.array(data, dtype=native, order="C", subok=False), canonical, metadata)


def read_header(path: str | os.PathLike[str]) -> VolumeHeader:
    """Read what a file says about itself, cheaply: no voxel is loaded.

    Raises:
        BrainDiffusionError: As `load_volume`, except for what only the voxels tell.
    """
    image, affine = _open(Path(path))
    ornt = io_orientation(affine)
    canonical = affine @ inv_ornt_aff(ornt, image.shape[:3])
    shape = tuple(int(n) for _, n in sorted(zip(ornt[:, 0], image.shape[:3], strict=True)))
    return VolumeHeader(
        shape=cast("tuple[int, int, int]", shape),
        channels=math.prod(image.shape[3:]),
        spacing=_spacing(canonical),
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
    ornt = io_orientation(affine)
    turned = apply_orientation(np.moveaxis(data, 0, -1), ornt)
    return np.moveaxis(turned, -1, 0), affine @ inv_ornt_aff(ornt, data.shape[1:])


def save_volume(volume: Volume, path: str | os.PathLike[str], *, dtype: npt.DTypeLike | None = None) -> None:
    """Write a volume as NIfTI: whole or not at all, and the same bytes for the same volume.

    One channel makes a 3D file, several a 4D one (the channels last). sform and qform both hold the affine, unless it is sheared: a
    qform cannot say that. Parent folders are made.

    Args:
        volume: What to write.
        path: `.nii` or `.nii.gz`.
        dtype: Type of the stored values; None keeps the volume's own (bool becomes uint8, float16 float32, int64 int32 where it fits). Floats
            are rounded to the nearest integer where integers are asked for. Values are never scaled.

    Raises:
        BrainDiffusionError: Another suffix, values that the type cannot hold, or a folder that cannot be written to.
    """
    path = Path(path)
    if not path.name.lower().endswith(WRITABLE_SUFFIXES):
        msg = f"{path} cannot be written: volumes are saved as .nii.gz or .nii, so give it one of these endings."
        raise BrainDiffusionError(msg)
    image = _to_nifti(volume, _stored_type(volume.data, dtype, path))
    # Beside the target, so that the rename stays within one file system.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            if path.name.lower().endswith(".gz"):
                # Neither name nor time of writing: equal volumes make equal files.
                with gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0) as zipped:
                    image.to_stream(zipped)
            else:
                image.to_stream(cast("BinaryIO", file))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        msg = f"{path} could not be written ({error.strerror or error}): choose another place or free some space."
        raise BrainDiffusionError(msg) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what nibabel makes of a broken file into one sentence."""
    try:
        yield
    except Exception as error:  # a corrupt file can make nibabel, zlib and NumPy raise nearly anything
        detail = " ".join(str(error).split())[:120] or type(error).__name__
        msg = f"{path} could not be read; it is damaged, cut short or no NIfTI or MGH file ({detail}): get it again from its source."
        raise BrainDiffusionError(msg) from error


def _open(path: Path) -> tuple[Any, npt.NDArray[np.float64]]:
    """The image, voxels unread, and its affine in millimetres; every check that needs no voxel is done."""
    if not path.is_file():
        reason = "is a folder, not a file" if path.is_dir() else "does not exist"
        msg = f"{path} {reason}: check the path."
        raise BrainDiffusionError(msg)
    if not path.name.lower().endswith(READABLE_SUFFIXES):
        msg = f"{path} is no volume by its name: NIfTI (.nii, .nii.gz, .img/.hdr) and MGH (.mgh, .mgz) can be read."
        raise BrainDiffusionError(msg)
    with _reading(path):
        image: Any = nib.load(path)
    if not isinstance(image, (nib.Nifti1Pair, nib.MGHImage)):
        msg = f"{path} is in the {type(image).__name__} format, which does not tell left from right reliably: convert it to NIfTI first."
        raise BrainDiffusionError(msg)
    _check_shape(path, image.shape)
    _check_values(path, np.dtype(image.get_data_dtype()))
    return image, _checked_affine(path, image)


def _check_shape(path: Path, shape: tuple[int, ...]) -> None:
    if len(shape) < 3:
        msg = f"{path} has {len(shape)} dimensions ({_times(shape)}) and is no volume: three are needed, or four with time or channels."
        raise BrainDiffusionError(msg)
    if 0 in shape:
        msg = f"{path} is empty: its header says {_times(shape)} voxels; get it again from its source."
        raise BrainDiffusionError(msg)
    if sum(n > 1 for n in shape[3:]) > 1:
        msg = f"{path} has time and channels at once ({_times(shape)}): split it into volumes of four dimensions."
        raise BrainDiffusionError(msg)


def _check_values(path: Path, dtype: np.dtype[Any]) -> None:
    if dtype.kind == "c":
        msg = f"{path} holds complex numbers: save its magnitude as a volume and use that."
        raise BrainDiffusionError(msg)
    if dtype.kind not in "iuf":
        msg = f"{path} holds colours (RGB), not intensities: save one channel or the grey values as a volume and use that."
        raise BrainDiffusionError(msg)


def _checked_affine(path: Path, image: Any) -> npt.NDArray[np.float64]:
    header = image.header
    factor = 1.0
    if isinstance(image, nib.Nifti1Pair):
        if int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
            msg = (
                f"{path} does not say how it lies in the head (sform and qform codes are 0), so left and right cannot be told: "
                "convert it again from DICOM, or set the sform with a tool that knows its orientation."
            )
            raise BrainDiffusionError(msg)
        with _reading(path):
            factor = _MILLIMETRES[header.get_xyzt_units()[0]]
    affine: npt.NDArray[np.float64] = np.diag([factor, factor, factor, 1.0]) @ np.asarray(
        image.affine, dtype=np.float64
    )
    problem = _affine_problem(affine)
    if problem:
        msg = f"{path} cannot be placed in the world: its affine {problem}; convert it again from its source."
        raise BrainDiffusionError(msg)
    return affine


def _affine_problem(affine: npt.NDArray[np.float64]) -> str:
    """What is wrong with an affine, or an empty string."""
    if affine.shape != (4, 4):
        return f"has the shape {affine.shape}, not (4, 4)"
    if not np.isfinite(affine).all():
        return "holds NaN or infinite numbers"
    if not np.array_equal(affine[3], [0, 0, 0, 1]):
        return "does not end in the row 0 0 0 1"
    norms = np.linalg.norm(affine[:3, :3], axis=0)
    if (norms == 0).any() or abs(np.linalg.det(affine[:3, :3] / norms)) < 1e-4:
        return "is singular (it squashes the volume flat)"
    if np.isnan(io_orientation(affine)).any():
        return "gives an axis no direction"
    return ""


def _settle_scaled(data: npt.NDArray[Any], image: Any) -> npt.NDArray[Any]:
    """Scaled 8 and 16 bit integers need no float64, which nibabel makes of them, unless a large intercept eats the digits."""
    stored = np.dtype(image.get_data_dtype())
    if data.dtype != np.float64 or stored.kind not in "iu" or stored.itemsize > 2:
        return data
    slope, inter = float(image.dataobj.slope), float(image.dataobj.inter)
    if abs(inter) > abs(slope) * 2**16:
        return data
    return data.astype(np.float32)


def _stored_type(data: npt.NDArray[Any], dtype: npt.DTypeLike | None, path: Path) -> npt.NDArray[Any]:
    """The data as they will lie in the file."""
    if data.dtype == bool:
        data = data.view(np.uint8)
    target = np.dtype(dtype) if dtype is not None else data.dtype.newbyteorder("=")
    if dtype is None:
        if target == np.float16:
            target = np.dtype(np.float32)
        elif target == np.longdouble:
            target = np.dtype(np.float64)
        elif target in (np.dtype(np.int64), np.dtype(np.uint64)) and _fits(data, np.dtype(np.int32)):
            target = np.dtype(np.int32)  # few tools read 64 bit integers
    if (
        target.kind not in "iuf"
        or target in (np.dtype(np.float16), np.dtype(np.longdouble))
        or data.dtype.kind not in "iuf"
    ):
        msg = f"{path} cannot be written: NIfTI here holds integers, float32 and float64, not {target if dtype is not None else data.dtype}."
        raise BrainDiffusionError(msg)
    if target.kind in "iu":
        if data.dtype.kind == "f":
            data = np.rint(data)
        if not _fits(data, target):
            msg = f"{path} cannot be written as {target}: the values reach from {data.min()} to {data.max()}; choose a wider type."
            raise BrainDiffusionError(msg)
    return data.astype(target, copy=False)


def _fits(data: npt.NDArray[Any], target: np.dtype[Any]) -> bool:
    """Whether every value lies in the range of an integer type. NaN does not."""
    limits = np.iinfo(target)
    low, high = data.min().item(), data.max().item()
    return bool(math.isfinite(low) and math.isfinite(high) and limits.min <= low and high <= limits.max)


def _to_nifti(volume: Volume, data: npt.NDArray[Any]) -> Any:
    metadata = volume.metadata
    header = metadata.get("header", {})
    voxels = data[0] if volume.channels == 1 else np.moveaxis(data, 0, -1)
    # NIfTI-1 counts voxels in 16 bits.
    kind = nib.Nifti1Image if max(voxels.shape) < 2**15 else nib.Nifti2Image
    image = kind(voxels, volume.affine, dtype=data.dtype)
    # What space the coordinates are in (2 aligned, 4 MNI, ...) is the one thing of the old header that affine and voxels do not hold.
    code = int(header.get("sform_code", 0) or header.get("qform_code", 0) or 2)
    image.set_sform(volume.affine, code)
    directions = volume.affine[:3, :3] / volume.spacing
    sheared = not np.allclose(directions.T @ directions, np.eye(3), atol=1e-4)
    image.set_qform(volume.affine, 0 if sheared else code)
    step = float(metadata.get("time_step", 0.0))
    if volume.channels > 1 and step > 0:
        image.header.set_zooms((*volume.spacing, step))
    image.header.set_xyzt_units("mm", "sec" if volume.channels > 1 and step > 0 else 0)
    return image


def _plain_header(header: Any) -> dict[str, Any]:
    """The header's fields as numbers, strings and lists."""
    plain: dict[str, Any] = {}
    for key in header.keys():  # noqa: SIM118  nibabel headers iterate over keys() only
        value = np.asarray(header[key])
        if value.dtype.kind == "S":
            plain[key] = value.item().decode("latin-1").rstrip("\x00")
        elif np.isfinite(value).all():
            plain[key] = value.tolist()
    return plain


def _spacing(affine: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    return float(x), float(y), float(z)


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape)
