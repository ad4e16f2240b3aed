"""The progress of a job: a bar, the remaining time, and a button to stop it. Of a job that is over only words stay."""

import time

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QVBoxLayout, QWidget

from braindiffusion.runs import Progress
from braindiffusion.runs.durations import duration
from napari_braindiffusion.widgets.forms.layout import wrapping_label

PAINT_SECONDS = 0.1
"""Steps that come faster than this are not all shown."""
UNRESPONSIVE = " · the worker process has not answered "
SILENT = " · nothing new for "


class ProgressRow(QWidget):
    """A progress bar with the stage above it and a stop button beside it; hidden until something goes on.

    Args:
        stop_text: What the button says.
        stop_tooltip: What it does, and what is kept.
        pause_tooltip: What pausing does; without it there is no button for it.
    """

    stop_requested = Signal()
    pause_requested = Signal(bool)
    """True to pause, False to resume."""

    def __init__(
        self,
        stop_text: str = "Stop",
        stop_tooltip: str = "",
        pause_tooltip: str = "",
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.label = wrapping_label("")
        self.bar = QProgressBar()
        self.bar.setMinimumWidth(60)  # its own idea leaves no room for two buttons in a narrow dock
        self.stop_button = QPushButton(stop_text)
        self.stop_button.setToolTip(stop_tooltip)
        self.stop_button.clicked.connect(self._request_stop)
        row = QHBoxLayout()
        row.addWidget(self.bar, 1)
        self.pause_button = QPushButton("Pause", checkable=True)
        self.pause_button.setToolTip(pause_tooltip or "Pauses this job.")
        self.pause_button.clicked.connect(self._request_pause)
        row.addWidget(self.pause_button)
        row.addWidget(self.stop_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.label)
        layout.addLayout(row)
        self._controls = (self.bar, self.stop_button, *([self.pause_button] if pause_tooltip else []))
        self.pause_button.hide()
        self._stage = ""
        self._stage_began = 0.0
        self._shown = 0.0
        self._stage_first = 0
        self.rest()

    def begin(self, message: str) -> None:
        """Show that something goes on whose length is not known yet."""
        self._stage = ""
        self.label.setText(message)
        self.bar.setRange(0, 0)
        self.stop_button.setEnabled(True)
        for control in self._controls:
            control.show()
        self.show()
        self.show_paused(paused=False)

    def show_event(self, event: Progress) -> None:
        """Show the progress that a job reports."""
        self.show_progress(event.stage, event.step, event.total, event.seconds_left, event.message)

    def show_progress(self, stage: str, step: int, total: int, seconds_left: float | None, message: str = "") -> None:
        """Show that `step` of `total` steps of a stage are done. Time left that is not given is estimated."""
        now = time.monotonic()
        if stage == self._stage and now - self._shown < PAINT_SECONDS and step < total:
            return  # Qt paints a bar at once whenever it moves
        self._shown = now
        if stage != self._stage:
            self._stage, self._stage_began, self._stage_first = stage, now, step
        done = step - self._stage_first
        if seconds_left is None and done > 0 and now - self._stage_began > 1:
            seconds_left = (now - self._stage_began) / done * (total - step)
        self.bar.setRange(0, max(total, 1))
        self.bar.setValue(step)
        parts = [stage, f"{step} of {total}", message, "" if seconds_left is None else f"{duration(seconds_left)} left"]
        self.label.setText(" · ".join(part for part in parts if part))

    def show_silence(self, seconds: float) -> None:
        """Show for how long no event has come, beside the last message."""
        said = self.label.text().partition(SILENT)[0]
        self.label.setText(f"{said}{SILENT}{duration(seconds)}: check whether it still runs where it was started")

    def show_unresponsive(self, seconds: float) -> None:
        """Show for how long the worker process has not answered, beside the last message."""
        said = self.label.text().partition(UNRESPONSIVE)[0]
        button = self.stop_button.text()
        self.label.setText(f"{said}{UNRESPONSIVE}for {duration(seconds)}; {button} ends it by force")

    def rest(self, message: str = "") -> None:
        """Show what came of the last job, and nothing else; without a message nothing at all."""
        self.label.setText(message)
        for control in self._controls:
            control.hide()
        self.setVisible(bool(message))
        self.show_paused(paused=False)

    def show_paused(self, *, paused: bool, message: str = "") -> None:
        """Show that the job holds, or goes on."""
        self.pause_button.setChecked(paused)
        self.pause_button.setText("Resume" if paused else "Pause")
        if message:
            self.label.setText(message)

    def _request_pause(self, pause: bool) -> None:
        self.show_paused(paused=pause, message="Pausing after this step …" if pause else "Resuming …")
        self.pause_requested.emit(pause)

    def _request_stop(self) -> None:
        self.stop_button.setEnabled(False)
        self.label.setText("Stopping after this step …")
        self.stop_requested.emit()
