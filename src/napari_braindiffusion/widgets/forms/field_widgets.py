"""The magicgui widgets of a form's fields: numbers, sequences, text, choices and paths, each of which may be left out.

They add to magicgui's own widgets a visible default where a field may be `None`, and what a narrow dock needs.
"""

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from magicgui.application import use_app
from magicgui.types import FileDialogMode
from magicgui.widgets import ComboBox, FileEdit, FloatSpinBox, LineEdit
from magicgui.widgets.bases import RangedWidget
from qtpy.QtCore import QEvent, QObject, QRegularExpression, QStringListModel, Qt
from qtpy.QtGui import QRegularExpressionValidator
from qtpy.QtWidgets import QComboBox, QCompleter, QDoubleSpinBox, QSizePolicy

from napari_braindiffusion.settings import add_recent_path, recent_paths

PathMode = Literal["r", "rm", "w", "d"]
"""An existing file, existing files, a file to write, a folder; as magicgui's `FileEdit` names them."""
Choice = tuple[str, Any, str]
"""Text, value and tooltip of an item to choose."""

NARROWEST = 60
"""Pixels that a field needs at least: labels and fields fit into a dock of 300."""
MOST_DIGITS = 9
"""Largest number of digits after the point."""
EXACT = 2**53
"""Above it, a spin box has no place for every whole number."""
_PATTERNS = {int: r"\d+", float: r"\d+(\.\d*)?", str: r"[^,\s]+"}
_NOUNS = {int: "whole numbers", float: "numbers", str: "names"}
_EMPTY = "none"
"""Text of an empty sequence where `None` is something else."""


def digits_after_point(number: object) -> int:
    """Return how many digits after the point a decimal number has; 0 for anything else."""
    return max(0, -int(Decimal(str(number)).as_tuple().exponent)) if isinstance(number, float) else 0


class _SpinBox(QDoubleSpinBox):
    """Writes numbers without zeros at the end: 60, not 60.0."""

    def textFromValue(self, value: float) -> str:
        text = super().textFromValue(value)
        point = self.locale().decimalPoint()
        return text.rstrip("0").removesuffix(point) if point in text else text


_Backend: Any = use_app().get_obj("FloatSpinBox")


class _SpinBoxBackend(_Backend):  # type: ignore[misc, unused-ignore]
    """magicgui's own, with another Qt widget."""

    def __init__(self, **options: Any) -> None:
        super(_Backend, self).__init__(_SpinBox, **options)


class NumberEdit(FloatSpinBox):
    """A spin box for whole or decimal numbers. Its lowest position is `None` where the field is nullable.

    Args:
        integer: Whether `value` is an int.
        minimum: Lowest number.
        maximum: Highest number.
        decimals: Digits after the point.
        unit: Written after the number.
        options: As magicgui's `FloatSpinBox` takes them.
    """

    def __init__(
        self, *, integer: bool, minimum: float, maximum: float, decimals: int, unit: str = "", **options: Any
    ) -> None:
        self._decimals = 0 if integer else decimals
        below = 10.0**-self._decimals if options.get("nullable") else 0.0
        RangedWidget.__init__(self, widget_type=_SpinBoxBackend, min=minimum - below, max=maximum, **options)
        self._integer = integer
        self.native.setDecimals(self._decimals)
        self.native.setSuffix(f" {unit}" if unit else "")
        self.native.setMinimumWidth(NARROWEST)
        self.native.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def get_value(self) -> Any:  # noqa: D102 magicgui's
        if self._nullable and self.native.value() <= self.native.minimum():
            return None
        value = round(self.native.value(), self._decimals)
        return int(value) if self._integer else value

    def set_value(self, value: Any) -> None:  # noqa: D102 magicgui's
        if value is None and self._nullable:
            self.native.setValue(self.native.minimum())
        else:
            super().set_value(value)

    def make_room(self, value: Any) -> None:
        """Let the field show the number of a request as it is, with all of its digits.

        Bounds and digits of the field are for who types; a command or a script may have asked for others.
        """
        if value is None or abs(value) > EXACT:
            return
        if not self._integer:
            self._decimals = max(self._decimals, min(digits_after_point(value), MOST_DIGITS))
            self.native.setDecimals(self._decimals)
        below = 10.0**-self._decimals if self._nullable else 0.0
        self.native.setRange(min(self.native.minimum(), value - below), max(self.native.maximum(), value))

    def show_default(self, text: str) -> None:
        """Set the text of the lowest position, which means `None`."""
        self.native.setSpecialValueText(text)


