"""What usually lies beside a folder of volumes: region labels, and a table of who they are."""

from pathlib import Path

PARTICIPANTS = ("participants.tsv", "participants.csv", "IXI.xls")
LABELS = ("labels", "segmentations")


def participants_beside(folder: Path) -> Path | None:
    """The participants table in a folder or beside it."""
    candidates = (place / name for place in (folder, folder.parent) for name in PARTICIPANTS)
    return next((path for path in candidates if path.is_file()), None)


def labels_beside(folder: Path) -> Path | None:
    """The folder of region label maps in a folder or beside it."""
    candidates = (place / name for place in (folder, folder.parent) for name in LABELS)
    return next((path for path in candidates if path.is_dir() and path != folder), None)


def store_beside(folder: Path, spacing: float) -> Path:
    """Where a prepared cohort would go: beside the folder, its name and spacing in its own."""
    return folder.parent / f"{folder.name}-{spacing:g}mm.zarr"
