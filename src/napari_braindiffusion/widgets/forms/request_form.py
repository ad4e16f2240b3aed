"""A form made from a pydantic request by magicgui: a widget for each field, from its type, bounds, title and help."""

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin

from magicgui.widgets import CheckBox, Container
from magicgui.widgets.bases import ValueWidget
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from qtpy.QtCore import Signal
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QLabel, QLayout, QSizePolicy, QVBoxLayout, QWidget

from braindiffusion.errors import BrainDiffusionError
from napari_braindiffusion.widgets.forms.field_widgets import (
    ChoiceEdit,
    NumberEdit,
    OptionalLineEdit,
    PathEdit,
    SequenceEdit,
    digits_after_point,
)
from napari_braindiffusion.widgets.forms.layout import collapsed

Row: TypeAlias = str | ValueWidget[Any] | QWidget
"""A field of the request, a magicgui widget that is no field of it, or a Qt widget over the whole width."""
ON_OFF = (("On", True, ""), ("Off", False, ""))
"""Choices of a switch that is neither on nor off by default."""
LARGEST = 2**31 - 1
"""Highest number where a field has no upper bound."""
_TOOLTIP_WIDTH = 80
_SHORT_UNIT = 3
"""Letters of a unit that is written after the number; a longer one stands in the tooltip alone."""


