"""The dialog of every export: what, as what, and where to."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QVBoxLayout, QWidget

from napari_braindiffusion.widgets.forms.request_form import RequestForm

FORMATS = {"nifti": "NIfTI files with sidecars", "bids": "BIDS dataset"}


class ExportChoice(BaseModel):
    """An export, as the user wants it."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    what: Literal["layers", "folder"] = Field(default="layers", title="Export")
    """Layers as they are now, or all volumes of a folder; of a run, its results."""
    source: Path | None = Field(default=None, title="From")
    """A folder of volumes, or a run. Previews are left out."""
    format: Literal["nifti", "bids"] = Field(default="nifti", title="Format")
    """Single files, each with a JSON file of its provenance; or a dataset with a table of participants, which holds the
    conditions of each brain."""
    out: Path = Field(title="Output")
    """Folder to write into. A BIDS dataset needs an empty one."""
    name: str = Field(default="Brains", title="Name")
    """Name of the dataset."""


class ExportDialog(QDialog):
    """Asks for an export.

    Args:
        layers: Number of selected layers. Without any, only a folder or a run can be exported.
        bids: Whether a BIDS dataset is offered first.
    """

    chosen = Signal(object)
    """ExportChoice, once it is complete and accepted."""

    def __init__(self, layers: int, *, bids: bool, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Export brains")
        selected = "the selected layer" if layers == 1 else f"the {layers} selected layers"
        offered = [(selected, "layers", "")] if layers else []
        self.form = RequestForm(
            ExportChoice,
            ("what", "source", "format", "out", "name"),
            options={
                "what": {"choices": [*offered, ("the brains of a folder or a run", "folder", "")]},
                "source": {"mode": "d", "default": "folder of volumes, or a run"},
                "format": {"choices": [(text, value, "") for value, text in FORMATS.items()]},
                "out": {"mode": "d", "default": "folder to write into"},
            },
        )
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Save | QDialogButtonBox.StandardButton.Cancel)
        self.buttons.button(QDialogButtonBox.StandardButton.Save).setToolTip("Write the files.")
        self.buttons.button(QDialogButtonBox.StandardButton.Cancel).setToolTip("Write nothing.")
        layout = QVBoxLayout(self)
        layout.addWidget(self.form)
        layout.addWidget(self.buttons)
        self.fields = self.form.fields
        self.fields["format"].value = "bids" if bids else "nifti"
        self.form.changed.connect(self._update)
        for name in ("source", "out"):
            self.fields[name].line_edit.native.textChanged.connect(self._update)
        self.buttons.accepted.connect(self._accept)
        self.buttons.rejected.connect(self.reject)
        self._update()

    @property
    def choice(self) -> ExportChoice | None:
        """The export; None as long as something is missing."""
        of_folder = self.fields["what"].value == "folder"
        if self.form.missing() or (of_folder and self.fields["source"].value is None):
            return None
        others = {"name": self.fields["name"].value or "Brains"}
        choice: ExportChoice = self.form.make_request(**others if of_folder else others | {"source": None})
        return choice

    def _update(self) -> None:
        self.form.set_visible("source", self.fields["what"].value == "folder")
        self.form.set_visible("name", self.fields["format"].value == "bids")
        self.buttons.button(QDialogButtonBox.StandardButton.Save).setEnabled(self.choice is not None)

    def _accept(self) -> None:
        self.accept()
        self.chosen.emit(self.choice)
