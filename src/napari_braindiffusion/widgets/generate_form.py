"""What one can choose when brains are made."""

from collections.abc import Iterable
from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QHBoxLayout,
    QSpinBox,
    QToolButton,
    QWidget,
)

from braindiffusion.runs import GenerateRequest
from napari_braindiffusion.widgets.condition_form import ConditionForm
from napari_braindiffusion.widgets.rows import form_layout, make_narrow

LARGEST_SEED = 2**31 - 1


class GenerateForm(QWidget):
    """Model, what to ask it for, how many, seed, steps, eta and whether to keep the way from noise to brain."""

    model_browsed = Signal(object)
    """Path that the user chose in the dialog."""
    asked_anew = Signal()
    """What is asked, how strongly, or the seed is another now."""
    model_changed = Signal(str)
    """Name or path of the model that is chosen now; empty where there is none."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.model = QComboBox()
        make_narrow(self.model)
        self.model.setToolTip("A model that comes along, one of your own trainings, or a folder that you choose.")
        self.browse = QToolButton(text="…")
        self.browse.setToolTip("Choose a model folder, a checkpoint or a training run.")
        self.browse.setAccessibleName("Choose a model folder")
        self.browse.clicked.connect(self._browse)
        model_row = QHBoxLayout()
        model_row.addWidget(self.model, 1)
        model_row.addWidget(self.browse)

        self.conditions = ConditionForm()
        self.live = QCheckBox("Show a coarse brain while I ask")
        self.live.setChecked(True)
        self.live.setToolTip("Change what is asked, its guidance or the seed, and a blurred brain follows soon.")
        self.guidance = QDoubleSpinBox()
        self.guidance.setRange(0.0, 10.0)
        self.guidance.setSingleStep(0.5)
        self.guidance.setValue(1.0)
        self.guidance.setToolTip(
            "How strongly the model is held to what is asked: 1 is as it learnt, 2 or 3 more so, at twice the time."
        )

        self.number = _spin(1, 1000, 1, "How many brains. Sample i has the seed + i, however many are asked for.")
        self.seed = _spin(0, LARGEST_SEED, 0, "The same seed and the same settings give the same brain.")
        self.next_seed = QCheckBox("next")
        self.next_seed.setChecked(True)
        self.next_seed.setToolTip(
            "Go on to the next seed after each generation, so that the next press makes other brains."
        )
        seed_row = QHBoxLayout()
        seed_row.addWidget(self.seed, 1)
        seed_row.addWidget(self.next_seed)

        self.steps = _spin(0, 1000, 0, "Sampler steps at each level. More are slower and, up to a point, better.")
        self.steps.setSpecialValueText("as the model")
        self.eta = QDoubleSpinBox()
        self.eta.setRange(0.0, 1.0)
        self.eta.setSingleStep(0.1)
        self.eta.setToolTip(
            "DDIM's eta: 0 follows one deterministic way from the noise, 1 adds fresh noise at each step."
        )
        self.trajectory = QCheckBox("Keep the way from noise to brain")
        self.trajectory.setToolTip("Adds a 4D layer whose first axis is the sampler's step.")

        form = form_layout(self)
        form.addRow("&Model", model_row)
        form.addRow(self.conditions)
        form.addRow("&Guidance", self.guidance)
        form.addRow(self.live)
        form.addRow("&How many", self.number)
        form.addRow("&Seed", seed_row)
        form.addRow("S&teps", self.steps)
        form.addRow("&Eta", self.eta)
        form.addRow(self.trajectory)
        for layout, widget in ((model_row, self.model), (seed_row, self.seed)):
            form.labelForField(layout).setBuddy(widget)
        self._form = form
        for signal in (self.conditions.changed, self.guidance.valueChanged, self.seed.valueChanged):
            signal.connect(lambda *_: self.asked_anew.emit())
        self.conditions.changed.connect(self._show_guidance)
        self.conditions.drawn.connect(self._show_guidance)
        self.model.currentIndexChanged.connect(lambda _: self.model_changed.emit(self.model.currentData() or ""))
        self._show_guidance()

    def set_models(self, models: Iterable[tuple[str, str, str]]) -> None:
        """Offer models: (what the user reads, what a request names, tooltip). What was chosen stays so."""
        chosen = self.model.currentData()
        self.model.clear()
        for text, name, tooltip in models:
            self._add(text, name, tooltip)
        self.choose_model(chosen)

    def choose_model(self, name: str | Path | None) -> None:
        """Choose a model; a path that is not on offer yet is added."""
        if name is None:
            return
        index = self.model.findData(str(name))
        if index < 0:
            self._add(Path(name).name, str(name), str(name))
            index = self.model.count() - 1
        self.model.setCurrentIndex(index)

    def request(self) -> GenerateRequest:
        """What is asked for, with previews, since somebody watches."""
        return GenerateRequest(
            model=self.model.currentData() or "",
            num_samples=self.number.value(),
            seed=self.seed.value(),
            steps=self.steps.value() or None,
            eta=self.eta.value(),
            condition=self.conditions.asked(),
            guidance=self.guidance.value() if self.conditions.asked() else 1.0,
            previews=True,
            trajectory=self.trajectory.isChecked(),
        )

    def go_on(self) -> None:
        """Count the seed on past the brains that were just made, if the user wants that."""
        if self.next_seed.isChecked():
            self.seed.blockSignals(True)  # nobody asked for a preview of it
            self.seed.setValue((self.seed.value() + self.number.value()) % LARGEST_SEED)
            self.seed.blockSignals(False)

    def _show_guidance(self) -> None:
        # Without something to hold to, it means nothing.
        self._form.setRowVisible(self.guidance, bool(self.conditions.asked()))
        self._form.setRowVisible(self.live, bool(self.conditions.rows))

    def _add(self, text: str, name: str, tooltip: str) -> None:
        self.model.addItem(text, name)
        self.model.setItemData(self.model.count() - 1, tooltip, Qt.ItemDataRole.ToolTipRole)

    def _browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "A model folder, a checkpoint or a training run")
        if chosen:
            self.choose_model(chosen)
            self.model_browsed.emit(Path(chosen))


def _spin(low: int, high: int, value: int, tooltip: str) -> QSpinBox:
    spin = QSpinBox()
    spin.setRange(low, high)
    spin.setValue(value)
    spin.setToolTip(tooltip)
    return spin
