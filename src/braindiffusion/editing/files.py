"""An edited scan as a file: header, orientation, stored type and scale of the scan's own file."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform
from numpy.typing import NDArray

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.files import replacing
from braindiffusion.nifti import open_image, reading
from braindiffusion.volume import Volume, save_volume


def save_like(volume: Volume, painted: NDArray[np.bool_], source: Path, path: Path) -> None:
    """Write an edited scan: the file that it was read from, with other values in the painted voxels.

    The numbers stored for all other voxels, and the header, are those of the source. What is no NIfTI file (MGZ) is
    written as NIfTI in RAS+.

    Args:
        volume: the edited scan, one channel, as `load_volume` turned it.
        painted: (x, y, z) on its grid.
        source: the scan's file.
        path: `.nii.gz`.

    Raises:
        BrainDiffusionError: the source cannot be read, or the folder cannot be written to.
    """
    image, _ = open_image(source)
    if not isinstance(image, nib.Nifti1Pair):
        save_volume(volume, path)
        return
    to_file = ornt_transform(axcodes2ornt(("R", "A", "S")), io_orientation(image.affine))
    edited, there = (apply_orientation(one, to_file).reshape(image.shape) for one in (volume.data[0], painted))
    stored: Any = image.dataobj
    slope, inter = float(stored.slope), float(stored.inter)
    with reading(source):
        data = np.array(stored.get_unscaled())
    values = (edited[there].astype(np.float64) - inter) / slope
    if data.dtype.kind in "iu":
        limits = np.iinfo(data.dtype)
        values = np.rint(values).clip(limits.min, limits.max)
    data[there] = values
    kind: Any = nib.Nifti2Image if isinstance(image, nib.Nifti2Pair) else nib.Nifti1Image
    written = kind(data, None, image.header)
    if (slope, inter) != (1.0, 0.0):
        written.header.set_slope_inter(slope, inter)  # nibabel then writes the numbers as they are
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as beside:
            nib.save(written, beside)
    except OSError as error:
        msg = f"{path} could not be written ({error.strerror or error}): choose another place or free some space."
        raise BrainDiffusionError(msg) from error
