"""Silence of a run whose process cannot be asked whether it lives, since it is another machine's."""

from time import time

from qtpy.QtCore import QObject, QTimer, Signal

LONG = 600.0
"""Seconds without a word, after which the user should look for the process."""
LISTEN_MS = 10_000
"""How often to ask oneself whether something was heard."""


class Silence(QObject):
    """Tells of a run that says nothing for long; again and again, until it does."""

    silent = Signal(float)
    """So many seconds by now."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._heard = 0.0
        self._timer = QTimer(self, interval=LISTEN_MS)
        self._timer.timeout.connect(self._listen)

    def heard(self, at: float | None = None) -> None:
        """Something was said, now or at that time (seconds since 1970); listen from here on."""
        self._heard = time() if at is None else at
        if not self._timer.isActive():
            self._timer.start()

    def stop(self) -> None:
        """Nothing more is expected."""
        self._timer.stop()

    def _listen(self) -> None:
        silence = time() - self._heard
        if silence > LONG:
            self.silent.emit(silence)
