"""What usually lies beside a folder of volumes: region labels, and a table of who they are."""

import os
from pathlib import Path

from braindiffusion.example_data import samples_dir

PARTICIPANTS = ("participants.tsv", "participants.csv", "IXI.xls")
LABELS = ("labels", "segmentations")


def find_participants(folder: Path) -> Path | None:
    """The participants table in a folder or beside it."""
    candidates = (place / name for place in (folder, folder.parent) for name in PARTICIPANTS)
    return next((path for path in candidates if path.is_file()), None)


def find_labels(folder: Path) -> Path | None:
    """The folder of region label maps in a folder or beside it."""
    candidates = (place / name for place in (folder, folder.parent) for name in LABELS)
    return next((path for path in candidates if path.is_dir() and path != folder), None)


def default_store(folder: Path, spacing: float) -> Path:
    """Where a prepared cohort would go: beside the folder if one may write there, else into the user's own."""
    place = folder.parent if os.access(folder.parent, os.W_OK) and not _is_installed(folder) else Path.home()
    return place / f"{folder.name}-{spacing:g}mm.zarr"


def _is_installed(folder: Path) -> bool:
    """Whether the folder is part of this package: its samples are looked at, and nothing is written beside them."""
    return folder.resolve().is_relative_to(samples_dir())
