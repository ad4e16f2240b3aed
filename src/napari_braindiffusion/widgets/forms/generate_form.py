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
from napari_braindiffusion.widgets.forms.condition_form import ConditionForm
from napari_braindiffusion.widgets.forms.layout import form_layout, make_narrow
from napari_braindiffusion.widgets.forms.seed_row import SeedRow
from napari_braindiffusion.widgets.model_card import ModelCard

SAMPLERS = {
    "ddim": "DDIM: first order, deterministic unless eta is above 0.",
    "ddpm": "DDPM: ancestral, adds fresh noise at each step; wants many steps.",
    "dpmpp_2m": "DPM-Solver++(2M): second order at one evaluation a step; good with few steps.",
    "heun": "Heun: second order, two evaluations a step; accurate and twice as slow.",
    "euler_flow": "Euler along the flow from noise to brain.",
}
"""Every sampler of the engine, in a sentence."""


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
        self.model.setMinimumContentsLength(9)  # its button wants its place in 300 pixels
        self.model.setToolTip("A model that comes along, one of your own trainings, or a folder that you choose.")
        self.browse = QToolButton(text="…")
        self.browse.setToolTip("Choose a model folder, a checkpoint or a training run.")
        self.browse.setAccessibleName("Choose a model folder")
        self.browse.clicked.connect(self._browse)
        model_row = QHBoxLayout()
        model_row.addWidget(self.model, 1)
        model_row.addWidget(self.browse)

        self.card = ModelCard()
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
        self.seed_row = SeedRow()
        self.seed = self.seed_row.seed
        self.grid = QCheckBox("Beside each other")
        self.grid.setChecked(True)
        self.grid.setToolTip("Show the brains as a mosaic, one slice through all. Each stays a layer of its own.")

        self.steps = _spin(0, 1000, 0, "Sampler steps at each level. More are slower and, up to a point, better.")
        self.steps.setSpecialValueText("as the model")
        self.sampler = QComboBox()
        make_narrow(self.sampler)
        self.sampler.addItem("as the model", None)
        self.sampler.setToolTip("The way from noise to brain; each model has its own.")
        for name, told in SAMPLERS.items():
            self.sampler.addItem(name, name)
            self.sampler.setItemData(self.sampler.count() - 1, told, Qt.ItemDataRole.ToolTipRole)
        self.sampler.currentIndexChanged.connect(self._allow_eta)
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
        form.addRow(self.card)
        form.addRow(self.conditions)
        form.addRow("&Guidance", self.guidance)
        form.addRow(self.live)
        form.addRow("&How many", self.number)
        form.addRow(self.grid)
        form.addRow("&Seed", self.seed_row)
        form.addRow("S&teps", self.steps)
        form.addRow("Sam&pler", self.sampler)
        form.addRow("&Eta", self.eta)
        form.addRow(self.trajectory)
        form.labelForField(model_row).setBuddy(self.model)
        self._form = form
        self.number.valueChanged.connect(lambda number: form.setRowVisible(self.grid, number > 1))
        form.setRowVisible(self.grid, False)
        for signal in (self.conditions.changed, self.guidance.valueChanged, self.seed_row.changed):
            signal.connect(lambda *_: self.asked_anew.emit())
        self.conditions.changed.connect(self._show_guidance)
        self.conditions.drawn.connect(self._show_guidance)
        self.model.currentIndexChanged.connect(lambda _: self.model_changed.emit(self.model.currentData() or ""))
        self._show_guidance()

    def set_models(self, models: Iterable[tuple[str, str, str]]) -> None:
        """Offer models: (what the user reads, what a request names, tooltip). What was chosen stays so."""
        chosen = self.model.currentData()
        self.model.blockSignals(True)
        self.model.clear()
        for text, name, tooltip in models:
            self._add(text, name, tooltip)
        self.choose_model(chosen)
        self.model.blockSignals(False)
        if self.model.currentData() != chosen:
            self.model_changed.emit(self.model.currentData() or "")

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
            sampler=self.sampler.currentData(),
            eta=self.eta.value() if self.eta.isEnabled() else 0.0,
            condition=self.conditions.asked(),
            guidance=self.guidance.value() if self.conditions.asked() else 1.0,
            previews=True,
            trajectory=self.trajectory.isChecked(),
        )

    def go_on(self) -> None:
        """Choose the seed of the next generation, as the user wants it."""
        self.seed_row.go_on(self.number.value())

    def show_request(self, request: GenerateRequest) -> None:
        """Show what was asked for once: model, questions, seed and all, to ask for it anew or vary it."""
        self.choose_model(request.model)
        self.conditions.ask(request.condition)
        self.guidance.setValue(request.guidance)
        self.number.setValue(request.num_samples)
        self.seed.setValue(request.seed)
        self.steps.setValue(request.steps if isinstance(request.steps, int) else 0)
        self.sampler.setCurrentIndex(max(0, self.sampler.findData(request.sampler)))
        self.eta.setValue(request.eta)
        self.trajectory.setChecked(request.trajectory)

    def _allow_eta(self) -> None:
        self.eta.setEnabled(self.sampler.currentData() in (None, "ddim"))

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
