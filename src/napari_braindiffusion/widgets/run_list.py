"""Earlier runs, to look at, go on with, or generate from."""

from collections.abc import Iterable

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QWidget

from braindiffusion.runs import Run, RunState
from napari_braindiffusion.widgets.rows import make_narrow

STATES = {
    RunState.CREATED: "not begun",
    RunState.RUNNING: "running",
    RunState.PAUSED: "paused",
    RunState.FINISHED: "finished",
    RunState.FAILED: "failed",
    RunState.CANCELLED: "stopped",
    RunState.INTERRUPTED: "interrupted",
}


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

    def set_runs(self, runs: Iterable[tuple[Run, RunState]]) -> None:
        """Show these, and keep what was chosen where it is still there."""
        chosen = self.run
        self.clear()
        self.addItem(self._new, None)
        for run, state in runs:
            self.addItem(f"{run.name} · {STATES[state]}", run)
        self.choose(chosen)

    def choose(self, run: Run | None) -> None:
        """Choose a run without telling; None, or one that is not there, chooses a new one."""
        self.setCurrentIndex(1 + self.runs.index(run) if run in self.runs else 0)