class RequestForm(QWidget):
    """Two magicgui containers, the second behind a click, with a widget for each of some fields of a request.

    Args:
        request: The class that defines names, types, defaults, bounds, titles and help.
        rows: What is always visible, from top to bottom.
        advanced: What is behind a click.
        options: For a field what its type does not tell: `mode` and `filter` of a path, `decimals` and `step` of a
            number, `choices` (`Choice`) of a text, `default` (text where the field is left out).
        more: Title of what is behind a click.
    """

    changed = Signal()
    """Some field has another value."""

    def __init__(
        self,
        request: type[BaseModel],
        rows: Sequence[Row],
        advanced: Sequence[Row] = (),
        *,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        more: str = "Advanced",
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._request = request
        self._options = options or {}
        self._quiet = False
        self._mnemonics: set[str] = set()
        self.fields: dict[str, Any] = {}
        """The magicgui widget of each field, by its name in the request."""
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.basic = self._container(rows)
        layout.addWidget(self.basic.native)
        if advanced:
            self.advanced = self._container(advanced)
            self.more = collapsed(more, self.advanced.native, "Settings that are rarely changed.")
            layout.addWidget(self.more)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)

    def showEvent(self, event: QShowEvent) -> None:
        """Give all labels one width, once the style sheet is known."""
        super().showEvent(event)
        labels = [self._label(widget) for widget in (*self.basic, *getattr(self, "advanced", ()))]
        width = max((label.sizeHint().width() for label in labels if label is not None), default=0)
        for label in labels:
            if label is not None:
                label.setMinimumWidth(width)

    def values(self) -> dict[str, Any]:
        """Return the value of each field, as the request takes it."""
        return {name: widget.value for name, widget in self.fields.items()}

    def set_values(self, request: BaseModel | Mapping[str, Any]) -> None:
        """Show the values of a request, or of some of its fields. `changed` comes once.

        Raises:
            BrainDiffusionError: a field cannot show its value.
        """
        values = request if isinstance(request, Mapping) else dict(request)
        self._quiet = True
        try:
            for name, widget in self.fields.items():
                if name in values:
                    self._show_value(name, widget, values[name])
        finally:
            self._quiet = False
        self.changed.emit()

    def _show_value(self, name: str, widget: Any, value: Any) -> None:
        if isinstance(widget, NumberEdit):
            widget.make_room(value)
        try:
            widget.value = value
        except ValueError as error:
            msg = f"{label_of(self._request, name)}: {value} cannot be shown in the form."
            raise BrainDiffusionError(msg) from error

    def missing(self) -> list[str]:
        """Return the labels of the fields that the request cannot do without and that are empty."""
        needed = (name for name, info in self._request.model_fields.items() if info.is_required())
        return [label_of(self._request, name) for name in needed if name in self.fields and not self.fields[name].value]

    def make_request(self, **others: Any) -> Any:
        """Return the request, with the values of fields that the form does not show.

        Raises:
            BrainDiffusionError: a value does not fit.
        """
        try:
            return self._request(**self.values() | others)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]) if first["loc"] else ""
            label = label_of(self._request, name) if name else "Settings"
            what = getattr(self.fields.get(name), "mistake", "") or first["msg"].removeprefix("Value error, ")
            raise BrainDiffusionError(f"{label}: {what}.") from error

    def show_default(self, name: str, value: Any = None) -> None:
        """Show what a field that is left out stands for: "Default (12)", or "Default" where that is not known."""
        several = list(value) if isinstance(value, tuple | list) else [] if value is None else [value]
        texts = [f"{one:g}" if isinstance(one, float) else str(one) for one in several]
        if isinstance(self.fields[name], NumberEdit) and len(set(texts)) > 1:  # no room for more than a range
            texts = [f"{min(several):g} to {max(several):g}"]
        shown = ", ".join(texts) if len(set(texts)) > 1 else "".join(texts[:1])
        self.fields[name].show_default(f"Default ({shown})" if shown else "Default")

    def set_visible(self, name: str, visible: bool) -> None:
        """Show or hide the row of a field."""
        self.fields[name].visible = visible

    def add_beside(self, name: str, widget: QWidget) -> None:
        """Add a Qt widget, such as a button, at the right of a field."""
        _row_of(self.fields[name].native).addWidget(widget)

    def _container(self, rows: Iterable[Row]) -> Container[Any]:
        rows = list(rows)
        built = [self._build(row) if isinstance(row, str) else row for row in rows]
        container = Container(widgets=[one for one in built if not isinstance(one, QWidget)])
        container.margins = (0, 0, 0, 0)
        layout = container.native.layout()
        layout.setSpacing(6)
        for index, one in enumerate(built):
            if isinstance(one, QWidget):
                layout.insertWidget(index, one)
            else:
                self._make_reachable(one)
                one.changed.connect(self._on_changed)
        return container

    def _build(self, name: str) -> Any:
        info = self._request.model_fields[name]
        widget = build_widget(name, info, label_of(self._request, name), self._options.get(name, {}))
        self.fields[name] = widget
        return widget

    def _make_reachable(self, widget: Any) -> None:
        """Give a widget a mnemonic, a label that moves the focus to it, and a name for a screen reader."""
        text = str(widget.text if isinstance(widget, CheckBox) else widget.label)
        marked = self._with_mnemonic(text)
        focus = widget.native.focusProxy() or widget.native
        focus.setAccessibleName(text)
        if isinstance(widget, PathEdit):
            widget.choose_btn.native.setAccessibleName(f"Choose: {text}")
            for part in (focus, widget.choose_btn.native):
                part.setToolTip(widget.tooltip or "")
        if isinstance(widget, CheckBox):
            widget.text = marked
            return
        widget.label = marked
        label = self._label(widget)
        if label is not None:
            label.setBuddy(focus)

    def _label(self, widget: Any) -> QLabel | None:
        """Return the label beside a widget; None beside a check box, whose text it is."""
        if isinstance(widget, CheckBox):
            return None
        label: QLabel = widget.native.parentWidget().findChild(QLabel)
        label.ensurePolished()
        return label

    def _with_mnemonic(self, text: str) -> str:
        for place, letter in enumerate(text):
            if letter.isalnum() and letter.lower() not in self._mnemonics:
                self._mnemonics.add(letter.lower())
                return f"{text[:place]}&{text[place:]}"
        return text

    def _on_changed(self, _: object = None) -> None:
        if not self._quiet:
            self.changed.emit()


def label_of(request: type[BaseModel], name: str) -> str:
    """Return the label of a field: its title, else its name as a sentence begins."""
    info = request.model_fields.get(name)
    return (info.title if info else None) or name.replace("_", " ").capitalize()


def tooltip_of(info: FieldInfo) -> str:
    """Return the help of a field as a tooltip of several short lines."""
    text = re.sub(r"\s+", " ", (info.description or "").replace("`", ""))
    return textwrap.fill(text, _TOOLTIP_WIDTH)


