"""What one field of a condition looks like: a number with a slider, a choice, a layer of the viewer."""

from collections.abc import Iterable

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QBoxLayout, QCheckBox, QComboBox, QDoubleSpinBox, QHBoxLayout, QSlider, QWidget

from braindiffusion.conditions import CategoryField, MapField, ScalarField, Value
from napari_braindiffusion.widgets.forms.layout import make_narrow

ANY = "any"


class ConditionRow(QWidget):
    """A field. `value` is None where nothing is asked for; `first` is where the keyboard goes."""

    changed = Signal()
    first: QWidget

    def value(self) -> Value | None:
        """What is asked for, as a request has it."""
        raise NotImplementedError

    def set_value(self, value: Value | None) -> None:
        """Show what is asked for."""
        raise NotImplementedError


class NumberRow(ConditionRow):
    """A tick that asks for it, a slider over what the model saw, and the number itself."""

    def __init__(self, field: ScalarField) -> None:
        super().__init__()
        low, high = field.seen.quantiles[0], field.seen.quantiles[-1]
        unit = f" {field.unit}" if field.unit else ""
        self.tick = QCheckBox()
        self.tick.setToolTip(f"Ask for this {field.name}. Without it, brains of any {field.name} come.")
        self.tick.setAccessibleName(f"Ask for {field.name}")
        self.number = QDoubleSpinBox()
        self.number.setDecimals(1)
        self.number.setRange(low, high)
        self.number.setSuffix(unit)
        self.number.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)  # the slider needs the room
        self.number.setToolTip(f"The model saw {low:g} to {high:g}{unit}.")
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(round(low * 10), round(high * 10))
        self.slider.setToolTip(self.number.toolTip())
        self.slider.setMinimumWidth(40)
        self.first = self.tick
        row = flat(QHBoxLayout(self))
        row.addWidget(self.tick)
        row.addWidget(self.slider, 1)
        row.addWidget(self.number)
        self.number.setValue(field.seen.at(50))
        self.slider.setValue(round(self.number.value() * 10))
        self.slider.valueChanged.connect(lambda tenths: self.number.setValue(tenths / 10))
        self.slider.sliderMoved.connect(lambda _: self.tick.setChecked(True))
        self.number.valueChanged.connect(self._on_number)
        self.tick.toggled.connect(lambda _: self.changed.emit())

    def value(self) -> Value | None:  # noqa: D102 the base class says it
        return round(self.number.value(), 1) if self.tick.isChecked() else None

    def set_value(self, value: Value | None) -> None:  # noqa: D102 the base class says it
        if isinstance(value, int | float):
            self.number.setValue(value)
        self.tick.setChecked(value is not None)

    def _on_number(self, value: float) -> None:
        self.slider.blockSignals(True)
        self.slider.setValue(round(value * 10))
        self.slider.blockSignals(False)
        if self.number.hasFocus():
            self.tick.setChecked(True)
        if self.tick.isChecked():
            self.changed.emit()


class ChoiceRow(ConditionRow):
    """One of a few words, or any."""

    def __init__(self, field: CategoryField) -> None:
        super().__init__()
        self.first = self.box = QComboBox()
        self.box.setToolTip(f"Ask for this {field.name}, or leave it to the model.")
        self.box.addItem(ANY, None)
        for word in field.values:
            self.box.addItem(word, word)
        flat(QHBoxLayout(self)).addWidget(self.box)
        self.box.currentIndexChanged.connect(lambda _: self.changed.emit())

    def value(self) -> Value | None:  # noqa: D102 the base class says it
        return self.box.currentData()

    def set_value(self, value: Value | None) -> None:  # noqa: D102 the base class says it
        self.box.setCurrentIndex(max(0, self.box.findData(value)))


class LayerRow(ConditionRow):
    """A Labels layer of the viewer, or none."""

    def __init__(self, field: MapField) -> None:
        super().__init__()
        self.first = self.box = QComboBox()
        make_narrow(self.box)
        self.box.setToolTip(
            "A Labels layer of the 40 regions (or of DLMUSE values): the brain is made with its regions there."
        )
        flat(QHBoxLayout(self)).addWidget(self.box)
        self.offer(())
        self.box.currentIndexChanged.connect(lambda _: self.changed.emit())

    def offer(self, names: Iterable[str]) -> None:
        """Offer these layers; what was chosen stays so while it is among them."""
        chosen = self.box.currentData()
        self.box.blockSignals(True)
        self.box.clear()
        self.box.addItem("no layer", None)
        for name in names:
            self.box.addItem(name, name)
        self.set_value(chosen)
        self.box.blockSignals(False)

    def value(self) -> Value | None:  # noqa: D102 the base class says it
        return self.box.currentData()

    def set_value(self, value: Value | None) -> None:  # noqa: D102 the base class says it
        self.box.setCurrentIndex(max(0, self.box.findData(value)))


def readable(name: str) -> str:
    """The name of a field or of a region as a person writes it."""
    return (name[:1].upper() + name[1:]).replace("csf", "CSF").replace("_", " ")


def flat(layout: QBoxLayout) -> QBoxLayout:
    """Without margins."""
    layout.setContentsMargins(0, 0, 0, 0)
    return layout
