"""The menu of a run: compare, rename, delete, open."""

from collections.abc import Collection, Iterable

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QMenu, QToolButton, QWidget

from braindiffusion.runs import Run


class RunMenu(QToolButton):
    """Compare, rename, delete, open the folder, follow another folder."""

    compared = Signal(object, bool)
    """Run whose curves shall be drawn beside those that are shown, or shall no longer."""
    rename_requested = Signal()
    delete_requested = Signal()
    folder_requested = Signal()
    follow_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setText("⋯")
        self.setToolTip("Compare, rename or delete this run, open its folder, or follow the folder of a cluster.")
        self.setAccessibleName("More about runs")
        self.setStyleSheet("QToolButton::menu-indicator { image: none; }")  # it would cover the dots
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        self.compare = menu.addMenu("Compare with")
        self.compare.setToolTipsVisible(True)
        self.rename_action = menu.addAction("Rename …", self.rename_requested.emit)
        self.delete_action = menu.addAction("Delete …", self.delete_requested.emit)
        self.folder_action = menu.addAction("Open folder", self.folder_requested.emit)
        menu.addSeparator()
        self.follow_action = menu.addAction("Follow a folder …", self.follow_requested.emit)
        self.follow_action.setToolTip(
            "Watch a training that another computer does: a run folder that this one can read."
        )
        self.setMenu(menu)

    def set_runs(self, chosen: Run | None, others: Iterable[Run], compared: Collection[Run] = ()) -> None:
        """Offer what can be done with the chosen run, and the others to compare it with; some are compared already."""
        self.compare.clear()
        for run in others:
            action = self.compare.addAction(run.name)
            action.setToolTip("Draw its curves next to the shown ones; choose it again to remove them.")
            action.setCheckable(True)
            action.setChecked(run in compared)
            action.toggled.connect(lambda on, run=run: self.compared.emit(run, on))
        self.compare.setEnabled(not self.compare.isEmpty())
        for one in (self.rename_action, self.delete_action, self.folder_action):
            one.setEnabled(chosen is not None)
