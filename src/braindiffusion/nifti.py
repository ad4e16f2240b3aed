"""Reading of NIfTI and MGZ headers by nibabel, checked: an invalid header is explained in one sentence.

The functions import nibabel themselves: it takes 70 ms, and a form that opens reads no volume.
"""

import gzip
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil

from braindiffusion.errors import BrainDiffusionError

READABLE_SUFFIXES = (".nii.gz", ".nii", ".mgz", ".mgh", ".img.gz", ".img", ".hdr.gz", ".hdr")
"""What `load_volume` reads, longest first."""

_MILLIMETRES = {"unknown": 1.0, "mm": 1.0, "meter": 1000.0, "micron": 0.001}
_SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
_INTENT_LABEL = 1002
_MOST_DEFLATED = 1040
"""Deflate makes data at most 1,032 times smaller."""
_DESCRIPTION_BYTES = 79
_GZIPPED = (".gz", ".mgz")
_CHUNK, _MOST_BEYOND = 2**20, 2**30
"""Bytes that are read at once behind the voxels of a compressed file, and the most that may be there."""
SOFTWARE = "BrainDiffusion"
"""Word in the description of every volume that a job writes."""
SYNTHETIC = "BrainDiffusion synthetic"
"""Beginning of the description of a generated volume."""


def volume_stem(path: Path) -> str:
    """Return a file's name without the suffix of a volume."""
    suffix = next((s for s in READABLE_SUFFIXES if path.name.lower().endswith(s)), "")
    return path.name[: len(path.name) - len(suffix)]


def sidecar_path(volume: Path) -> Path:
    """Return the path of a volume's sidecar. A trajectory shares that of the brain it ends in."""
    return volume.with_name(f"{volume_stem(volume).removesuffix('_trajectory')}.json")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what nibabel makes of a broken file into one sentence, and keep its own remarks from the terminal."""
    from nibabel.imageglobals import logger

    def refused(record: logging.LogRecord) -> bool:
        return False

    logger.addFilter(refused)
    try:
        yield
    except Exception as error:  # a corrupt file can make nibabel, zlib and NumPy raise nearly anything
        detail = " ".join(str(error).split())[:120] or type(error).__name__
        msg = (
            f"{path} could not be read; it is damaged, cut short or no NIfTI or MGH file ({detail}): get it again "
            "from its source."
        )
        raise BrainDiffusionError(msg) from error
    finally:
        logger.removeFilter(refused)


def open_image(path: Path) -> tuple[Any, npt.NDArray[np.float64]]:
    """The image, voxels unread, and its affine in millimetres; every check that needs no voxel is done."""
    import nibabel as nib

    if not path.is_file():
        reason = "is a folder, not a file" if path.is_dir() else "does not exist"
        msg = f"{path} {reason}: check the path."
        raise BrainDiffusionError(msg)
    if not path.name.lower().endswith(READABLE_SUFFIXES):
        msg = f"{path} is no volume by its name: NIfTI (.nii, .nii.gz, .img/.hdr) and MGH (.mgh, .mgz) can be read."
        raise BrainDiffusionError(msg)
    with reading(path):
        image: Any = nib.load(path)
    if not isinstance(image, (nib.Nifti1Pair, nib.MGHImage)):
        msg = (
            f"{path} is in the {type(image).__name__} format, which does not tell left from right reliably: convert "
            "it to NIfTI first."
        )
        raise BrainDiffusionError(msg)
    _check_shape(path, image.shape)
    _check_values(path, np.dtype(image.get_data_dtype()))
    return image, _checked_affine(path, image)


def _check_shape(path: Path, shape: tuple[int, ...]) -> None:
    if len(shape) < 3:
        msg = (
            f"{path} has {len(shape)} dimensions ({_times(shape)}) and is no volume: three are needed, or four with "
            "time or channels."
        )
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
        msg = (
            f"{path} holds colours (RGB), not intensities: save one channel or the grey values as a volume and use "
            "that."
        )
        raise BrainDiffusionError(msg)


def read_voxels(path: Path, image: Any) -> npt.NDArray[Any]:
    """Return the values of an image, in the shape and order of the file.

    A compressed file is read to its end: only there its checksum is, which tells damage that decompression does not.

    Raises:
        BrainDiffusionError: the file is cut short or damaged.
    """
    import nibabel as nib

    with reading(path):
        holder = image.file_map["image"]
        if not str(holder.filename).lower().endswith(_GZIPPED):
            return np.asanyarray(image.dataobj)
        with gzip.open(holder.filename) as file:
            opened = {**image.file_map, "image": nib.FileHolder(holder.filename, file)}
            data: npt.NDArray[Any] = np.asanyarray(type(image).from_file_map(opened).dataobj)
            beyond = 0
            while part := file.read(_CHUNK):
                beyond += len(part)
                if beyond > _MOST_BEYOND:
                    raise ValueError("it holds far more than its header says")
        return data


def _header_bytes(image: Any) -> bytes:
    """Return the header as it is in the file: nibabel's own has been repaired."""
    import nibabel as nib

    holder = image.file_map.get("header") or image.file_map["image"]
    with nib.openers.ImageOpener(holder.filename) as file:
        return bytes(file.read(image.header.template_dtype.itemsize))


