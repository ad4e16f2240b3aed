"""A path: typed, dropped, or chosen in a dialog."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from qtpy.QtCore import Signal
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QToolButton, QWidget

Kind = Literal["folder", "file", "save"]


class PathRow(QWidget):
    """A line to type or drop a path into, and a button that opens a dialog.

    Args:
        kind: `folder` and `file` exist already; `save` is made.
        placeholder: What stands in the empty line.
        tooltip: What it is for.
        filters: Of the dialog, as Qt writes them: `Tables (*.tsv *.csv *.xls)`.
    """

    path_changed = Signal(object)
    """Path, or None where the line was emptied. Emitted once a path is entered, not with each letter."""

    def __init__(
        self,
        kind: Kind = "folder",
        *,
        placeholder: str = "",
        tooltip: str = "",
        filters: str = "",
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._kind = kind
        self._filters = filters
        self._told: Path | None = None
        self.line = QLineEdit(placeholderText=placeholder, clearButtonEnabled=True)
        self.button = QToolButton(text="…")
        for widget in (self.line, self.button):
            widget.setToolTip(tooltip)
        self.button.setAccessibleName(f"Choose: {placeholder}")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.line, 1)
        layout.addWidget(self.button)
        self.setFocusProxy(self.line)
        self.setAcceptDrops(True)
        self.line.setAcceptDrops(False)  # a dropped file shall replace the text, not be inserted as a URL
        self.line.editingFinished.connect(self._tell)
        self.line.textChanged.connect(self._tell_when_emptied)
        self.button.clicked.connect(self._choose)

    @property
    def path(self) -> Path | None:
        """What stands in the line, `~` expanded; None where it is empty."""
        text = self.line.text().strip()
        return Path(text).expanduser() if text else None

    def set_path(self, path: Path | None) -> None:
        """Write a path into the line, and tell."""
        self.line.setText("" if path is None else str(path))
        self._tell()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: D102 Qt's
        urls = event.mimeData().urls()
        if len(urls) == 1 and urls[0].isLocalFile():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: D102 Qt's
        self.set_path(Path(event.mimeData().urls()[0].toLocalFile()))

    def _tell(self) -> None:
        if self.path != self._told:
            self._told = self.path
            self.path_changed.emit(self.path)

    def _tell_when_emptied(self, text: str) -> None:
        if not text:
            self._tell()

    def _choose(self) -> None:
        ask: dict[Kind, Callable[[], str]] = {
            "folder": lambda: QFileDialog.getExistingDirectory(self, directory=self.line.text()),
            "file": lambda: QFileDialog.getOpenFileName(self, directory=self.line.text(), filter=self._filters)[0],
            "save": lambda: QFileDialog.getSaveFileName(self, directory=self.line.text(), filter=self._filters)[0],
        }
        chosen = ask[self._kind]()
        if chosen:
            self.set_path(Path(chosen))
