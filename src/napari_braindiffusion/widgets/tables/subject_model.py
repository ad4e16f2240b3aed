"""The subjects of a folder as a Qt model: the cells, which subjects are checked, and the filter."""

import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, QSortFilterProxyModel, Qt, Signal
from qtpy.QtGui import QColor, QPixmap

from braindiffusion.runs import QCFlag

COLUMNS = ("Use", "Subject", "Brain", "Age", "Sex", "Site", "Modality", "Voxels", "mm", "Remarks")
USE, SUBJECT, BRAIN, AGE = range(4)
PICTURE_HEIGHT = 28
"""Pixels of a row's picture, which is three times as wide."""
_SIGNS = {"problem": "✕", "warning": "?", "note": "i"}  # not by colour alone
_SEVERITY = ("problem", "warning", "note", "")
_Role = Qt.ItemDataRole


@dataclass(frozen=True)
class SubjectRow:
    """One subject of the table; `key` is an identifier that the dock chooses."""

    key: int
    subject: str
    age: float | None = None
    sex: str | None = None
    site: str | None = None
    modality: str | None = None
    shape: tuple[int, int, int] | None = None
    spacing: tuple[float, float, float] | None = None
    marks: tuple[QCFlag, ...] = ()
    """Quality flags, the most severe first."""
    picture: str = ""
    """Path of a PNG, three times as wide as high."""

    @property
    def severity(self) -> str:
        """Severity of the first flag; empty where there is none."""
        return self.marks[0].severity if self.marks else ""

    @property
    def problem(self) -> str:
        """The reason why the subject cannot be used; empty if it can."""
        return self.marks[0].message if self.severity == "problem" else ""

    @property
    def remarks(self) -> str:
        """All flags in one line."""
        return "; ".join(mark.message for mark in self.marks)

    def cells(self) -> tuple[str | float | None, ...]:
        """Return the value of each column."""
        shape = " x ".join(map(str, self.shape)) if self.shape else None
        spacing = " x ".join(f"{size:.3g}" for size in self.spacing) if self.spacing else None
        sign = _SIGNS.get(self.severity)
        return (
            *(sign, self.subject, None, self.age, self.sex, self.site, self.modality, shape, spacing),
            self.remarks,
        )


class SubjectModel(QAbstractTableModel):
    """Rows with a check box. All are checked at first, except those with a problem, which cannot be."""

    checked_changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.subjects: list[SubjectRow] = []
        self._unchecked: set[int] = set()
        self._pictures: dict[str, QPixmap] = {}
        self._colours: dict[str, QColor] = {}

    def set_subjects(self, subjects: Sequence[SubjectRow]) -> None:
        """Show these subjects, all checked."""
        self.beginResetModel()
        self.subjects = list(subjects)
        self._unchecked.clear()
        self._pictures.clear()
        self.endResetModel()
        self.checked_changed.emit()

    def update_subject(self, number: int, marks: tuple[QCFlag, ...], picture: str) -> None:
        """Show the flags and the picture of a subject that was inspected."""
        self.subjects[number] = replace(self.subjects[number], marks=marks, picture=picture)
        self.dataChanged.emit(self.index(number, 0), self.index(number, len(COLUMNS) - 1))
        self.checked_changed.emit()

    def set_colours(self, colours: dict[str, str]) -> None:
        """Set the background of the sign, by severity."""
        self._colours = {severity: QColor(colour) for severity, colour in colours.items()}
        self.headerDataChanged.emit(Qt.Orientation.Horizontal, USE, USE)

    def is_checked(self, number: int) -> bool:
        """Return whether a row is checked and can be used."""
        return number not in self._unchecked and not self.subjects[number].problem

    def check(self, numbers: Iterable[int], *, use: bool) -> None:
        """Check rows, or uncheck them."""
        (self._unchecked.difference_update if use else self._unchecked.update)(numbers)
        self.dataChanged.emit(self.index(0, USE), self.index(len(self.subjects) - 1, USE), [_Role.CheckStateRole])
        self.checked_changed.emit()

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: D102 Qt's
        return len(self.subjects)

    def columnCount(self, parent: QModelIndex | None = None) -> int:  # noqa: D102 Qt's
        return len(COLUMNS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = _Role.DisplayRole) -> object:  # noqa: D102 Qt's
        if orientation == Qt.Orientation.Horizontal and role == _Role.DisplayRole:
            return COLUMNS[section]
        return None

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:  # noqa: D102 Qt's
        flags = Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsEnabled
        if index.column() == USE and not self.subjects[index.row()].problem:
            flags |= Qt.ItemFlag.ItemIsUserCheckable
        return flags

    def setData(self, index: QModelIndex, value: object, role: int = _Role.EditRole) -> bool:  # noqa: D102 Qt's
        if role != _Role.CheckStateRole or index.column() != USE:
            return False
        self.check([index.row()], use=Qt.CheckState(value) == Qt.CheckState.Checked)
        return True

    def data(self, index: QModelIndex, role: int = _Role.DisplayRole) -> object:  # noqa: D102 Qt's
        row, column = self.subjects[index.row()], index.column()
        match role:
            case _Role.DisplayRole:
                cell = row.cells()[column]
                return f"{cell:.1f}" if isinstance(cell, float) else "" if cell is None else cell
            case _Role.UserRole:  # to sort by
                if column == USE:
                    return _SEVERITY.index(row.severity)
                return row.cells()[column] or (-1.0 if column == AGE else "")
            case _Role.CheckStateRole if column == USE:
                return Qt.CheckState.Checked if self.is_checked(index.row()) else Qt.CheckState.Unchecked
            case _Role.DecorationRole if column == BRAIN and row.picture:
                return self._picture(row.picture)
            case _Role.BackgroundRole if column == USE:
                return self._colours.get(row.severity)
            case _Role.ForegroundRole if column == USE and row.severity in self._colours:
                dark = self._colours[row.severity].lightnessF() < 0.45
                return QColor("white" if dark else "black")
            case _Role.ToolTipRole:
                return "\n".join(f"{mark.severity}: {mark.message}" for mark in row.marks) or None
        return None

    def _picture(self, path: str) -> QPixmap:
        if path not in self._pictures:
            whole = QPixmap(path)
            self._pictures[path] = whole.scaledToHeight(PICTURE_HEIGHT, Qt.TransformationMode.SmoothTransformation)
        return self._pictures[path]