def _repaired(path: Path, image: Any) -> str:
    """Return what nibabel has silently made up for a header; empty if it is used as it is."""
    import nibabel as nib

    with reading(path):
        stored = _header_bytes(image)
        if isinstance(image, nib.MGHImage):
            flag = int.from_bytes(stored[28:30], "big")  # goodRASFlag
            return "" if flag else "does not say how it lies in the head (its goodRASFlag is 0)"
        header = type(image.header)(stored, check=False)
    first = float(header["vox_offset"])
    if header.is_single and first < header.single_vox_offset:
        return f"says that its voxels begin at byte {first:g}, which is inside of its header (vox_offset)"
    sizes = header["pixdim"][1:4]
    if int(header["sform_code"]) == 0 and not (sizes > 0).all():
        return f"has voxels of {' x '.join(f'{size:g}' for size in sizes)} mm (pixdim)"
    return ""


def _checked_affine(path: Path, image: Any) -> npt.NDArray[np.float64]:
    import nibabel as nib

    header = image.header
    factor = 1.0
    if problem := _repaired(path, image):
        msg = f"{path} {problem}: convert it again from its source."
        raise BrainDiffusionError(msg)
    if isinstance(image, nib.Nifti1Pair):
        if int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
            msg = (
                f"{path} does not say how it lies in the head (sform and qform codes are 0), so left and right "
                "cannot be told: "
                "convert it again from DICOM, or set the sform with a tool that knows its orientation."
            )
            raise BrainDiffusionError(msg)
        with reading(path):
            factor = _MILLIMETRES[header.get_xyzt_units()[0]]
    affine: npt.NDArray[np.float64] = np.diag([factor, factor, factor, 1.0]) @ np.asarray(
        image.affine, dtype=np.float64
    )
    problem = affine_problem(affine)
    if problem:
        msg = f"{path} cannot be placed in the world: its affine {problem}; convert it again from its source."
        raise BrainDiffusionError(msg)
    return affine


def check_size(path: Path, image: Any) -> None:
    """Refuse a volume before memory is taken for its voxels.

    Raises:
        BrainDiffusionError: the file cannot hold as many voxels as its header says, or they do not fit into memory.
    """
    needed = math.prod(image.shape) * np.dtype(image.get_data_dtype()).itemsize
    size, zipped = path.stat().st_size, path.name.lower().endswith((".nii.gz", ".mgz"))
    if zipped and needed > _MOST_DEFLATED * size:
        voxels = _times(image.shape)
        msg = f"{path} is cut short: {size:,} bytes cannot hold the {voxels} voxels of its header; get it again."
        raise BrainDiffusionError(msg)
    if needed > (free := psutil.virtual_memory().available):
        msg = (
            f"{path} needs {needed / 2**30:.1f} GB of memory, and {free / 2**30:.1f} GB are free: close other programs."
        )
        raise BrainDiffusionError(msg)


def affine_problem(affine: npt.NDArray[np.float64]) -> str:
    """Return the fault of an affine, or an empty string."""
    from nibabel.orientations import io_orientation

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


def settle_scaled(data: npt.NDArray[Any], image: Any) -> npt.NDArray[Any]:
    """Scaled 8 and 16 bit integers as float32, where nibabel makes float64 of them.

    Unless a large intercept would eat the digits.
    """
    stored = np.dtype(image.get_data_dtype())
    if data.dtype != np.float64 or stored.kind not in "iu" or stored.itemsize > 2:
        return data
    slope, inter = float(image.dataobj.slope), float(image.dataobj.inter)
    if abs(inter) > abs(slope) * 2**16:
        return data
    return data.astype(np.float32)


