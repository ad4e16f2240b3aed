"""What a model can be asked for, drawn from its schema: a slider, a choice, percentiles of region volumes, a layer."""

from collections.abc import Iterable

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QBoxLayout,
    QCheckBox,
    QComboBox,
    QCompleter,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QSlider,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from braindiffusion.conditions import (
    AnyField,
    CategoryField,
    ConditionSchema,
    MapField,
    Numbers,
    ScalarField,
    Value,
    VectorField,
)
from napari_braindiffusion.widgets.rows import form_layout, make_narrow, wrapping_label

ANY = "any"


class ConditionForm(QWidget):
    """One row a field; a row that is left alone asks for nothing."""

    changed = Signal()
    """Something else is asked for."""
    drawn = Signal()
    """The rows are another model's."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows: dict[str, _Row] = {}
        self._form = form_layout(self)
        self._schema = ConditionSchema()
        self._layers: list[str] = []
        self.hide()

    def set_schema(self, schema: ConditionSchema) -> None:
        """Draw the rows of a model. Fields that both models have keep what was asked."""
        if schema == self._schema:
            return
        asked = self.asked()
        while self._form.rowCount():
            self._form.removeRow(0)
        self._schema = schema
        self.rows = {field.name: _row(field) for field in schema.fields}
        for name, row in self.rows.items():
            if isinstance(row, _Layer):
                row.offer(self._layers)
            row.changed.connect(self.changed)
            if isinstance(row, _Percentiles):
                self._form.addRow(row)
            else:
                self._form.addRow(name.capitalize(), row)
                self._form.itemAt(self._form.rowCount() - 1, QFormLayout.ItemRole.LabelRole).widget().setBuddy(
                    row.first
                )
        self.ask(asked)
        self.setVisible(bool(schema))
        self.drawn.emit()

    def offer_layers(self, names: Iterable[str]) -> None:
        """The Labels layers that can be a map of regions."""
        self._layers = list(names)
        for row in self.rows.values():
            if isinstance(row, _Layer):
                row.offer(self._layers)

    def asked(self) -> dict[str, Value]:
        """What is asked for, as a request has it; a map by the name of its layer."""
        values = {name: row.value() for name, row in self.rows.items()}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def map_fields(self) -> tuple[str, ...]:
        """The fields whose value is the name of a layer."""
        return tuple(name for name, row in self.rows.items() if isinstance(row, _Layer))

    def ask(self, asked: dict[str, Value]) -> None:
        """Show these values; what they leave out is not asked for."""
        for name, row in self.rows.items():
            row.set_value(asked.get(name))


class _Row(QWidget):
    """A field. `value` is None where nothing is asked for; `first` is where the keyboard goes."""

    changed = Signal()
    first: QWidget

    def value(self) -> Value | None:
        raise NotImplementedError

    def set_value(self, value: Value | None) -> None:
        raise NotImplementedError


class _Number(_Row):
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
        self.number.setToolTip(f"The model saw {low:g} to {high:g}{unit}.")
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(round(low * 10), round(high * 10))
        self.slider.setToolTip(self.number.toolTip())
        self.slider.setMinimumWidth(40)
        self.first = self.tick
        row = _flat(QHBoxLayout(self))
        row.addWidget(self.tick)
        row.addWidget(self.slider, 1)
        row.addWidget(self.number)
        self.number.setValue(field.seen.at(50))
        self.slider.setValue(round(self.number.value() * 10))
        self.slider.valueChanged.connect(lambda tenths: self.number.setValue(tenths / 10))
        self.slider.sliderMoved.connect(lambda _: self.tick.setChecked(True))
        self.number.valueChanged.connect(self._on_number)
        self.tick.toggled.connect(lambda _: self.changed.emit())

    def value(self) -> Value | None:
        return round(self.number.value(), 1) if self.tick.isChecked() else None

    def set_value(self, value: Value | None) -> None:
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


class _Choice(_Row):
    """One of a few words, or any."""

    def __init__(self, field: CategoryField) -> None:
        super().__init__()
        self.first = self.box = QComboBox()
        self.box.setToolTip(f"Ask for this {field.name}, or leave it to the model.")
        self.box.addItem(ANY, None)
        for word in field.values:
            self.box.addItem(word, word)
        _flat(QHBoxLayout(self)).addWidget(self.box)
        self.box.currentIndexChanged.connect(lambda _: self.changed.emit())

    def value(self) -> Value | None:
        return self.box.currentData()

    def set_value(self, value: Value | None) -> None:
        self.box.setCurrentIndex(max(0, self.box.findData(value)))


class _Layer(_Row):
    """A Labels layer of the viewer, or none."""

    def __init__(self, field: MapField) -> None:
        super().__init__()
        self.first = self.box = QComboBox()
        make_narrow(self.box)
        self.box.setToolTip(
            "A Labels layer of the 40 regions (or of DLMUSE values): the brain is made with its regions there."
        )
        _flat(QHBoxLayout(self)).addWidget(self.box)
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

    def value(self) -> Value | None:
        return self.box.currentData()

    def set_value(self, value: Value | None) -> None:
        self.box.setCurrentIndex(max(0, self.box.findData(value)))


class _Percentiles(_Row):
    """Region volumes by percentile: a region is added by name, and taken back by its ✕."""

    def __init__(self, field: VectorField) -> None:
        super().__init__()
        self._unit = field.unit
        self._seen = dict(zip(field.entries, field.seen, strict=True))
        self.sliders: dict[str, _Percentile] = {}
        self.first = self.box = QComboBox()
        make_narrow(self.box)
        self.box.setEditable(True)
        self.box.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.box.addItems(field.entries)
        self.box.setCurrentIndex(-1)
        self.box.lineEdit().setPlaceholderText(f"Ask for one of the {field.name} …")
        self.box.setToolTip(f"Type or choose a name: its slider sets the percentile of the {field.name} that come out.")
        self.box.setAccessibleName(f"Ask for one of the {field.name}")
        completer = self.box.completer()
        completer.setFilterMode(Qt.MatchFlag.MatchContains)
        completer.setCompletionMode(QCompleter.CompletionMode.PopupCompletion)
        self._column = _flat(QVBoxLayout(self))
        self._column.addWidget(self.box)
        self.box.activated.connect(self._on_chosen)

    def add(self, entry: str, percentile: float = 90.0) -> None:
        """Ask for an entry, or move its slider where it is asked for already."""
        if entry not in self.sliders:
            slider = _Percentile(entry, self._seen[entry], self._unit)
            slider.changed.connect(self.changed)
            slider.removed.connect(lambda: self.remove(entry))
            self._column.addWidget(slider)
            self.sliders[entry] = slider
        self.sliders[entry].slider.setValue(round(percentile))
        self.changed.emit()

    def remove(self, entry: str) -> None:
        """Ask for it no longer."""
        slider = self.sliders.pop(entry)
        self._column.removeWidget(slider)
        slider.deleteLater()
        self.changed.emit()

    def value(self) -> Value | None:
        return {entry: f"{slider.slider.value()}%" for entry, slider in self.sliders.items()} or None

    def set_value(self, value: Value | None) -> None:
        entries = value if isinstance(value, dict) else {}
        for entry in list(self.sliders):
            if entry not in entries:
                self.remove(entry)
        for entry, percentile in entries.items():
            if entry in self._seen:
                self.add(entry, float(str(percentile).rstrip("%")))

    def _on_chosen(self, index: int) -> None:
        self.add(self.box.itemText(index))
        self.box.setCurrentIndex(-1)


class _Percentile(QWidget):
    """The percentile of one number among the training subjects, and what that is in its unit."""

    changed = Signal()
    removed = Signal()

    def __init__(self, name: str, seen: Numbers, unit: str) -> None:
        super().__init__()
        self._name, self._seen, self._unit = name, seen, unit
        self.label = wrapping_label("")
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, 100)
        self.slider.setAccessibleName(f"Percentile of {name}")
        self.slider.setToolTip("Percentile among the subjects that the model saw.")
        self.reset = QToolButton(text="✕")
        self.reset.setToolTip(f"Leave {name} to the model.")
        self.reset.setAccessibleName(f"Leave {name} to the model")
        column = _flat(QVBoxLayout(self))
        column.addWidget(self.label)
        row = QHBoxLayout()
        row.addWidget(self.slider, 1)
        row.addWidget(self.reset)
        column.addLayout(row)
        self.slider.valueChanged.connect(self._on_value)
        self.reset.clicked.connect(self.removed)
        self._on_value(0)

    def _on_value(self, percentile: int) -> None:
        amount = f"{self._seen.at(percentile):.1f} {self._unit}".strip()
        self.label.setText(f"{self._name}: {amount} ({percentile}%)")
        self.changed.emit()


def _row(field: AnyField) -> _Row:
    if isinstance(field, ScalarField):
        return _Number(field)
    if isinstance(field, CategoryField):
        return _Choice(field)
    if isinstance(field, VectorField):
        return _Percentiles(field)
    return _Layer(field)


def _flat(layout: QBoxLayout) -> QBoxLayout:
    layout.setContentsMargins(0, 0, 0, 0)
    return layout
