"""What may identify a person or a machine, left out of what is shared: texts of headers, fields of sidecars, paths."""

import gzip
import math
import re
import shlex
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import nibabel as nib
import numpy as np

from braindiffusion.nifti import SYNTHETIC, open_image, reading
from braindiffusion.runs.sidecar import is_generated
from braindiffusion.volume import load_volume, save_volume

ACQUISITION = frozenset({
    "Modality", "MagneticFieldStrength", "Manufacturer", "ManufacturersModelName", "SoftwareVersions",
    "ReceiveCoilName", "ReceiveCoilActiveElements", "PulseSequenceType", "ScanningSequence", "SequenceVariant",
    "ScanOptions", "SequenceName", "NonlinearGradientCorrection", "MRAcquisitionType", "MTState", "SpoilingState",
    "ImageType", "EchoTime", "RepetitionTime", "RepetitionTimeExcitation", "InversionTime", "FlipAngle",
    "DwellTime", "EchoTrainLength", "PixelBandwidth", "SliceThickness", "SpacingBetweenSlices",
    "ParallelReductionFactorInPlane", "ParallelAcquisitionTechnique", "PartialFourier", "PercentPhaseFOV",
    "PercentSampling", "BaseResolution", "PhaseResolution", "AcquisitionMatrixPE", "ReconMatrixPE",
    "PhaseEncodingDirection", "EffectiveEchoSpacing", "TotalReadoutTime", "PatientPosition", "BodyPart",
    "BodyPartExamined", "SkullStripped", "Atlas", "Units", "ConversionSoftware", "ConversionSoftwareVersion",
})  # fmt: skip
"""Fields of BIDS sidecars that say how a scan was made, and nothing of whom."""
TEXTS = ("descrip", "aux_file", "db_name", "intent_name")
"""Free text of a NIfTI header."""
_OWN_FIELD = re.compile(r"[a-z][a-z0-9_]*")
_LONGEST = 200


def shareable(sidecar: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return what of a sidecar may be shared, and the names of the fields that are left out.

    Of a scan, the fields of the acquisition are kept; of a generated brain also its provenance, without the folders of
    the machine that it was generated on.
    """
    own = is_generated(sidecar)
    kept = {
        name: _without_folders(value, name)
        for name, value in sidecar.items()
        if (own and _OWN_FIELD.fullmatch(name)) or (name in ACQUISITION and _is_plain(value))
    }
    return kept, sorted(set(sidecar) - set(kept))


def place(source: Path, target: Path) -> None:
    """Write a volume as `.nii.gz`, its voxels and its position unchanged, without free text and extensions.

    Raises:
        BrainDiffusionError: it cannot be read.
        OSError: it cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    image, _ = open_image(source)
    if not source.name.lower().endswith(".nii.gz") or not isinstance(image, nib.Nifti1Image):
        volume = load_volume(source)
        volume.metadata.pop("description", None)
        save_volume(volume, target)
        return
    proxy: Any = image.dataobj
    with reading(source), gzip.open(source) as file:
        header = type(image.header).from_fileobj(file, check=False)
        for name in TEXTS:
            text = header[name].item()
            header[name] = text if name == "descrip" and text.startswith(SYNTHETIC.encode()) else b""
        file.seek(int(proxy.offset))
        voxels = file.read(math.prod(image.shape) * proxy.dtype.itemsize)
        np.frombuffer(voxels, proxy.dtype).reshape(image.shape)  # says where some are missing
        header["vox_offset"] = len(header.binaryblock) + 4
    with target.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as zipped:
        zipped.write(header.binaryblock + bytes(4))
        zipped.write(voxels)


def _without_folders(value: Any, name: str = "") -> Any:
    if isinstance(value, Mapping):
        return {key: _without_folders(one, str(key)) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_folders(one) for one in value]
    if not isinstance(value, str):
        return value
    if name == "command":
        try:
            return shlex.join(file_name(part) for part in shlex.split(value))
        except ValueError:  # a quote that does not end
            return ""
    return file_name(value)


def file_name(text: str) -> str:
    """Return a text with the folders of an absolute path left out, after `FIELD=` too."""
    field, equals, path = text.rpartition("=")
    is_path = PurePosixPath(path).is_absolute() or PureWindowsPath(path).is_absolute() or path.startswith("~")
    return f"{field}{equals}{PureWindowsPath(path).name}" if is_path else text


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return len(value) <= _LONGEST and all(_is_plain(one) and not isinstance(one, list | tuple) for one in value)
    return isinstance(value, int | float) or (
        isinstance(value, str) and len(value) <= _LONGEST and file_name(value) == value
    )
