"""The button that copies a job as a command: for a terminal, for all GPUs of a machine, for a cluster."""

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QMenu, QPushButton, QWidget

LAUNCHERS = {
    "shell": ("As a command", "One process, for a terminal."),
    "torchrun": ("For all GPUs of one machine (torchrun)", "One process on each GPU; they share the work."),
    "slurm": ("As a SLURM script", "For sbatch on a cluster: change its first lines to what yours is like."),
}


class CopyButton(QPushButton):
    """A button whose menu says for whom to copy.

    Args:
        what: For the tooltip, what is copied.
    """

    copy_requested = Signal(str)
    """One of `LAUNCHERS`."""

    def __init__(self, what: str, parent: QWidget | None = None) -> None:
        super().__init__("Copy command", parent)
        self.setToolTip(f"{what} as a command: for a terminal, for several GPUs, or for a cluster.")
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        for launcher, (text, tooltip) in LAUNCHERS.items():
            action = menu.addAction(text, lambda launcher=launcher: self.copy_requested.emit(launcher))
            action.setToolTip(tooltip)
        self.setMenu(menu)
