"""What is exported, as what, and where to."""

from dataclasses import dataclass
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QDialog, QDialogButtonBox, QLineEdit, QVBoxLayout, QWidget

from napari_braindiffusion.widgets.forms.layout import form_layout, make_narrow
from napari_braindiffusion.widgets.forms.path_row import PathRow


@dataclass(frozen=True)
class ExportChoice:
    """What the user wants.

    Attributes:
        source: Folder or run; None for the selected layers.
        bids: A BIDS dataset rather than single files.
        out: Folder to write into.
        name: Of the dataset.
    """

    source: Path | None
    bids: bool
    out: Path
    name: str


class ExportDialog(QDialog):
    """The one dialog of every export.

    Args:
        layers: How many layers are selected; without any, only a folder or a run can be exported.
        bids: Whether a BIDS dataset is offered first.
    """

    chosen = Signal(object)
    """ExportChoice, once it is complete and accepted."""

    def __init__(self, layers: int, *, bids: bool, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Export brains")
        self.what = QComboBox()
        make_narrow(self.what)
        if layers:
            self.what.addItem("the selected layer" if layers == 1 else f"the {layers} selected layers", "layers")
        self.what.addItem("the brains of a folder or a run", "folder")
        self.what.setToolTip("Layers as they are now, or all volumes of a folder. Of a run, its results.")
        self.source = PathRow(
            "folder", placeholder="folder of volumes, or a run", tooltip="Its volumes are exported, previews left out."
        )
        self.form = QComboBox()
        make_narrow(self.form)
        self.form.addItem("NIfTI files with sidecars", "nifti")
        self.form.addItem("BIDS dataset", "bids")
        self.form.setToolTip(
            "Single files, each with a JSON file that tells where it comes from; or a dataset with a table of "
            "participants, which tells what each brain was asked to be."
        )
        self.out = PathRow("folder", placeholder="folder to write into", tooltip="A BIDS dataset wants an empty one.")
        self.name = QLineEdit("Brains")
        self.name.setToolTip("What the dataset calls itself.")
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Save | QDialogButtonBox.StandardButton.Cancel)
        self.buttons.button(QDialogButtonBox.StandardButton.Save).setToolTip("Write the files.")
        self.buttons.button(QDialogButtonBox.StandardButton.Cancel).setToolTip("Write nothing.")
        outer = QVBoxLayout(self)
        self._rows = form_layout()
        outer.addLayout(self._rows)
        outer.addWidget(self.buttons)
        for label, widget in (
            ("&What", self.what),
            ("F&rom", self.source),
            ("&As", self.form),
            ("&Into", self.out),
            ("&Name", self.name),
        ):
            self._rows.addRow(label, widget)
        for signal in (self.what.currentIndexChanged, self.form.currentIndexChanged):
            signal.connect(self._show_what_counts)
        for row in (self.source, self.out):
            row.line.textChanged.connect(self._show_what_counts)
        self.buttons.accepted.connect(self._accept)
        self.buttons.rejected.connect(self.reject)
        self.form.setCurrentIndex(self.form.findData("bids" if bids else "nifti"))
        self._show_what_counts()

    @property
    def choice(self) -> ExportChoice | None:
        """What is chosen; None as long as something is missing."""
        of_folder = self.what.currentData() == "folder"
        if self.out.path is None or (of_folder and self.source.path is None):
            return None
        return ExportChoice(
            source=self.source.path if of_folder else None,
            bids=self.form.currentData() == "bids",
            out=self.out.path.absolute(),
            name=self.name.text().strip() or "Brains",
        )

    def _show_what_counts(self) -> None:
        self._rows.setRowVisible(self.source, self.what.currentData() == "folder")
        self._rows.setRowVisible(self.name, self.form.currentData() == "bids")
        self.buttons.button(QDialogButtonBox.StandardButton.Save).setEnabled(self.choice is not None)

    def _accept(self) -> None:
        self.accept()
        self.chosen.emit(self.choice)