def build_widget(name: str, info: FieldInfo, label: str, options: Mapping[str, Any] | None = None) -> Any:
    """Return the magicgui widget of a field, with its default.

    Args:
        name: Name of the field.
        info: Its type, default, bounds and help.
        label: Text of its label.
        options: As `RequestForm` takes them.

    Raises:
        TypeError: no widget holds such values, for instance a request within the request.
    """
    hints = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    options = {**hints, **(options or {})}
    kinds = _members(info.annotation)
    nullable = NoneType in kinds
    kinds = tuple(kind for kind in kinds if kind is not NoneType)
    common: dict[str, Any] = {"name": name, "label": label, "tooltip": tooltip_of(info) or label, "nullable": nullable}
    widget = _widget_of(kinds, info, options, common)
    if nullable or isinstance(widget, PathEdit):
        widget.show_default(str(options.get("default", "" if info.is_required() else "Default")))
    default = info.get_default(call_default_factory=True)
    offered = not isinstance(widget, ChoiceEdit) or widget.extendable or default in widget.choices
    if not info.is_required() and offered and default != widget.value:
        widget.value = default
    return widget


def _widget_of(kinds: tuple[Any, ...], info: FieldInfo, options: Mapping[str, Any], common: dict[str, Any]) -> Any:
    sequence = next((kind for kind in kinds if get_origin(kind) is tuple), None)
    if sequence is not None:
        items = get_args(sequence)
        if items[0] is Path:
            return PathEdit("rm", options.get("filter"), **common)
        length = None if items[-1] is Ellipsis else len(items)
        return SequenceEdit(item=items[0], length=length, scalar=len(kinds) > 1, **common)
    if len(kinds) == 1 and get_origin(kinds[0]) is Literal:
        return _choice(get_args(kinds[0]), options, common, extendable=False)
    match kinds:
        case (kind,) if kind is bool and common["nullable"]:
            return _choice((), {"choices": ON_OFF}, common, extendable=False)
        case (kind,) if kind is bool:
            return CheckBox(**common)
        case (kind,) if kind in (int, float):
            return _number(kind, info, options, common)
        case (kind,) if kind is Path:
            return PathEdit(options.get("mode", "d"), options.get("filter"), **common)
        case (kind,) if kind is str and "choices" in options:
            return _choice((), options, common, extendable=True)
        case (kind,) if kind is str:
            return OptionalLineEdit(**common)
    raise TypeError(f"No widget holds values of {info.annotation}.")


def _choice(values: Sequence[Any], options: Mapping[str, Any], common: dict[str, Any], *, extendable: bool) -> Any:
    widget = ChoiceEdit(extendable=extendable, **common)
    given = options.get("choices", values)
    descriptions = given if isinstance(given, Mapping) else {}
    choices = [one if isinstance(one, tuple) else (str(one), one, str(descriptions.get(one, ""))) for one in given]
    widget.offer(choices)
    return widget


def _number(kind: type, info: FieldInfo, options: Mapping[str, Any], common: dict[str, Any]) -> NumberEdit:
    minimum, maximum = -LARGEST, LARGEST
    bounds = {key: getattr(one, key) for one in info.metadata for key in ("ge", "gt", "le", "lt") if hasattr(one, key)}
    decimals = int(options.get("decimals", max(2 if bounds.get("le", 2) <= 1 else 1, digits_after_point(info.default))))
    nearest = 1 if kind is int else 10.0**-decimals
    minimum = bounds.get("ge", bounds["gt"] + nearest if "gt" in bounds else minimum)
    maximum = bounds.get("le", bounds["lt"] - nearest if "lt" in bounds else maximum)
    step = options.get("step", 1 if kind is int else 0.1 if maximum <= 1 else 0.5)
    unit = str(options.get("unit", ""))
    return NumberEdit(
        integer=kind is int,
        minimum=minimum,
        maximum=maximum,
        decimals=decimals,
        unit=unit if len(unit) <= _SHORT_UNIT else "",
        step=step,
        **common,
    )


def _members(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _row_of(native: QWidget) -> QLayout:
    return native.parentWidget().layout()
