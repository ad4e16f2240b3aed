"""The list of sources of brains: layers, folders, volumes, prepared cohorts and runs, in any mixture."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QDragEnterEvent, QDragMoveEvent, QDropEvent, QKeyEvent, QPainter, QPaintEvent, QPalette
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from braindiffusion.nifti import READABLE_SUFFIXES

ROWS = 3
"""Rows of the list that are visible without scrolling."""


class _List(QListWidget):
    """Takes files and folders that are dropped; Delete takes out what is selected."""

    dropped = Signal(object)
    """Path."""
    delete_pressed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setAcceptDrops(True)
        self.setFixedHeight(ROWS * self.fontMetrics().height() + 2 * ROWS + 8)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if not self.count():
            painter = QPainter(self.viewport())
            painter.setPen(self.palette().color(QPalette.ColorRole.PlaceholderText))
            painter.drawText(self.viewport().rect(), Qt.AlignmentFlag.AlignCenter, "Drop brains here, or Add")

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dragMoveEvent(self, event: QDragMoveEvent) -> None:
        event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        for url in event.mimeData().urls():
            if url.isLocalFile():
                self.dropped.emit(Path(url.toLocalFile()))
        event.acceptProposedAction()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace):
            self.delete_pressed.emit()
        else:
            super().keyPressEvent(event)


class SourceList(QWidget):
    """A list of sources, with a menu to add to it. A source is a path, or whatever the dock knows a layer by.

    Args:
        title: Whose brains.
        tooltip: What may be in it.
    """

    changed = Signal()
    layers_requested = Signal()
    """The layers that are selected in the viewer are wanted."""
    about_to_offer = Signal()
    """The menu opens: now is the time for `suggest`."""

    def __init__(self, title: str, tooltip: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.list = _List()
        self.list.setToolTip(f"{tooltip} Drop files and folders here; Delete takes out what is selected.")
        self.list.setAccessibleName(title)
        self.add_button = QPushButton("Add")
        self.add_button.setToolTip(f"Add to {title.lower()}: {tooltip}")
        self.remove_button = QPushButton("Remove")
        self.remove_button.setToolTip("Take out what is selected in the list; with nothing selected, all.")
        menu = QMenu(self.add_button)
        menu.setToolTipsVisible(True)
        self.layers_action = menu.addAction("The selected layers", self.layers_requested.emit)
        self.folder_action = menu.addAction("Folder, prepared cohort or run …", self._choose_folder)
        self.files_action = menu.addAction("Volumes …", self._choose_files)
        self._suggestions = menu.addSection("My runs")
        menu.aboutToShow.connect(self.about_to_offer)
        self.add_button.setMenu(menu)
        head = QHBoxLayout()
        head.addWidget(QLabel(title), 1)
        head.addWidget(self.remove_button)
        head.addWidget(self.add_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(head)
        layout.addWidget(self.list)
        self.list.dropped.connect(self.add_path)
        self.list.delete_pressed.connect(self._remove_selected)
        self.remove_button.clicked.connect(self._remove_selected)
        self.suggest(())

    @property
    def sources(self) -> list[Any]:
        """All of them, in order."""
        return [self.list.item(row).data(Qt.ItemDataRole.UserRole) for row in range(self.list.count())]

    def add_path(self, path: Path) -> None:
        """Add a folder, a volume, a prepared cohort or a run; what is in it already is not added again."""
        self.add(path, f"{path.name} · {_kind(path)}", str(path))

    def add(self, source: Any, text: str, tooltip: str = "") -> None:
        """Add a source under a name."""
        if source in self.sources:
            return
        item = QListWidgetItem(text)
        item.setData(Qt.ItemDataRole.UserRole, source)
        item.setToolTip(tooltip or text)
        self.list.addItem(item)
        self.changed.emit()

    def set_paths(self, paths: Iterable[Path]) -> None:
        """Have these, and nothing else."""
        self.list.clear()
        for path in paths:
            self.add_path(path)
        self.changed.emit()

    def rename(self, source: Any, text: str) -> None:
        """Call a source otherwise if it is in."""
        if source in self.sources:
            self.list.item(self.sources.index(source)).setText(text)

    def discard(self, source: Any) -> None:
        """Take a source out if it is in."""
        if source in self.sources:
            self.list.takeItem(self.sources.index(source))
            self.changed.emit()

    def suggest(self, known: Sequence[tuple[str, Path]]) -> None:
        """Offer sources in the menu, by what they are called."""
        menu = self.add_button.menu()
        for action in menu.actions()[menu.actions().index(self._suggestions) + 1 :]:
            menu.removeAction(action)
        self._suggestions.setVisible(bool(known))
        for text, path in known:
            menu.addAction(text, lambda path=path: self.add_path(path)).setToolTip(str(path))

    def _remove_selected(self) -> None:
        chosen = self.list.selectedItems() or [self.list.item(row) for row in range(self.list.count())]
        for item in chosen:
            self.list.takeItem(self.list.row(item))
        self.changed.emit()

    def _choose_folder(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "A folder of brains, a prepared cohort (.zarr) or a run")
        if chosen:
            self.add_path(Path(chosen))

    def _choose_files(self) -> None:
        kinds = " ".join(f"*{suffix}" for suffix in READABLE_SUFFIXES)
        chosen, _ = QFileDialog.getOpenFileNames(self, "Volumes", filter=f"Volumes ({kinds})")
        for path in chosen:
            self.add_path(Path(path))


def _kind(path: Path) -> str:
    if path.suffix == ".zarr":
        return "prepared cohort"
    if path.is_file():
        return "volume"
    return "run" if (path / "run.json").is_file() else "folder"
