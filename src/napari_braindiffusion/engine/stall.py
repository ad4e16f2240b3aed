"""Detection of a run without events for a long time, where its process cannot be checked (another machine)."""

from time import monotonic, time

from qtpy.QtCore import QObject, QTimer, Signal

STALL_SECONDS = 600.0
"""Seconds without an event after which a message is shown."""
CHECK_MS = 10_000
"""Milliseconds between two checks."""


class StallMonitor(QObject):
    """Emit `stalled` at each check as long as a run reports nothing."""

    stalled = Signal(float)
    """Seconds since the last event."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._last_event = 0.0
        self._timer = QTimer(self, interval=CHECK_MS)
        self._timer.timeout.connect(self._check)

    def restart(self, at: float | None = None) -> None:
        """Count from now, or from a time (seconds since 1970), and check from here on."""
        self._last_event = monotonic() - (0.0 if at is None else max(0.0, time() - at))
        if not self._timer.isActive():
            self._timer.start()

    def stop(self) -> None:
        """Check no longer."""
        self._timer.stop()

    def _check(self) -> None:
        seconds = monotonic() - self._last_event
        if seconds > STALL_SECONDS:
            self.stalled.emit(seconds)
