"""The names of the values of label maps: of the table of regions, of DLMUSE or of FreeSurfer."""

from collections.abc import Sequence
from pathlib import Path

from braindiffusion.cohort.qc.labels import label_values
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.example_data import dlmuse_names
from braindiffusion.export.brains import Brain
from braindiffusion.regions import REGION_NAMES, Scheme, freesurfer_names, scheme_of
from braindiffusion.volume import load_volume


def names_of_labels(brains: Sequence[Brain]) -> dict[int, str]:
    """Return the names of the values of all label maps; empty where a map is of a scheme that is not known.

    Raises:
        BrainDiffusionError: a map cannot be read, or two have values of different schemes: one table of names could not
            be right for both.
    """
    found: dict[Scheme | None, Path] = {}
    for path in dict.fromkeys(brain.labels for brain in brains if brain.labels is not None):
        labels = load_volume(path)
        try:
            scheme = scheme_of(label_values(labels), labels.spacing)
        except BrainDiffusionError:  # it is no map of regions
            scheme = None
        found.setdefault(scheme, path)
    if None in found:
        return {}
    if len(found) > 1:
        schemes = " and ".join(f"{_words(scheme)} ({path})" for scheme, path in found.items())
        raise BrainDiffusionError(
            f"The label maps hold {schemes}, and share one table of names: export them to datasets of their own."
        )
    return names(next(iter(found), None))


def names(scheme: Scheme | None) -> dict[int, str]:
    """Return the names of the values of a scheme; empty for None."""
    if scheme == "regions":
        return REGION_NAMES
    if scheme == "FreeSurfer":
        return freesurfer_names()
    return dlmuse_names() if scheme == "DLMUSE" else {}


def _words(scheme: Scheme | None) -> str:
    return "the regions of BrainDiffusion" if scheme == "regions" else f"values of {scheme}"
