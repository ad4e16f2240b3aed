"""The table of the subjects of a folder: a row each, with a check box, a picture and its quality flags."""

from collections.abc import Iterable, Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from braindiffusion.runs import QCFlag
from napari_braindiffusion.widgets.tables.subject_model import (
    BRAIN,
    PICTURE_HEIGHT,
    SUBJECT,
    USE,
    SubjectFilter,
    SubjectModel,
    SubjectRow,
)


class SubjectTable(QTableView):
    """The subjects of a folder, to sort, filter and check. Space checks the highlighted rows."""

    selection_changed = Signal()
    checked_changed = Signal()
    """The checked rows, or the flags of a row, have changed."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = SubjectModel(self)  # Qt ends them together: PySide crashes where Python ends the model first
        self.filter = SubjectFilter(self._model)
        self.setModel(self.filter)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setSortingEnabled(True)
        self.sortByColumn(SUBJECT, Qt.SortOrder.AscendingOrder)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)  # Tab leaves the table
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(PICTURE_HEIGHT + 2)
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        self.horizontalHeader().setStretchLastSection(True)
        self.setMinimumHeight(140)
        self.selectionModel().selectionChanged.connect(lambda *_: self.selection_changed.emit())
        self._model.checked_changed.connect(self.checked_changed)

    def set_subjects(self, subjects: Sequence[SubjectRow]) -> None:
        """Show these subjects, all checked."""
        self._model.set_subjects(subjects)
        self.resizeColumnsToContents()
        self.setColumnWidth(BRAIN, 3 * PICTURE_HEIGHT + 8)

    def update_subject(self, number: int, marks: tuple[QCFlag, ...], picture: str) -> None:
        """Show the flags and the picture of subject `number`, in the order in which they were given."""
        self._model.update_subject(number, marks, picture)

    def set_colours(self, problem: str, warning: str) -> None:
        """Set the colours of the signs."""
        self._model.set_colours({"problem": problem, "warning": warning})

    def check_shown(self, *, use: bool) -> None:
        """Check all rows that pass the filter, or uncheck them."""
        self._model.check(self._sources(range(self.filter.rowCount())), use=use)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: D102 Qt's
        if event.key() != Qt.Key.Key_Space:
            super().keyPressEvent(event)
            return
        chosen = self._sources(index.row() for index in self.selectionModel().selectedRows())
        chosen = [number for number in chosen if not self._model.subjects[number].problem]
        if chosen:
            self._model.check(chosen, use=not all(self._model.is_checked(number) for number in chosen))

    @property
    def subjects(self) -> list[SubjectRow]:
        """All subjects, in the order they were given."""
        return list(self._model.subjects)

    @property
    def shown(self) -> list[SubjectRow]:
        """The subjects that pass the filter, from top to bottom."""
        return [self._model.subjects[number] for number in self._sources(range(self.filter.rowCount()))]

    @property
    def checked(self) -> list[SubjectRow]:
        """The subjects to use, in the order they were given."""
        return [row for number, row in enumerate(self._model.subjects) if self._model.is_checked(number)]

    @property
    def current(self) -> SubjectRow | None:
        """The subject under the cursor."""
        index = self.filter.mapToSource(self.currentIndex())
        return self._model.subjects[index.row()] if index.isValid() else None

    @property
    def selected(self) -> list[SubjectRow]:
        """The highlighted subjects, from top to bottom."""
        rows = sorted(index.row() for index in self.selectionModel().selectedRows())
        return [self._model.subjects[number] for number in self._sources(rows)]

    def _sources(self, rows: Iterable[int]) -> list[int]:
        return [self.filter.mapToSource(self.filter.index(row, USE)).row() for row in rows]
