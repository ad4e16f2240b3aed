"""Conditions of many numbers: an entry is found by any part of its name and gets a slider for its percentile.

Any vector but region volumes can also be a row of a table.
"""

from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QCompleter, QHBoxLayout, QLabel, QSlider, QToolButton, QVBoxLayout, QWidget

from braindiffusion.cohort.vectors.table import ROW, row_names
from braindiffusion.conditions import Numbers, Value, VectorField
from braindiffusion.errors import BrainDiffusionError
from napari_braindiffusion.widgets import readable
from napari_braindiffusion.widgets.forms.condition_rows import ConditionRow, range_text, without_margins
from napari_braindiffusion.widgets.forms.field_widgets import PathEdit
from napari_braindiffusion.widgets.forms.layout import make_narrow, wrapping_label

SIDES = ("left", "right")
INITIAL = 90.0
"""Percentile of a region that is added: large, so that the effect is visible."""


class PercentilesRow(ConditionRow):
    """A box to find entries in, and a slider for each that was added. Both sides of a pair can be added at once."""

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
        self.box.lineEdit().setPlaceholderText(
            "Add region volume …" if field.name == "volumes" else f"Add {readable(field.name).lower()} …"
        )
        self.box.setToolTip(
            f"Type or choose a name. A slider sets its percentile among the training data's {field.name}."
        )
        self.box.setAccessibleName(self.box.lineEdit().placeholderText())
        completer = self.box.completer()
        completer.setFilterMode(Qt.MatchFlag.MatchContains)
        completer.setCompletionMode(QCompleter.CompletionMode.PopupCompletion)
        self._column = without_margins(QVBoxLayout(self))
        self._column.addWidget(self.box)
        self.box.activated.connect(self._on_chosen)

    def add(self, entry: str, percentile: float = INITIAL) -> None:
        """Add an entry, or move its slider where it was added before. A pair replaces its sides."""
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
        """Remove an entry."""
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
                text = str(asked)
                percentile = text.endswith("%")
                self.add(entry, float(text.rstrip("%")) if percentile else self._seen[entry][0].percentile(float(text)))

    def _title(self, entry: str) -> str:
        both = len(self._seen[entry]) == len(SIDES)
        return readable(entry) + (", both sides" if both else "")

    def _on_chosen(self, index: int) -> None:
        self.add(self.box.itemData(index))
        self.box.setCurrentIndex(-1)


class VectorRow(ConditionRow):
    """A table and one of its rows; without a table, entries with sliders."""

    def __init__(self, field: VectorField) -> None:
        super().__init__()
        self._vector: Value | None = None
        self.table = PathEdit("r", "Tables (*.tsv *.csv *.xls *.xlsx);;All (*)", name=f"table of {field.name}")
        self.table.native.setToolTip(
            f"A table with the {len(field.entries)} columns of the training: a brain is generated for one of its rows."
        )
        self.rows = QComboBox()
        make_narrow(self.rows)
        self.rows.setToolTip("The row whose numbers condition the brain.")
        self.rows.setAccessibleName(f"Row of {readable(field.name)}")
        self.message = wrapping_label("")
        self.sliders = PercentilesRow(field)
        label = QLabel(f"{readable(field.name)} (row of a table)")
        self.first = self.table.native
        label.setBuddy(self.first)
        column = without_margins(QVBoxLayout(self))
        for widget in (label, self.table.native, self.rows, self.message, self.sliders):
            column.addWidget(widget)
        self.table.changed.connect(lambda _: self._on_table())
        self.rows.currentIndexChanged.connect(lambda _: self.changed.emit())
        self.sliders.changed.connect(self.changed)
        self._on_table()

    def value(self) -> Value | None:  # noqa: D102 the base class says it
        if (path := self.table.value) is not None:
            return f"{path}{ROW}{row}" if (row := self.rows.currentText()) else str(path)
        return self.sliders.value() if self._vector is None else self._vector

    def set_value(self, value: Value | None) -> None:  # noqa: D102 the base class says it
        path, mark, row = value.rpartition(ROW) if isinstance(value, str) else ("", "", "")
        path = path if mark else value if isinstance(value, str) else ""
        self.table.value = Path(path) if path else None
        self._on_table()
        self.rows.setCurrentIndex(max(0, self.rows.findText(row)))
        self._vector = value if isinstance(value, tuple | list) else None
        self.table.show_default("none" if self._vector is None else f"{len(self._vector)} numbers")
        self.sliders.set_value(value if isinstance(value, dict) else None)

    def _on_table(self) -> None:
        self._vector = None
        self.table.show_default("none")
        path, names, problem = self.table.value, [], ""
        if isinstance(path, Path):
            try:
                names = row_names(path)
            except BrainDiffusionError as error:
                problem = str(error)
        blocked = self.rows.blockSignals(True)
        self.rows.clear()
        self.rows.addItems(names)
        self.rows.blockSignals(blocked)
        self.rows.setVisible(bool(names))
        self.message.setText(problem)
        self.message.setVisible(bool(problem))
        self.sliders.setVisible(path is None)
        self.changed.emit()


class _Percentile(QWidget):
    """A percentile of the training data, and the volume of each side at it."""

    changed = Signal()
    removed = Signal()

    def __init__(self, title: str, seen: list[Numbers], unit: str) -> None:
        super().__init__()
        self._seen, self._unit = seen, unit
        self.label = wrapping_label(f"{title} ({range_text(seen, unit)} in training subjects)")
        self.amount = QLabel()
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, 100)
        self.slider.setAccessibleName(f"Percentile of {title}")
        self.slider.setToolTip("Percentile among the training subjects.")
        self.remove_button = QToolButton(text="✕")
        self.remove_button.setToolTip(f"Remove {title}.")
        self.remove_button.setAccessibleName(f"Remove {title}")
        column = without_margins(QVBoxLayout(self))
        column.addWidget(self.label)
        row = QHBoxLayout()
        row.addWidget(self.slider, 1)
        row.addWidget(self.amount)
        row.addWidget(self.remove_button)
        column.addLayout(row)
        self.slider.valueChanged.connect(self._on_value)
        self.remove_button.clicked.connect(self.removed)
        self._on_value(0)

    def _on_value(self, percentile: int) -> None:
        amount = f"{', '.join(f'{seen.at(percentile):.1f}' for seen in self._seen)} {self._unit}".strip()
        self.amount.setText(f"{percentile}%: {amount}")
        self.changed.emit()


def _without_side(entry: str) -> str:
    first, _, rest = entry.partition(" ")
    return rest if first in SIDES else entry
