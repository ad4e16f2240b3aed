"""The rows of a condition form: a number with a slider, a choice, a layer of the viewer."""

from collections.abc import Iterable, Sequence

from napari.layers import Layer
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QBoxLayout,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QLabel,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from braindiffusion.conditions import CategoryField, MapField, Numbers, ScalarField, Value
from napari_braindiffusion.widgets import readable
from napari_braindiffusion.widgets.forms.layer_box import LayerBox

ANY = "any"


class ConditionRow(QWidget):
    """A field. `value` is None where it is no condition; `first` is the widget that the label moves the focus to."""

    changed = Signal()
    first: QWidget

    def value(self) -> Value | None:
        """Return the condition as a request has it."""
        raise NotImplementedError

    def set_value(self, value: Value | None) -> None:
        """Show a condition; None shows that there is none."""
        raise NotImplementedError


class NumberRow(ConditionRow):
    """A check box, a slider over the range of the training data, and the number itself."""

    def __init__(self, field: ScalarField) -> None:
        super().__init__()
        low, high = field.seen.quantiles[0], field.seen.quantiles[-1]
        unit = f" {field.unit}" if field.unit else ""
        self.check_box = QCheckBox()
        self.check_box.setToolTip(
            f"Condition on this {field.name}. Unchecked, brains of any {field.name} are generated."
        )
        self.check_box.setAccessibleName(f"Condition on {field.name}")
        self.number = QDoubleSpinBox()
        self.number.setDecimals(1)
        self.number.setRange(low, high)
        self.number.setSuffix(unit)
        self.number.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)  # the slider needs the room
        self.number.setToolTip(f"The training subjects have {range_text([field.seen], field.unit)}.")
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(round(low * 10), round(high * 10))
        self.slider.setToolTip(self.number.toolTip())
        self.slider.setMinimumWidth(40)
        self.first = self.check_box
        row = without_margins(QHBoxLayout(self))
        row.addWidget(self.check_box)
        row.addWidget(self.slider, 1)
        row.addWidget(self.number)
        self.number.setValue(field.seen.at(50))
        self.slider.setValue(round(self.number.value() * 10))
        self.slider.valueChanged.connect(lambda tenths: self.number.setValue(tenths / 10))
        self.slider.actionTriggered.connect(lambda _: self.check_box.setChecked(True))  # mouse, keys or wheel
        self.number.valueChanged.connect(self._on_number)
        self.check_box.toggled.connect(lambda _: self.changed.emit())

    def value(self) -> Value | None:  # noqa: D102 the base class says it
        return round(self.number.value(), 1) if self.check_box.isChecked() else None

    def set_value(self, value: Value | None) -> None:  # noqa: D102 the base class says it
        if isinstance(value, int | float):
            self.number.setValue(value)
        self.check_box.setChecked(value is not None)

    def _on_number(self, value: float) -> None:
        self.slider.blockSignals(True)
        self.slider.setValue(round(value * 10))
        self.slider.blockSignals(False)
        if self.number.hasFocus():
            self.check_box.setChecked(True)
        if self.check_box.isChecked():
            self.changed.emit()


class ChoiceRow(ConditionRow):
    """One of a few values; or any, or the model's default."""

    def __init__(self, field: CategoryField) -> None:
        super().__init__()
        self.first = self.box = QComboBox()
        self.box.setToolTip(f"Condition on this {field.name}" + ("." if field.default else ", or on none."))
        self.box.addItem(f"Default ({field.default})" if field.default else ANY, None)
        for word in field.values:
            self.box.addItem(word, word)
        without_margins(QHBoxLayout(self)).addWidget(self.box)
        self.box.currentIndexChanged.connect(lambda _: self.changed.emit())

    def value(self) -> Value | None:  # noqa: D102 the base class says it
        return self.box.currentData()

    def set_value(self, value: Value | None) -> None:  # noqa: D102 the base class says it
        self.box.setCurrentIndex(max(0, self.box.findData(value)))


class LayerRow(ConditionRow):
    """A Labels layer of the viewer, or none."""

    def __init__(self, field: MapField) -> None:
        super().__init__()
        self.first = self.box = LayerBox("none")
        self.box.setToolTip(
            "A Labels layer of the 40 regions (or of DLMUSE values): the brain is generated with its regions there."
        )
        label = QLabel(f"{'Segmentation' if field.name == 'regions' else readable(field.name)} (Labels layer)")
        label.setBuddy(self.box)
        column = without_margins(QVBoxLayout(self))  # side by side they would widen the dock
        column.addWidget(label)
        column.addWidget(self.box)
        self.box.currentIndexChanged.connect(lambda _: self.changed.emit())

    def offer(self, layers: Iterable[Layer]) -> None:
        """Offer these layers. What was chosen stays chosen while it is among them."""
        self.box.offer(layers)

    def value(self) -> Value | None:  # noqa: D102 the base class says it
        return None if self.box.layer is None else self.box.layer.name

    def set_value(self, value: Value | None) -> None:  # noqa: D102 the base class says it
        self.box.choose_name(value)


def range_text(seen: Sequence[Numbers], unit: str = "") -> str:
    """Return the least and the most of the training subjects, such as `20.2 to 81.9 years`, over all of `seen`."""
    low, high = min(one.quantiles[0] for one in seen), max(one.quantiles[-1] for one in seen)
    return f"{low:.3g} to {high:.3g} {unit}".rstrip()


def without_margins(layout: QBoxLayout) -> QBoxLayout:
    """Return the layout without margins."""
    layout.setContentsMargins(0, 0, 0, 0)
    return layout
