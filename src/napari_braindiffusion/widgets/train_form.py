"""The few settings of a training that matter."""

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QSpinBox, QWidget

from braindiffusion.runs import TrainRequest
from napari_braindiffusion.widgets.path_row import PathRow
from napari_braindiffusion.widgets.rows import form_layout, make_narrow

PRESETS = {
    "tiny": "tiny: a minute, to see that everything works",
    "laptop": "laptop: hours on a few cores",
    "workstation": "workstation: for a GPU",
}
FROM_PRESET = "the preset's"


class TrainForm(QWidget):
    """Data, preset, batch size, epochs and validation subjects."""

    data_changed = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.data = PathRow(
            "folder",
            placeholder="cohort.zarr, or a folder of volumes",
            tooltip="A prepared cohort (see the Cohort dock), or a folder of volumes, which is prepared first.",
        )
        self.data.path_changed.connect(self.data_changed)
        self.preset = QComboBox()
        make_narrow(self.preset)
        for name, text in PRESETS.items():
            self.preset.addItem(text, name)
        self.preset.setCurrentIndex(list(PRESETS).index("laptop"))
        self.preset.setToolTip("Size of the network, and how long it learns.")
        self.batch_size = QSpinBox()
        self.batch_size.setRange(0, 4096)
        self.batch_size.setToolTip("Patches (or whole volumes) a step. Less needs less memory.")
        self.epochs = QDoubleSpinBox()
        self.epochs.setRange(0, 1_000_000)
        self.epochs.setDecimals(1)
        self.epochs.setToolTip("Passes over the training subjects, at every level.")
        self.validation = QSpinBox()
        self.validation.setRange(-1, 100_000)
        self.validation.setValue(-1)
        self.validation.setSpecialValueText("a fifth")
        self.validation.setToolTip(
            "Subjects that are kept aside, to see whether the model learns what is common or learns by heart."
        )
        for spin in (self.batch_size, self.epochs):
            spin.setSpecialValueText(FROM_PRESET)
        form = form_layout(self)
        form.addRow("&Data", self.data)
        form.addRow("&Preset", self.preset)
        form.addRow("&Batch size", self.batch_size)
        form.addRow("&Epochs", self.epochs)
        form.addRow("&Validation", self.validation)

    def request(self) -> TrainRequest | None:
        """What is asked for; None as long as there are no data."""
        if self.data.path is None:
            return None
        return TrainRequest(
            data=self.data.path.absolute(),
            preset=self.preset.currentData(),
            batch_size=self.batch_size.value() or None,
            epochs=self.epochs.value() or None,
            validation_subjects=None if self.validation.value() < 0 else self.validation.value(),
        )

    def show_request(self, request: TrainRequest) -> None:
        """Show the settings of an earlier run."""
        self.data.set_path(Path(request.data))
        index = self.preset.findData(request.preset)
        if index < 0:
            self.preset.addItem(request.preset, request.preset)
            index = self.preset.count() - 1
        self.preset.setCurrentIndex(index)
        self.batch_size.setValue(request.batch_size or 0)
        self.epochs.setValue(request.epochs or 0)
        self.validation.setValue(-1 if request.validation_subjects is None else request.validation_subjects)
