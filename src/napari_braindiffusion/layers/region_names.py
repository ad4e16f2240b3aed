"""Names of the regions in a label map, for the `features` of a Labels layer."""

import csv
from collections.abc import Iterable
from pathlib import Path

from braindiffusion.example_data import dlmuse_names
from braindiffusion.regions import REGION_NAMES, freesurfer_names


def names_of_labels(values: Iterable[int]) -> dict[int, str] | None:
    """Return the names of a label scheme that has all these values, or None.

    Args:
        values: Of the label map. Known are the region table, DLMUSE and FreeSurfer, in this order.
    """
    present = {int(value) for value in values}
    schemes = (REGION_NAMES, dlmuse_names(), freesurfer_names())
    return next((names for names in schemes if present <= set(names)), None)


def names_beside(path: Path, stem: str) -> dict[int, str] | None:
    """Return the names in the BIDS look-up table beside a label map, or None.

    Args:
        path: Of the label map.
        stem: Its name without suffix; the table is `<stem>.tsv` with the columns `index` and `name`.
    """
    table = path.with_name(f"{stem}.tsv")
    if not table.is_file():
        return None
    try:
        with table.open(newline="", encoding="utf-8") as file:
            return {int(row["index"]): row["name"] for row in csv.DictReader(file, delimiter="\t")}
    except (OSError, KeyError, TypeError, ValueError):  # another table
        return None