_ASKED = re.compile(r"(age|sex|site|kind|modality|subject|mm|voxels)(<=|>=|=|<|>)(\S+)", re.IGNORECASE)
_SPACED = re.compile(r"\s*(<=|>=|=|<|>)\s*")
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
    "=": operator.eq,
}


class SubjectFilter(QSortFilterProxyModel):
    """Sorts the subjects, and keeps those that match all words that were typed."""

    def __init__(self, parent: "SubjectModel") -> None:
        super().__init__(parent)
        self.setSourceModel(parent)
        self.setSortRole(_Role.UserRole)
        self._tests: list[Callable[[SubjectRow], bool]] = []
        self._only_flagged = False

    def set_text(self, text: str) -> None:
        """Filter by words: anywhere in a row; `age>60`, `sex=F`, `site=HH`, `mm<1.5` (largest side) in their column."""
        self._tests = [_test(word) for word in _SPACED.sub(r"\1", text).split()]
        self.invalidate()

    def set_only_flagged(self, only_flagged: bool) -> None:
        """Keep only subjects with a problem or a warning."""
        self._only_flagged = only_flagged
        self.invalidate()

    def filterAcceptsRow(self, source_row: int, source_parent: QModelIndex) -> bool:  # noqa: D102 Qt's
        row = self.sourceModel().subjects[source_row]
        if self._only_flagged and row.severity not in ("problem", "warning"):
            return False
        return all(test(row) for test in self._tests)


def _test(word: str) -> Callable[[SubjectRow], bool]:
    asked = _ASKED.fullmatch(word)
    if asked is None:
        return partial(_mentions, word.lower())
    return partial(_fits, asked[1].lower(), asked[2], asked[3].lower())


def _mentions(word: str, row: SubjectRow) -> bool:
    return any(word in str(cell).lower() for cell in row.cells() if cell is not None)


def _fits(column: str, sign: str, asked: str, row: SubjectRow) -> bool:
    known: float | str | None = {
        "age": row.age,
        "sex": row.sex,
        "site": row.site,
        "kind": row.modality,
        "modality": row.modality,
        "subject": row.subject,
        "mm": max(row.spacing) if row.spacing else None,
        "voxels": max(row.shape) if row.shape else None,
    }[column]
    if known is None:
        return False
    if isinstance(known, str):
        return sign == "=" and known.lower() == asked
    try:
        return _COMPARE[sign](known, float(asked))
    except ValueError:
        return False
