"""The form of a model's conditions, made from its schema: sliders, choices, percentiles of region volumes, a layer."""

from collections.abc import Iterable, Mapping

from napari.layers import Layer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFormLayout, QPushButton, QVBoxLayout, QWidget

from braindiffusion.conditions import VOLUMES, AnyField, CategoryField, ConditionSchema, ScalarField, Value, VectorField
from napari_braindiffusion.widgets import readable
from napari_braindiffusion.widgets.forms.condition_rows import (
    ChoiceRow,
    ConditionRow,
    LayerRow,
    NumberRow,
    range_text,
    without_margins,
)
from napari_braindiffusion.widgets.forms.layout import form_layout
from napari_braindiffusion.widgets.forms.percentiles import PercentilesRow, VectorRow


class ConditionForm(QWidget):
    """One row for each field. A row that is left alone is no condition."""

    changed = Signal()
    """The conditions have changed."""
    drawn = Signal()
    """The rows are those of another model."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows: dict[str, ConditionRow] = {}
        self._form = form_layout()
        self._schema = ConditionSchema()
        self._layers: list[Layer] = []
        self.clear_button = QPushButton("Clear conditions")
        self.clear_button.setToolTip("Remove all conditions: brains of any kind are generated.")
        self.clear_button.clicked.connect(lambda: self.ask({}))
        layout = without_margins(QVBoxLayout(self))
        layout.addLayout(self._form)
        layout.addWidget(self.clear_button)
        self.changed.connect(self._allow_clear)
        self.hide()

    def set_schema(self, schema: ConditionSchema) -> None:
        """Make the rows of a model. Fields that both models have keep their value."""
        if schema == self._schema:
            return
        asked = self.asked()
        while self._form.rowCount():
            self._form.removeRow(0)
        self._schema = schema
        self.rows = {field.name: _row(field) for field in schema.fields}
        for field, row in zip(schema.fields, self.rows.values(), strict=True):
            if isinstance(row, LayerRow):
                row.offer(self._layers)
            row.changed.connect(self.changed)
            if isinstance(row, PercentilesRow | VectorRow | LayerRow):
                self._form.addRow(row)
            else:
                self._form.addRow(_label(field), row)
                self._form.itemAt(self._form.rowCount() - 1, QFormLayout.ItemRole.LabelRole).widget().setBuddy(
                    row.first
                )
        self.ask(asked)
        self.setVisible(bool(schema))
        self.drawn.emit()

    def offer_layers(self, layers: Iterable[Layer]) -> None:
        """Offer the Labels layers that can be a region map."""
        self._layers = list(layers)
        for row in self.rows.values():
            if isinstance(row, LayerRow):
                row.offer(self._layers)

    def asked(self) -> dict[str, Value]:
        """Return the conditions as a request has them; a region map by the name of its layer."""
        values = {name: row.value() for name, row in self.rows.items()}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def map_fields(self) -> tuple[str, ...]:
        """Names of the fields whose value is the name of a layer."""
        return tuple(name for name, row in self.rows.items() if isinstance(row, LayerRow))

    def ask(self, asked: dict[str, Value]) -> None:
        """Show these conditions, and no others."""
        for name, row in self.rows.items():
            row.set_value(asked.get(name))
        self._allow_clear()

    def not_shown(self, asked: Mapping[str, Value]) -> list[str]:
        """Return the names of conditions of a request that the rows, which were set to it, do not ask for.

        Numbers outside of a slider or between its steps, files of region maps, fields of another model.
        """
        shown = self.asked()
        return [name for name, value in asked.items() if _plain(shown.get(name)) != _plain(value)]

    def _allow_clear(self) -> None:
        self.clear_button.setEnabled(bool(self.asked()))


def _plain(value: Value | None) -> object:
    return list(value) if isinstance(value, tuple) else value


def _label(field: AnyField) -> str:
    """Return the name of a field, and under it the range of the training subjects where it is a number."""
    return readable(field.name) + (f"\n{range_text([field.seen])}" if isinstance(field, ScalarField) else "")


def _row(field: AnyField) -> ConditionRow:
    if isinstance(field, ScalarField):
        return NumberRow(field)
    if isinstance(field, CategoryField):
        return ChoiceRow(field)
    if isinstance(field, VectorField):
        return PercentilesRow(field) if field.name == VOLUMES else VectorRow(field)
    return LayerRow(field)