class OptionalLineEdit(LineEdit):
    """A line of text. An empty one is `None`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.native.setMinimumWidth(NARROWEST)

    def get_value(self) -> Any:  # noqa: D102 magicgui's
        return self.native.text().strip() or None

    def set_value(self, value: Any) -> None:  # noqa: D102 magicgui's
        self.native.setText("" if value is None else str(value))

    def show_default(self, text: str) -> None:
        """Set the text that an empty line shows."""
        self.native.setPlaceholderText(text)


class SequenceEdit(OptionalLineEdit):
    """Values with commas between them, as a tuple.

    Args:
        item: Type of each value.
        length: How many there must be; None takes any number.
        scalar: Whether a single value stands for itself instead of a tuple of one.
        options: As magicgui's `LineEdit` takes them.
    """

    def __init__(self, *, item: type, length: int | None = None, scalar: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self._item, self._scalar = item, scalar
        self._expected = f"write {'' if length is None else f'{length} '}{_NOUNS[item]} with commas between them"
        one = _PATTERNS[item]
        several = f"{one}(\\s*,\\s*{one}){'*' if length is None else f'{{{length - 1}}}'}"
        self.native.setValidator(QRegularExpressionValidator(QRegularExpression(f"\\s*({several})?\\s*"), self.native))

    @property
    def mistake(self) -> str:
        """What to write instead, where the text is incomplete; else empty."""
        return "" if self.native.hasAcceptableInput() else self._expected

    def get_value(self) -> Any:
        """Return the tuple; the text itself, which no request takes, as long as it is incomplete."""
        text = super().get_value()
        if text is None:
            return None if self._nullable else ()
        if text == _EMPTY and self._item is str:
            return ()
        if not self.native.hasAcceptableInput():
            return text
        values = tuple(self._item(part.strip()) for part in text.split(","))
        return values[0] if self._scalar and len(values) == 1 else values

    def set_value(self, value: Any) -> None:  # noqa: D102 magicgui's
        if value == () and self._nullable:
            value = _EMPTY
        several = value if isinstance(value, tuple | list) else () if value is None else (value,)
        super().set_value(", ".join(f"{one:g}" if isinstance(one, float) else str(one) for one in several))


class ChoiceEdit(ComboBox):
    """A list to choose from, narrower than its longest line.

    Args:
        extendable: Whether a value that is not in the list is added to it when it is set.
        options: As magicgui's `ComboBox` takes them.
    """

    def __init__(self, *, extendable: bool = False, **options: Any) -> None:
        self.extendable = extendable
        self._default = "Default"
        super().__init__(**options)
        self.native.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.native.setMinimumWidth(NARROWEST)
        self.native.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def reset_choices(self, *_: Any) -> None:
        """Keep the choices: they are those that `offer` was given."""

    def offer(self, choices: Iterable[Choice]) -> None:
        """Replace the choices. What was chosen stays chosen while it is offered, or where the list is extendable."""
        native = self.native
        chosen = native.currentData()
        blocked = native.blockSignals(True)
        native.clear()
        if self._nullable:
            native.addItem(self._default, None)
        for text, value, tooltip in choices:
            native.addItem(text, value)
            native.setItemData(native.count() - 1, tooltip, Qt.ItemDataRole.ToolTipRole)
        if chosen is not None and (self.extendable or self._index(chosen) >= 0):
            self.value = chosen
        native.blockSignals(blocked)
        if native.currentData() != chosen:
            self.changed.emit(native.currentData())

    @property
    def value(self) -> Any:
        """The value of the chosen item; None where there is none."""
        return self.native.currentData()

    @value.setter
    def value(self, value: Any) -> None:
        if self._index(value) < 0:
            if not self.extendable:
                raise ValueError(f"{value!r} is none of {list(self.choices)}.")
            self.native.addItem(Path(str(value)).name, value)
            self.native.setItemData(self.native.count() - 1, str(value), Qt.ItemDataRole.ToolTipRole)
        self.native.setCurrentIndex(self._index(value))

    def show_default(self, text: str) -> None:
        """Set the text of the item that means `None`."""
        self._default = text
        if (index := self._index(None)) >= 0:
            self.native.setItemText(index, text)

    def _index(self, value: Any) -> int:
        return next((row for row in range(self.native.count()) if self.native.itemData(row) == value), -1)


class PathEdit(FileEdit):
    """A path: typed, dropped, or chosen in a dialog. `changed` comes once a path is entered, not with each letter."""

    def __init__(self, mode: PathMode = "d", filter: str | None = None, **options: Any) -> None:  # noqa: A002 magicgui's
        super().__init__(mode=FileDialogMode(mode), filter=filter, **options | {"nullable": True})
        self._told = self.value
        line = self.line_edit.native
        line.setAcceptDrops(False)  # a dropped file replaces the text instead of being inserted as a URL
        line.setMinimumWidth(NARROWEST)
        self.line_edit.changed.disconnect()
        line.editingFinished.connect(self._tell)
        line.textChanged.connect(self._on_text)
        self.choose_btn.text = "…"
        self.choose_btn.native.setMaximumWidth(28)
        self.native.setFocusProxy(line)
        self.native.setAcceptDrops(True)
        self._drops = _DropFilter(self)
        self.native.installEventFilter(self._drops)
        self._recent = QStringListModel()
        self._completer = QCompleter(self._recent)
        self._completer.setFilterMode(Qt.MatchFlag.MatchContains)
        line.setCompleter(self._completer)
        line.installEventFilter(self._drops)

    def get_value(self) -> Any:
        """Return the absolute path or paths; None, or no paths, where the line is empty."""
        several = tuple(Path(part).expanduser().absolute() for part in self._parts())
        if self.mode.value == "rm":
            return several
        return several[0] if several else None

    def set_value(self, value: Any) -> None:
        """Show a path as it is given."""
        several = value if isinstance(value, tuple | list) else () if value is None else (value,)
        self.line_edit.native.setText(", ".join(str(one) for one in several))
        self._tell()

    def show_default(self, text: str) -> None:
        """Set the text that an empty line shows."""
        self.line_edit.native.setPlaceholderText(text)

    def _on_text(self, text: str) -> None:
        line = self.line_edit.native
        line.setToolTip("\n".join(part for part in (text, self.tooltip) if part))  # a long path does not fit
        if text:
            line.setClearButtonEnabled(True)  # not before: Qt loads its icon for 60 ms
        else:
            self._tell()

    def _parts(self) -> list[str]:
        text = self.line_edit.native.text().strip()
        parts = text.split(", ") if self.mode.value == "rm" else [text]
        return [part.strip() for part in parts if part.strip()]

    def _tell(self) -> None:
        if self.value != self._told:
            self._told = self.value
            if isinstance(self._told, Path) and self._told.exists():
                add_recent_path(self.name, self._told)
            self.changed.emit(self._told)

    def show_recent(self) -> None:
        """Offer the paths that were entered last, below the empty line."""
        self._recent.setStringList(recent_paths(self.name))
        self._completer.setCompletionPrefix("")
        self._completer.complete()


class _DropFilter(QObject):
    """Takes local files and folders that are dropped on a path field; a click on the empty line shows recent paths."""

    def __init__(self, edit: PathEdit) -> None:
        super().__init__(edit.native)
        self._edit = edit

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        line = self._edit.line_edit.native
        if watched is line:
            if event.type() == QEvent.Type.MouseButtonRelease and not line.text():
                self._edit.show_recent()
            return False
        if event.type() not in (QEvent.Type.DragEnter, QEvent.Type.Drop):
            return False
        paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        if not paths or (len(paths) > 1 and self._edit.mode.value != "rm"):
            return True
        event.acceptProposedAction()
        if event.type() == QEvent.Type.Drop:
            self._edit.value = tuple(paths) if self._edit.mode.value == "rm" else paths[0]
        return True
