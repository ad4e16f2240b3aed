"""The list of earlier runs."""

from collections.abc import Iterable

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QWidget

from braindiffusion.runs import Run, RunState
from napari_braindiffusion.widgets.forms.layout import make_narrow

STATES = {
    RunState.CREATED: "not begun",
    RunState.RUNNING: "running",
    RunState.PAUSED: "paused",
    RunState.FINISHED: "finished",
    RunState.FAILED: "failed",
    RunState.CANCELLED: "stopped",
    RunState.INTERRUPTED: "interrupted",
}

_STATE = Qt.ItemDataRole.UserRole + 1


class RunList(QComboBox):
    """Runs with their states, the first line for a new one."""

    run_chosen = Signal(object)
    """Run, or None for a new one. Emitted when the user chooses."""

    def __init__(self, new: str = "New training", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._new = new
        make_narrow(self)
        self.addItem(new, None)
        self.activated.connect(lambda _: self.run_chosen.emit(self.run))

    @property
    def run(self) -> Run | None:
        """The chosen run."""
        run: Run | None = self.currentData()
        return run

    @property
    def runs(self) -> list[Run]:
        """All of them."""
        return [self.itemData(index) for index in range(1, self.count())]

    @property
    def state(self) -> RunState | None:
        """State of the chosen run when the list was made; None where it is unknown."""
        state: RunState | None = self.currentData(_STATE)
        return state

    def set_runs(self, runs: Iterable[tuple[Run, RunState]]) -> None:
        """Show these, and keep what was chosen where it is still there."""
        chosen = self.run
        self.clear()
        self.addItem(self._new, None)
        for run, state in runs:
            self.addItem(f"{run.name} · {STATES[state]}", run)
            self.setItemData(self.count() - 1, state, _STATE)
            self.setItemData(self.count() - 1, str(run.path), Qt.ItemDataRole.ToolTipRole)
        view = self.view()
        view.setMinimumWidth(view.sizeHintForColumn(0) + view.verticalScrollBar().sizeHint().width())
        self.choose(chosen if chosen in self.runs else None)

    def choose(self, run: Run | None) -> None:
        """Choose a run without telling; None chooses a new one. One that nobody has looked for yet is added on top."""
        if run is not None and run not in self.runs:
            self.insertItem(1, run.name, run)
        self.setCurrentIndex(0 if run is None else 1 + self.runs.index(run))
