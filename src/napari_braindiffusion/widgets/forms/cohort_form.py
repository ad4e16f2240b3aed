"""Where the brains are, and how they shall be prepared."""

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QWidget

from braindiffusion.runs import InspectRequest, PrepareRequest
from napari_braindiffusion.io.find_inputs import default_store, find_labels, find_participants
from napari_braindiffusion.widgets.forms.layout import form_layout
from napari_braindiffusion.widgets.forms.path_row import PathRow

MODALITIES = ("T1", "T2", "PD")


class CohortForm(QWidget):
    """Folder, labels, participants, modality, spacing and the store to write."""

    sources_changed = Signal()
    """The folder, the labels, the participants or the modality are others now: look again."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.folder = PathRow(
            "folder",
            placeholder="IXI, BIDS or any folder",
            tooltip="IXI as it is published, a BIDS dataset, or any folder of volumes.",
        )
        self.labels = PathRow(
            "folder",
            placeholder="none",
            tooltip="Region label maps, one a subject. They tell the brain from the rest of the head.",
        )
        self.participants = PathRow(
            "file",
            placeholder="none",
            tooltip="IXI.xls, or a table with columns for id, age and sex.",
            filters="Tables (*.tsv *.csv *.xls *.xlsx);;All files (*)",
        )
        self.modality = QComboBox()
        self.modality.addItems(MODALITIES)
        self.modality.setToolTip("Which of the volumes to take, where their names tell.")
        self.spacing = QDoubleSpinBox()
        self.spacing.setRange(0.5, 8.0)
        self.spacing.setSingleStep(0.5)
        self.spacing.setValue(2.0)
        self.spacing.setSuffix(" mm")
        self.spacing.setToolTip("Voxel size that all volumes are brought to.")
        self.out = PathRow(
            "save",
            placeholder="cohort.zarr",
            tooltip="The prepared cohort. A half-written one is continued.",
            filters="Zarr (*.zarr)",
        )
        form = form_layout(self)
        form.addRow("&Folder", self.folder)
        form.addRow("&Labels", self.labels)
        form.addRow("&People", self.participants)
        form.addRow("&Modality", self.modality)
        form.addRow("&Spacing", self.spacing)
        form.addRow("&Write to", self.out)
        self.folder.path_changed.connect(self._on_folder)
        self.spacing.valueChanged.connect(self._suggest_store)
        for row in (self.labels, self.participants):
            row.path_changed.connect(self._on_source)
        self.modality.currentIndexChanged.connect(self._on_source)
        self._guessing = False
        self._suggested: Path | None = None

    def request(self, subjects: tuple[str, ...] | None = None) -> PrepareRequest | None:
        """What is asked for; None as long as there is no folder or no store."""
        folder, out = self.folder.path, self.out.path
        if folder is None or out is None:
            return None
        labels, participants = self.labels.path, self.participants.path
        return PrepareRequest(
            data_dir=folder.absolute(),
            out=out.absolute(),
            labels=labels.absolute() if labels is not None else None,
            participants=participants.absolute() if participants is not None else None,
            modality=self.modality.currentText(),
            spacing=self.spacing.value(),
            subjects=subjects,
        )

    def inspection(self) -> InspectRequest | None:
        """The same folder, only to look at; None as long as there is none."""
        folder, labels, participants = self.folder.path, self.labels.path, self.participants.path
        if folder is None:
            return None
        return InspectRequest(
            data_dir=folder.absolute(),
            labels=labels.absolute() if labels is not None else None,
            participants=participants.absolute() if participants is not None else None,
            modality=self.modality.currentText(),
        )

    def _on_folder(self, folder: Path | None) -> None:
        self._guessing = True  # three changes, one look
        if folder is not None:
            self.labels.set_path(find_labels(folder))
            self.participants.set_path(find_participants(folder))
        self._suggest_store()
        self._guessing = False
        self.sources_changed.emit()

    def _on_source(self) -> None:
        if not self._guessing:
            self.sources_changed.emit()

    def _suggest_store(self) -> None:
        # A path that the user typed stays.
        if self.folder.path is not None and self.out.path in (None, self._suggested):
            self._suggested = default_store(self.folder.path, self.spacing.value())
            self.out.set_path(self._suggested)
