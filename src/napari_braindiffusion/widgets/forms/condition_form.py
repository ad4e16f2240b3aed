"""What a model can be asked for, drawn from its schema: a slider, a choice, percentiles of region volumes, a layer."""

from collections.abc import Iterable

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFormLayout, QPushButton, QVBoxLayout, QWidget

from braindiffusion.conditions import AnyField, CategoryField, ConditionSchema, ScalarField, Value, VectorField
from napari_braindiffusion.widgets.forms.condition_rows import (
    ChoiceRow,
    ConditionRow,
    LayerRow,
    NumberRow,
    flat,
    readable,
)
from napari_braindiffusion.widgets.forms.layout import form_layout
from napari_braindiffusion.widgets.forms.percentiles import PercentilesRow


class ConditionForm(QWidget):
    """One row a field; a row that is left alone asks for nothing."""

    changed = Signal()
    """Something else is asked for."""
    drawn = Signal()
    """The rows are another model's."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows: dict[str, ConditionRow] = {}
        self._form = form_layout()
        self._schema = ConditionSchema()
        self._layers: list[str] = []
        self.reset_button = QPushButton("Ask for nothing")
        self.reset_button.setToolTip("Leave all of this to the model again.")
        self.reset_button.clicked.connect(lambda: self.ask({}))
        layout = flat(QVBoxLayout(self))
        layout.addLayout(self._form)
        layout.addWidget(self.reset_button)
        self.changed.connect(self._allow_reset)
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
            if isinstance(row, LayerRow):
                row.offer(self._layers)
            row.changed.connect(self.changed)
            if isinstance(row, PercentilesRow):
                self._form.addRow(row)
            else:
                self._form.addRow(readable(name), row)
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
            if isinstance(row, LayerRow):
                row.offer(self._layers)

    def asked(self) -> dict[str, Value]:
        """What is asked for, as a request has it; a map by the name of its layer."""
        values = {name: row.value() for name, row in self.rows.items()}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def map_fields(self) -> tuple[str, ...]:
        """The fields whose value is the name of a layer."""
        return tuple(name for name, row in self.rows.items() if isinstance(row, LayerRow))

    def ask(self, asked: dict[str, Value]) -> None:
        """Show these values; what they leave out is not asked for."""
        for name, row in self.rows.items():
            row.set_value(asked.get(name))
        self._allow_reset()

    def _allow_reset(self) -> None:
        self.reset_button.setEnabled(bool(self.asked()))


def _row(field: AnyField) -> ConditionRow:
    if isinstance(field, ScalarField):
        return NumberRow(field)
    if isinstance(field, CategoryField):
        return ChoiceRow(field)
    if isinstance(field, VectorField):
        return PercentilesRow(field)
    return LayerRow(field)
