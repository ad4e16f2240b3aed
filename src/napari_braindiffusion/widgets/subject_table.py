"""What was found in a folder: one row a subject, and what is wrong with it."""

from collections.abc import Sequence
from dataclasses import dataclass

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QSortFilterProxyModel, Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

COLUMNS = ("Subject", "Age", "Sex", "Site", "Kind", "Voxels", "mm", "Remarks")
# Okabe and Ito's vermillion: seen on dark and light ground, and by the colour-blind.
WRONG = QColor("#D55E00")


@dataclass(frozen=True)
class SubjectRow:
    """One subject as the table shows it; `key` is whatever the dock wants to know it by."""

    key: int
    subject: str
    age: float | None = None
    sex: str | None = None
    site: str | None = None
    modality: str | None = None
    shape: tuple[int, int, int] | None = None
    spacing: tuple[float, float, float] | None = None
    problem: str = ""
    """Why it will be left out."""
    note: str = ""
    """What is odd, and stops nothing."""

    def cells(self) -> tuple[str | float | None, ...]:
        """What stands in each column."""
        shape = " x ".join(map(str, self.shape)) if self.shape else None
        spacing = " x ".join(f"{size:.3g}" for size in self.spacing) if self.spacing else None
        return (self.subject, self.age, self.sex, self.site, self.modality, shape, spacing, self.problem or self.note)


class _Model(QAbstractTableModel):
    def __init__(self) -> None:
        super().__init__()
        self.subjects: Sequence[SubjectRow] = ()

    def set_subjects(self, subjects: Sequence[SubjectRow]) -> None:
        self.beginResetModel()
        self.subjects = subjects
        self.endResetModel()

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        return len(self.subjects)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        return len(COLUMNS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return COLUMNS[section]
        return None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        row = self.subjects[index.row()]
        cell = row.cells()[index.column()]
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return f"{cell:.1f}" if isinstance(cell, float) else "" if cell is None else cell
            case Qt.ItemDataRole.UserRole:  # to sort by
                return cell if cell is not None else -1.0 if COLUMNS[index.column()] == "Age" else ""
            case Qt.ItemDataRole.ForegroundRole if row.problem:
                return WRONG
            case Qt.ItemDataRole.ToolTipRole:
                return row.problem or row.note or None
        return None


class SubjectTable(QTableView):
    """The subjects of a folder, sortable; rows with a problem stand out and come first."""

    selection_changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = _Model()
        self._sorted = QSortFilterProxyModel(self)
        self._sorted.setSourceModel(self._model)
        self._sorted.setSortRole(Qt.ItemDataRole.UserRole)
        self.setModel(self._sorted)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setSortingEnabled(True)
        self.sortByColumn(0, Qt.SortOrder.AscendingOrder)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)  # Tab leaves the table
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(22)
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        self.horizontalHeader().setStretchLastSection(True)
        self.setMinimumHeight(140)
        self.selectionModel().selectionChanged.connect(lambda *_: self.selection_changed.emit())

    def set_subjects(self, subjects: Sequence[SubjectRow]) -> None:
        """Show these subjects."""
        self._model.set_subjects(subjects)
        self.resizeColumnsToContents()

    @property
    def subjects(self) -> list[SubjectRow]:
        """All subjects, in the order they were given."""
        return list(self._model.subjects)

    @property
    def selected(self) -> list[SubjectRow]:
        """The chosen subjects, from top to bottom."""
        rows = sorted(index.row() for index in self.selectionModel().selectedRows())
        return [self._model.subjects[self._sorted.mapToSource(self._sorted.index(row, 0)).row()] for row in rows]
