"""Six real brains that come with the package, with their region labels; see `LICENSE.md` beside this file.

The folder has the layout of IXI, so every command runs on it:

    cd src/braindiffusion/example_data
    braindiffusion prepare IXI-T1 --labels labels --participants participants.tsv --out samples.zarr
"""

import csv
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from braindiffusion.errors import BrainDiffusionError

SUBJECTS = (
    "IXI080-HH-1341",
    "IXI056-HH-1327",
    "IXI168-HH-1607",
    "IXI437-HH-2152",
    "IXI161-HH-2533",
    "IXI327-HH-1999",
)
"""Young to old, three women and three men."""


def samples_dir() -> Path:
    """Return the folder with `IXI-T1/`, `labels/` and `participants.tsv`."""
    return Path(__file__).parent


def sample_t1_path(index: int = 0) -> Path:
    """Return the path of a sample's T1w volume: 2 mm, skull-stripped, uint8, background 0.

    Args:
        index: 0 to 5.

    Raises:
        BrainDiffusionError: There is no such sample, or its file is missing from the installation.
    """
    return _existing(samples_dir() / "IXI-T1" / f"{_subject(index)}-T1.nii.gz")


def sample_labels_path(index: int = 0) -> Path:
    """Return the path of a sample's region labels, on the grid of its T1w volume: uint8, names in `dlmuse_names`.

    Raises:
        BrainDiffusionError: As `sample_t1_path`.
    """
    return _existing(samples_dir() / "labels" / f"{_subject(index)}-T1_DLMUSE.nii.gz")


def sample_participants_path() -> Path:
    """Return the path of the table of id, age in years and sex."""
    return _existing(samples_dir() / "participants.tsv")


@cache
def dlmuse_names() -> dict[int, str]:
    """Return region names by label value, background (0) included, as DLMUSE publishes them."""
    with _existing(samples_dir() / "labels" / "labels.tsv").open(newline="", encoding="utf-8") as table:
        return {int(row["value"]): row["name"] for row in csv.DictReader(table, delimiter="\t")}


def mean_heads() -> NDArray[np.uint8]:
    """Return a mean whole head and a mean brain of IXI (T1w), both centred, (2, 40, 40, 40), 8 mm, RAS+."""
    with np.load(_existing(samples_dir() / "mean_heads.npz")) as file:
        heads: NDArray[np.uint8] = file["heads"]
    return heads


def _subject(index: int) -> str:
    if not 0 <= index < len(SUBJECTS):
        msg = f"There is no sample {index}: choose one from 0 to {len(SUBJECTS) - 1}."
        raise BrainDiffusionError(msg)
    return SUBJECTS[index]


def _existing(path: Path) -> Path:
    if not path.is_file():
        msg = f"{path} is missing from the installation: install napari-braindiffusion again."
        raise BrainDiffusionError(msg)
    return path
