"""The few settings of a training that matter."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QSpinBox, QWidget

from braindiffusion.runs import TrainRequest
from napari_braindiffusion.widgets.forms.layout import form_layout, make_narrow
from napari_braindiffusion.widgets.forms.path_row import PathRow

PRESETS = {
    "auto": "What suits the device: the line above Start tells which, and what it takes.",
    "tiny": "About a minute, to see that all works.",
    "laptop": "Hours on a few cores.",
    "gpu-8gb": "For a GPU of 8 GB.",
    "gpu-24gb": "For a GPU of 24 GB.",
    "gpu-80gb": "For a GPU of 80 GB.",
}
"""Every preset of the engine, in a sentence."""
FROM_PRESET = "the preset's"


class TrainForm(QWidget):
    """Data, preset, what to begin from, batch size, patch, epochs, validation subjects, memory, samples."""

    data_changed = Signal(object)
    changed = Signal()
    """Any setting."""

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
        for name, told in PRESETS.items():
            self.preset.addItem(name, name)
            self.preset.setItemData(self.preset.count() - 1, told, Qt.ItemDataRole.ToolTipRole)
        self.preset.setToolTip("Size of the network, and how long it learns; auto takes what suits the device.")
        self.start = QComboBox()
        make_narrow(self.start)
        self.start.setToolTip(
            "Learn from nothing, or go on from what a model has learnt (fine-tuning). Its cohort must have been "
            "prepared as this one."
        )
        self.set_models(())
        self.checkpointing = QCheckBox("Save memory")
        self.checkpointing.setToolTip("Compute twice rather than remember: less memory, a third more time.")
        self.sample_minutes = QDoubleSpinBox()
        self.sample_minutes.setRange(0.1, 1440)
        self.sample_minutes.setDecimals(1)
        self.sample_minutes.setValue(TrainRequest.model_fields["sample_minutes"].default)
        self.sample_minutes.setPrefix("every ")
        self.sample_minutes.setSuffix(" min")
        self.sample_minutes.setToolTip("How often a brain is made of what has been learnt, always of the same seed.")
        self.batch_size = QSpinBox()
        self.batch_size.setRange(0, 4096)
        self.batch_size.setToolTip("Patches (or whole volumes) a step. Less needs less memory.")
        self.patch = QSpinBox()
        self.patch.setRange(3, 512)
        self.patch.setToolTip(
            "Edge of the pieces of brain that the fine levels learn from, in coefficients: at the finest level one is "
            "two voxels. Less needs less memory."
        )
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
        for spin in (self.batch_size, self.patch, self.epochs):
            spin.setSpecialValueText(FROM_PRESET)
        form = form_layout(self)
        form.addRow("&Data", self.data)
        form.addRow("&Preset", self.preset)
        form.addRow("Begin &from", self.start)
        form.addRow("&Batch size", self.batch_size)
        form.addRow("Pa&tch", self.patch)
        form.addRow("&Epochs", self.epochs)
        form.addRow("&Validation", self.validation)
        form.addRow("Sa&mples", self.sample_minutes)
        form.addRow("", self.checkpointing)
        self.data_changed.connect(lambda _: self.changed.emit())
        for combo in (self.preset, self.start):
            combo.currentIndexChanged.connect(lambda _: self.changed.emit())
        for box in (self.batch_size, self.patch, self.epochs, self.validation, self.sample_minutes):
            box.valueChanged.connect(lambda _: self.changed.emit())
        self.checkpointing.toggled.connect(lambda _: self.changed.emit())

    def set_models(self, models: Iterable[tuple[str, str]]) -> None:
        """Offer models to begin from: what each is called, and its name or path. What was chosen stays."""
        chosen = self.start.currentData()
        self.start.blockSignals(True)
        self.start.clear()
        self.start.addItem("nothing", None)
        for text, model in models:
            self.start.addItem(text, model)
        self.start.blockSignals(False)
        self._begin_from(chosen)

    def apply(self, changes: Mapping[str, Any]) -> None:
        """Change some settings, named as the request's fields are."""
        request = self.request()
        if request is not None:
            self.show_request(request.model_copy(update=dict(changes)))

    def request(self) -> TrainRequest | None:
        """What is asked for; None as long as there are no data."""
        if self.data.path is None:
            return None
        return TrainRequest(
            data=self.data.path.absolute(),
            preset=self.preset.currentData(),
            start_from=self.start.currentData(),
            checkpointing=self.checkpointing.isChecked(),
            sample_minutes=self.sample_minutes.value(),
            batch_size=self.batch_size.value() or None,
            patch=None if self.patch.value() == self.patch.minimum() else self.patch.value(),
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
        self._begin_from(request.start_from)
        self.checkpointing.setChecked(request.checkpointing)
        self.sample_minutes.setValue(request.sample_minutes)
        self.batch_size.setValue(request.batch_size or 0)
        self.patch.setValue(request.patch or self.patch.minimum())
        self.epochs.setValue(request.epochs or 0)
        self.validation.setValue(-1 if request.validation_subjects is None else request.validation_subjects)

    def _begin_from(self, model: str | None) -> None:
        if model is not None and self.start.findData(model) < 0:
            self.start.addItem(Path(model).name, model)
        self.start.setCurrentIndex(0 if model is None else self.start.findData(model))
