"""Start or Resume: what the button would do with the run that is shown."""

from qtpy.QtWidgets import QPushButton, QWidget

from braindiffusion.runs import RunState

RESUMABLE = (RunState.CREATED, RunState.CANCELLED, RunState.INTERRUPTED, RunState.FAILED)


class StartButton(QPushButton):
    """Starts a new training, or resumes one that has not learnt all it was asked to."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.show_state(None)

    def show_state(self, state: RunState | None) -> None:
        """Say what a press does with a run in this state; None where a new one would be begun."""
        self.setText("Start" if state is None else "Resume")
        self.setEnabled(state is None or state in RESUMABLE)
        match state:
            case None:
                tooltip = "Start a training in the background, with these settings."
            case RunState.FINISHED:
                tooltip = "This training is complete; choose New training above to start another."
            case _:
                tooltip = "Resume from the last checkpoint of this run."
        self.setToolTip(tooltip)
