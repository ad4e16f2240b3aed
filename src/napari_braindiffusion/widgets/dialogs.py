"""Dialogs that ask the user, and what the system opens for the user."""

from enum import Enum, auto
from pathlib import Path

from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QFileDialog, QInputDialog, QMessageBox, QWidget


class OnClose(Enum):
    """The answers to closing a dock, or the viewer, while a training is running."""

    GO_ON = auto()
    STOP = auto()
    STAY = auto()


def ask_on_close(parent: QWidget | None, name: str, *, may_stay: bool) -> OnClose:
    """Ask what to do with a training that is running while its dock closes.

    Args:
        parent: Window of the dialog.
        name: Name of the run.
        may_stay: Whether closing can still be cancelled.
    """
    box = QMessageBox(parent)
    box.setIcon(QMessageBox.Icon.Question)
    box.setWindowTitle("Training is running")
    box.setText(f"The training {name} is running.")
    box.setInformativeText(
        "It can continue in the background: open the Train dock again, now or after the next start of napari, "
        "and choose it in the list of runs. "
        "Or stop it: a checkpoint is kept, and it can be resumed."
    )
    answers = {
        box.addButton("Continue in the background", QMessageBox.ButtonRole.AcceptRole): OnClose.GO_ON,
        box.addButton("Stop, keep a checkpoint", QMessageBox.ButtonRole.DestructiveRole): OnClose.STOP,
    }
    if may_stay:
        answers[box.addButton("Do not close", QMessageBox.ButtonRole.RejectRole)] = OnClose.STAY
    box.exec()
    # Closing the question without an answer changes as little as possible.
    return answers.get(box.clickedButton(), OnClose.STAY if may_stay else OnClose.GO_ON)


def ask_cancel(parent: QWidget | None, name: str) -> bool:
    """Ask whether a running generation is cancelled, since its dock closes; False keeps the dock open."""
    answer = QMessageBox.question(
        parent,
        "A generation is running",
        f"The generation {name} is running. Cancel it and close the dock? Finished samples are kept.",
        QMessageBox.StandardButton.Yes | QMessageBox.StandardButton.No,
        QMessageBox.StandardButton.No,
    )
    return answer == QMessageBox.StandardButton.Yes


def ask_name(parent: QWidget, name: str) -> str | None:
    """Ask for a new name of a run; None where the user cancels."""
    answer, given = QInputDialog.getText(parent, "Rename the run", "Name of its folder:", text=name)
    return answer.strip() if given else None


def ask_delete(parent: QWidget, name: str) -> bool:
    """Whether a run shall really be deleted."""
    answer = QMessageBox.question(
        parent,
        "Delete the run",
        f"Delete the training {name} with its checkpoints, samples and curves? Nothing can bring it back.",
        defaultButton=QMessageBox.StandardButton.No,
    )
    return answer == QMessageBox.StandardButton.Yes


def ask_folder(parent: QWidget, title: str) -> Path | None:
    """A folder; None where the user thinks better of it."""
    answer = QFileDialog.getExistingDirectory(parent, title)
    return Path(answer) if answer else None


def open_path(path: Path) -> None:
    """Open a folder in the file manager, or a page in the browser."""
    QDesktopServices.openUrl(QUrl.fromLocalFile(str(path)))