def stored_type(data: npt.NDArray[Any], dtype: npt.DTypeLike | None, path: Path) -> npt.NDArray[Any]:
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
        msg = (
            f"{path} cannot be written: NIfTI here holds integers, float32 and float64, not "
            f"{target if dtype is not None else data.dtype}."
        )
        raise BrainDiffusionError(msg)
    if target.kind in "iu":
        if data.dtype.kind == "f":
            data = np.rint(data)
        if not _fits(data, target):
            msg = (
                f"{path} cannot be written as {target}: the values reach from {data.min()} to {data.max()}; choose "
                "a wider type."
            )
            raise BrainDiffusionError(msg)
    return data.astype(target, copy=False)


def _fits(data: npt.NDArray[Any], target: np.dtype[Any]) -> bool:
    """Whether every value lies in the range of an integer type. NaN does not."""
    limits = np.iinfo(target)
    low, high = data.min().item(), data.max().item()
    return bool(math.isfinite(low) and math.isfinite(high) and limits.min <= low and high <= limits.max)


def to_nifti(data: npt.NDArray[Any], affine: npt.NDArray[np.float64], metadata: dict[str, Any]) -> Any:
    """A NIfTI image of data with the shape (channels, x, y, z), of a type that `stored_type` gave."""
    import nibabel as nib

    channels = data.shape[0]
    voxels = data[0] if channels == 1 else np.moveaxis(data, 0, -1)
    # NIfTI-1 counts voxels in 16 bits.
    kind: Any = nib.Nifti1Image if max(voxels.shape) < 2**15 else nib.Nifti2Image
    image = kind(voxels, affine, dtype=data.dtype)
    # What space the coordinates are in (2 aligned, 4 MNI, ...) is the one thing of the old header that affine and
    # voxels do not hold.
    header = metadata.get("header", {})
    code = int(header.get("sform_code", 0) or header.get("qform_code", 0) or 2)
    image.set_sform(affine, code)
    directions = affine[:3, :3] / spacing_of(affine)
    sheared = not np.allclose(directions.T @ directions, np.eye(3), atol=1e-4)
    image.set_qform(affine, 0 if sheared else code)
    step = float(metadata.get("time_step", 0.0))
    timed = channels > 1 and step > 0
    unit = metadata.get("time_unit", "sec")
    unit = unit if unit in _SECONDS else "sec"
    if timed:
        image.header.set_zooms((*spacing_of(affine), step / _SECONDS[unit]))
    image.header.set_xyzt_units("mm", unit if timed or "time_unit" in metadata else 0)
    text = str(metadata.get("description", ""))
    image.header["descrip"] = text.encode("latin-1", "replace")[:_DESCRIPTION_BYTES]
    if metadata.get("kind") == "labels":
        image.header.set_intent("label")
    return image


def kind_and_time(image: Any) -> dict[str, Any]:
    """Return what a NIfTI header says beyond the grid: label map or not, time between channels, description."""
    import nibabel as nib

    if not isinstance(image, nib.Nifti1Pair):
        return {}
    known: dict[str, Any] = {}
    if int(image.header["intent_code"]) == _INTENT_LABEL:
        known["kind"] = "labels"
    unit = image.header.get_xyzt_units()[1]
    if unit in _SECONDS:
        known["time_unit"] = unit
        step = float(image.header["pixdim"][4]) * _SECONDS[unit]
        if len(image.shape) > 3 and image.shape[3] > 1 and math.isfinite(step) and step > 0:
            known["time_step"] = step
    if text := image.header["descrip"].item().decode("latin-1").rstrip("\x00 "):
        known["description"] = text
    return known


def header_description(path: Path) -> str:
    """Return the free text in a NIfTI header; empty where there is none, or no file that can be read."""
    import nibabel as nib

    try:
        with reading(path):
            return str(kind_and_time(nib.load(path)).get("description", ""))
    except BrainDiffusionError:
        return ""


def plain_header(header: Any) -> dict[str, Any]:
    """The header's fields as numbers, strings and lists."""
    plain: dict[str, Any] = {}
    for key in header.keys():  # noqa: SIM118  nibabel headers iterate over keys() only
        value = np.asarray(header[key])
        if value.dtype.kind == "S":
            plain[key] = value.item().decode("latin-1").rstrip("\x00")
        elif np.isfinite(value).all():
            plain[key] = value.tolist()
    return plain


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape)


def spacing_of(affine: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """Voxel size along the three axes, in millimetres."""
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    return float(x), float(y), float(z)
