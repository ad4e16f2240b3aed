"""What was found in a folder: one row a subject with its picture, a tick, and what is odd about it."""

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
    """The subjects of a folder, to sort, filter and tick. Space ticks what is selected."""

    selection_changed = Signal()
    ticked_changed = Signal()
    """Another number of rows is ticked, or more is known of one."""

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
        self._model.ticked_changed.connect(self.ticked_changed)

    def set_subjects(self, subjects: Sequence[SubjectRow]) -> None:
        """Show these subjects, all ticked."""
        self._model.set_subjects(subjects)
        self.resizeColumnsToContents()
        self.setColumnWidth(BRAIN, 3 * PICTURE_HEIGHT + 8)

    def know_more(self, number: int, marks: tuple[QCFlag, ...], picture: str) -> None:
        """A subject was looked at; `number` counts in the order in which they were given."""
        self._model.know_more(number, marks, picture)

    def set_colours(self, problem: str, doubt: str) -> None:
        """Of the signs."""
        self._model.set_colours({"problem": problem, "doubt": doubt})

    def tick_shown(self, *, use: bool) -> None:
        """Tick all that the filter lets pass, or take their ticks away."""
        self._model.tick(self._sources(range(self.filter.rowCount())), use=use)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: D102 Qt's
        if event.key() != Qt.Key.Key_Space:
            super().keyPressEvent(event)
            return
        chosen = self._sources(index.row() for index in self.selectionModel().selectedRows())
        chosen = [number for number in chosen if not self._model.subjects[number].problem]
        if chosen:
            self._model.tick(chosen, use=not all(self._model.is_ticked(number) for number in chosen))

    @property
    def subjects(self) -> list[SubjectRow]:
        """All subjects, in the order they were given."""
        return list(self._model.subjects)

    @property
    def shown(self) -> list[SubjectRow]:
        """Who passes the filter, from top to bottom."""
        return [self._model.subjects[number] for number in self._sources(range(self.filter.rowCount()))]

    @property
    def ticked(self) -> list[SubjectRow]:
        """Who is to be used, in the order they were given."""
        return [row for number, row in enumerate(self._model.subjects) if self._model.is_ticked(number)]

    @property
    def current(self) -> SubjectRow | None:
        """Where the cursor is."""
        index = self.filter.mapToSource(self.currentIndex())
        return self._model.subjects[index.row()] if index.isValid() else None

    @property
    def selected(self) -> list[SubjectRow]:
        """The chosen subjects, from top to bottom."""
        rows = sorted(index.row() for index in self.selectionModel().selectedRows())
        return [self._model.subjects[number] for number in self._sources(rows)]

    def _sources(self, rows: Iterable[int]) -> list[int]:
        return [self.filter.mapToSource(self.filter.index(row, USE)).row() for row in rows]
