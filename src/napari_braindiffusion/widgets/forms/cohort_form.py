"""The form of a preprocessing: a folder of volumes in, a cohort out."""

import os
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from braindiffusion.cohort.demographics import find_participants
from braindiffusion.example_data import samples_dir
from braindiffusion.runs import InspectRequest, PrepareRequest
from napari_braindiffusion.widgets.forms.request_form import RequestForm

BASIC = ("data_dir", "labels", "participants", "table", "modality", "spacing", "out")
ADVANCED = ("skull", "shape", "workers")
SOURCES = ("labels", "participants", "modality")
"""Fields that decide, with the folder, which subjects are found."""
LABELS = ("labels", "segmentations")


class CohortForm(RequestForm):
    """The settings of a `PrepareRequest`, and of the `InspectRequest` for the same folder."""

    sources_changed = Signal()
    """The folder, the label maps, the participants file or the modality has changed: the subjects may be others."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(
            PrepareRequest,
            BASIC,
            ADVANCED,
            options={
                "data_dir": {"mode": "d", "default": "IXI, BIDS or any folder"},
                "labels": {"mode": "d", "default": "none"},
                "participants": {
                    "mode": "r",
                    "default": "none",
                    "filter": "Tables (*.tsv *.csv *.xls *.xlsx);;All (*)",
                },
                "table": {"mode": "rm", "default": "none", "filter": "Tables (*.tsv *.csv *.xls *.xlsx);;All (*)"},
                "out": {"mode": "w", "default": "cohort.zarr", "filter": "Zarr (*.zarr)"},
            },
            parent=parent,
        )
        self._guessing = False
        self._suggested: Path | None = None
        self.fields["data_dir"].changed.connect(self._on_folder)
        self.fields["spacing"].changed.connect(self._suggest_store)
        for name in SOURCES:
            self.fields[name].changed.connect(self._on_source)

    def request(self, subjects: tuple[str, ...] | None = None) -> PrepareRequest | None:
        """Return the preprocessing of some subjects; None as long as there is no folder or no output.

        Raises:
            BrainDiffusionError: a value does not fit.
        """
        return None if self.missing() else self.make_request(subjects=subjects)

    def inspection(self) -> InspectRequest | None:
        """Return the inspection of the same folder; None as long as there is none."""
        values = self.values()
        if values["data_dir"] is None:
            return None
        return InspectRequest(**{name: values[name] for name in ("data_dir", *SOURCES)})

    def _on_folder(self, folder: Path | None) -> None:
        self._guessing = True  # three changes, one signal
        if folder is not None:
            self.fields["labels"].value = find_labels(folder)
            self.fields["participants"].value = find_participants(folder)
        self._suggest_store()
        self._guessing = False
        self.sources_changed.emit()

    def _on_source(self, _: object = None) -> None:
        if not self._guessing:
            self.sources_changed.emit()

    def _suggest_store(self, _: object = None) -> None:
        folder, out = self.fields["data_dir"].value, self.fields["out"]
        if folder is not None and out.value in (None, self._suggested):  # a path that the user typed stays
            self._suggested = default_store(folder, self.fields["spacing"].value)
            out.value = self._suggested


def find_labels(folder: Path) -> Path | None:
    """The folder of region label maps in a folder or beside it."""
    candidates = (place / name for place in (folder, folder.parent) for name in LABELS)
    return next((path for path in candidates if path.is_dir() and path != folder), None)


def default_store(folder: Path, spacing: float) -> Path:
    """Return the default path of a cohort: beside the folder if one may write there, else into the user's own."""
    place = folder.parent if os.access(folder.parent, os.W_OK) and not _is_installed(folder) else Path.home()
    return place / f"{folder.name}-{spacing:g}mm.zarr"


def _is_installed(folder: Path) -> bool:
    """Whether the folder is part of this package: its samples are looked at, and nothing is written beside them."""
    return folder.resolve().is_relative_to(samples_dir())
