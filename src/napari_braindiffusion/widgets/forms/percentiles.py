"""Region volumes by percentile: a region is found by any part of its name, has a slider, and is taken back by its ✕."""

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QCompleter, QHBoxLayout, QLabel, QSlider, QToolButton, QVBoxLayout, QWidget

from braindiffusion.conditions import Numbers, Value, VectorField
from napari_braindiffusion.widgets.forms.condition_rows import ConditionRow, flat, readable
from napari_braindiffusion.widgets.forms.layout import make_narrow, wrapping_label

SIDES = ("left", "right")
USUAL = 90.0
"""Percentile that a region is first asked for: large, so that something is seen."""


class PercentilesRow(ConditionRow):
    """A box to find entries in, and a slider for each that is asked for; a pair of sides can be asked for at once."""

    def __init__(self, field: VectorField) -> None:
        super().__init__()
        self._unit = field.unit
        self._seen = {name: [seen] for name, seen in zip(field.entries, field.seen, strict=True)}
        pairs = [name.removeprefix("left ") for name in field.entries if name.startswith("left ")]
        for name in pairs:
            sides = [self._seen[f"{side} {name}"][0] for side in SIDES if f"{side} {name}" in self._seen]
            if len(sides) == len(SIDES):
                self._seen[name] = sides
        self.sliders: dict[str, _Percentile] = {}
        self.first = self.box = QComboBox()
        make_narrow(self.box)
        self.box.setEditable(True)
        self.box.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        for name in sorted(self._seen, key=_without_side):
            self.box.addItem(self._title(name), name)
        self.box.setCurrentIndex(-1)
        self.box.lineEdit().setPlaceholderText(f"Ask for one of the {field.name} …")
        self.box.setToolTip(f"Type or choose a name: its slider sets the percentile of the {field.name} that come out.")
        self.box.setAccessibleName(f"Ask for one of the {field.name}")
        completer = self.box.completer()
        completer.setFilterMode(Qt.MatchFlag.MatchContains)
        completer.setCompletionMode(QCompleter.CompletionMode.PopupCompletion)
        self._column = flat(QVBoxLayout(self))
        self._column.addWidget(self.box)
        self.box.activated.connect(self._on_chosen)

    def add(self, entry: str, percentile: float = USUAL) -> None:
        """Ask for an entry, or move its slider where it is asked for already. A pair takes the place of its sides."""
        if entry not in self.sliders:
            pair = _without_side(entry)
            for other in {pair} if pair != entry else {f"{side} {entry}" for side in SIDES}:
                if other in self.sliders:
                    self.remove(other)
            slider = _Percentile(self._title(entry), self._seen[entry], self._unit)
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
        slider.hide()
        slider.deleteLater()
        self.changed.emit()

    def value(self) -> Value | None:  # noqa: D102 the base class says it
        return {entry: f"{slider.slider.value()}%" for entry, slider in self.sliders.items()} or None

    def set_value(self, value: Value | None) -> None:  # noqa: D102 the base class says it
        entries = value if isinstance(value, dict) else {}
        for entry in list(self.sliders):
            if entry not in entries:
                self.remove(entry)
        for entry, asked in entries.items():
            if entry in self._seen:
                told = str(asked)
                percentile = told.endswith("%")
                self.add(entry, float(told.rstrip("%")) if percentile else self._seen[entry][0].percentile(float(told)))

    def _title(self, entry: str) -> str:
        both = len(self._seen[entry]) == len(SIDES)
        return readable(entry) + (", both sides" if both else "")

    def _on_chosen(self, index: int) -> None:
        self.add(self.box.itemData(index))
        self.box.setCurrentIndex(-1)


class _Percentile(QWidget):
    """A percentile among the training subjects, and what that is in the unit of each number that it is asked of."""

    changed = Signal()
    removed = Signal()

    def __init__(self, title: str, seen: list[Numbers], unit: str) -> None:
        super().__init__()
        self._seen, self._unit = seen, unit
        self.label = wrapping_label(title)
        self.amount = QLabel()
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, 100)
        self.slider.setAccessibleName(f"Percentile of {title}")
        self.slider.setToolTip("Percentile among the subjects that the model saw.")
        self.reset = QToolButton(text="✕")
        self.reset.setToolTip(f"Leave {title} to the model.")
        self.reset.setAccessibleName(f"Leave {title} to the model")
        column = flat(QVBoxLayout(self))
        column.addWidget(self.label)
        row = QHBoxLayout()
        row.addWidget(self.slider, 1)
        row.addWidget(self.amount)
        row.addWidget(self.reset)
        column.addLayout(row)
        self.slider.valueChanged.connect(self._on_value)
        self.reset.clicked.connect(self.removed)
        self._on_value(0)

    def _on_value(self, percentile: int) -> None:
        amount = f"{', '.join(f'{seen.at(percentile):.1f}' for seen in self._seen)} {self._unit}".strip()
        self.amount.setText(f"{percentile}%: {amount}")
        self.changed.emit()


def _without_side(entry: str) -> str:
    first, _, rest = entry.partition(" ")
    return rest if first in SIDES else entry
