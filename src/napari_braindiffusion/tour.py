"""Guided tour: five steps over the real controls, at the first run and on demand.

The window is dimmed except for the control of the step, which can be used. Escape, Skip or closing the dock ends the
tour; it does not start again by itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from napari.utils.theme import get_theme
from napari.viewer import Viewer
from qtpy.QtCore import QPoint, QRect, Qt, QTimer
from qtpy.QtGui import QCloseEvent, QColor, QKeyEvent, QPainter, QPaintEvent, QPen, QRegion
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_braindiffusion.docks.base import Dock, TourOffer
from napari_braindiffusion.docks.open import open_dock
from napari_braindiffusion.settings import remember

MARGIN = 6
"""Pixels between a control and its frame."""
FOLLOW_MS = 100
"""Milliseconds between two updates of the frame, which follows scrolling and resizing."""


@dataclass(frozen=True)
class Step:
    """One step: a control and its explanation."""

    dock: str
    control: Callable[[Any], QWidget]
    title: str
    text: str


STEPS = (
    Step(
        "Generate",
        lambda dock: dock.generate_button,
        "Generate a brain",
        "Sampling starts, coarse to fine, and the result becomes a layer. It shows no real person.",
    ),
    Step(
        "Generate",
        lambda dock: dock.form.conditions,
        "Set conditions",
        "Choose values such as age, sex or the volume of a region. Conditions that are not set are left to the model. "
        "A low-resolution preview follows your choices.",
    ),
    Step(
        "Cohort",
        lambda dock: dock.form.fields["data_dir"].native,
        "Open your own data",
        "Drop a folder of NIfTI files here. The table lists subjects and problems; Preprocess brings the volumes to "
        "one grid for training.",
    ),
    Step(
        "Train",
        lambda dock: dock.start_button,
        "Train a model",
        "Training runs in the background, even when napari is closed. Loss curves and training samples show its "
        "progress.",
    ),
    Step(
        "Train",
        lambda dock: dock.copy_button,
        "Run on another machine",
        "Copy command gives the same job for a terminal or a cluster. File > IO Utilities exports layers as NIfTI or "
        "as a BIDS dataset.",
    ),
)


def begin_tour(viewer: Viewer) -> "Tour":
    """Start the tour at its first step; a running tour starts again."""
    if _Now.tour is not None:
        _Now.tour.end()
    TourOffer.suppress()
    _Now.tour = Tour(viewer)
    return _Now.tour


class Tour:
    """One run through the steps.

    Args:
        viewer: Its docks are opened as tabs.
    """

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self.step = 0
        self.spotlight: Spotlight | None = None
        self._dock: Dock | None = None
        remember("tour", "seen", value=True)
        viewer.events.theme.connect(self._on_theme)
        self._show()

    def next(self) -> None:
        """Show the next step; after the last one the tour ends."""
        self.step += 1
        if self.step < len(STEPS):
            self._show()
        else:
            self.end()

    def back(self) -> None:
        """Show the previous step."""
        self.step = max(0, self.step - 1)
        self._show()

    def end(self) -> None:
        """End the tour. The docks that it opened stay."""
        self._viewer.events.theme.disconnect(self._on_theme)
        self._follow_dock(None)
        if self.spotlight is not None:
            self.spotlight.close()
            self.spotlight = None
        if _Now.tour is self:
            _Now.tour = None

    def _follow_dock(self, dock: Dock | None) -> None:
        """Watch the dock of the step: the tour ends when the user closes it."""
        if self._dock is not None:
            self._dock.closed.disconnect(self.end)
        self._dock = dock
        if dock is not None:
            dock.closed.connect(self.end)

    def _on_theme(self) -> None:
        if self.spotlight is not None:
            self.spotlight.set_theme(get_theme(self._viewer.theme))

    def _show(self) -> None:
        step = STEPS[self.step]
        self._follow_dock(open_dock(self._viewer, step.dock))
        dock: Any = self._dock
        if self.spotlight is None:
            self.spotlight = Spotlight(dock.window(), get_theme(self._viewer.theme))
            self.spotlight.next_button.clicked.connect(self.next)
            self.spotlight.back_button.clicked.connect(self.back)
            self.spotlight.skip_button.clicked.connect(self.end)
        control = step.control(dock)
        dock.reveal(control)
        self.spotlight.point_at(control, step, self.step)


class _Now:
    """The running tour of this process."""

    tour: Tour | None = None


class Spotlight(QWidget):
    """An overlay that dims a window except for one control, and explains the control beside it.

    Args:
        window: The window to dim.
        theme: napari's theme.
    """

    def __init__(self, window: QWidget, theme: Any) -> None:
        super().__init__(window)
        self._control: QWidget | None = None
        self.bubble = QFrame(self)
        self.bubble.setObjectName("bubble")
        self.set_theme(theme)
        self.title, self.text, self.count = QLabel(), QLabel(), QLabel()
        self.title.setStyleSheet("font-weight: bold")
        self.text.setWordWrap(True)
        self.text.setFixedWidth(260)
        self.skip_button, self.back_button, self.next_button = QPushButton("Skip"), QPushButton("Back"), QPushButton()
        self.skip_button.setToolTip("End the tour. The command palette starts it again.")
        self.back_button.setToolTip("Previous step.")
        self.next_button.setToolTip("Next step.")
        buttons = QHBoxLayout()
        buttons.addWidget(self.count, 1)
        for button in (self.skip_button, self.back_button, self.next_button):
            buttons.addWidget(button)
        layout = QVBoxLayout(self.bubble)
        layout.addWidget(self.title)
        layout.addWidget(self.text)
        layout.addLayout(buttons)
        self._follow = QTimer(self, interval=FOLLOW_MS)
        self._follow.timeout.connect(self._place)

    def set_theme(self, theme: Any) -> None:
        """Take the colours of a theme."""
        self._theme = theme
        self.bubble.setStyleSheet(
            f"#bubble {{ background: {theme.background.as_hex()}; border: 2px solid {theme.current.as_hex()};"
            " border-radius: 6px; }"
        )
        self.update()

    def point_at(self, control: QWidget, step: Step, number: int) -> None:
        """Show a step."""
        self._control = control
        self.title.setText(step.title)
        self.text.setText(step.text)
        self.text.setFixedHeight(self.text.heightForWidth(self.text.width()))
        self.count.setText(f"{number + 1} of {len(STEPS)}")
        self.back_button.setEnabled(number > 0)
        last = number + 1 == len(STEPS)
        self.next_button.setText("Done" if last else "Next")
        self.skip_button.setVisible(not last)
        self.bubble.adjustSize()
        self.show()
        self.raise_()
        self._place()
        self._follow.start()
        self.next_button.setFocus()

    @property
    def hole(self) -> QRect:
        """Rectangle of the visible part of the control, with a margin; empty where it is hidden."""
        control, window = self._control, self.parentWidget()
        if control is None or not control.isVisible():
            return QRect()
        seen = control.visibleRegion().boundingRect()
        return QRect(control.mapTo(window, seen.topLeft()), seen.size()).adjusted(-MARGIN, -MARGIN, MARGIN, MARGIN)

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: D102 Qt's
        self._follow.stop()
        self._control = None
        super().closeEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: D102 Qt's
        if event.key() == Qt.Key.Key_Escape:
            self.skip_button.click()
        else:
            super().keyPressEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: D102 Qt's
        painter = QPainter(self)
        dark = QColor(self._theme.canvas.as_hex())
        dark.setAlpha(150)
        painter.fillRect(self.rect(), dark)
        painter.setPen(QPen(QColor(self._theme.current.as_hex()), 3))
        painter.drawRect(self.hole.adjusted(-2, -2, 1, 1))

    def _place(self) -> None:
        window, hole = self.parentWidget(), self.hole
        self.setGeometry(window.rect())
        # The hole is none of ours: what is pressed there is pressed in the dock.
        self.setMask(QRegion(self.rect()) - QRegion(hole))
        size = self.bubble.size()
        beside = QPoint(hole.left() - size.width() - 12, hole.top())
        if beside.x() < 0:
            beside = QPoint(hole.left(), hole.bottom() + 12)
        most = QPoint(self.width() - size.width(), self.height() - size.height())
        self.bubble.move(max(0, min(beside.x(), most.x())), max(0, min(beside.y(), most.y())))
        self.update()
