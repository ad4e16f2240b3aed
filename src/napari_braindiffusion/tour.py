"""The guided tour: five steps over the real controls, at the first run and whenever the user asks for it.

Everything but the control of the step is dimmed; the control itself stays alive, so one may press it on the way. Escape
or Skip ends the tour, and it does not come again by itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from napari.utils.theme import get_theme
from napari.viewer import Viewer
from qtpy.QtCore import QPoint, QRect, Qt, QTimer
from qtpy.QtGui import QColor, QKeyEvent, QPainter, QPaintEvent, QPen, QRegion
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_braindiffusion.settings import PLUGIN, remember, settings

MARGIN = 6
"""Pixels between a control and the frame around it."""
FOLLOW_MS = 100
"""The frame follows its control when the user scrolls or resizes."""


@dataclass(frozen=True)
class Step:
    """One control, and what it is for."""

    dock: str
    control: Callable[[Any], QWidget]
    title: str
    text: str


STEPS = (
    Step(
        "Generate",
        lambda dock: dock.generate_button,
        "Make a brain",
        "One press, and a brain comes into being in the viewer, coarse to fine. It shows nobody: a model made it.",
    ),
    Step(
        "Generate",
        lambda dock: dock.form.conditions,
        "Ask for a certain one",
        "Choose what the model was taught, such as age, sex or the size of a region. What you leave alone is up to it. "
        "A coarse brain follows while you choose.",
    ),
    Step(
        "Cohort",
        lambda dock: dock.form.folder,
        "Look at your own brains",
        "Drop a folder of NIfTI files here: who is in it, what is wrong with which file, and Prepare, which "
        "makes them ready for training.",
    ),
    Step(
        "Train",
        lambda dock: dock.start_button,
        "Teach a model",
        "It learns in the background, even when napari is closed. The curves and a sample that sharpens tell how far "
        "it is.",
    ),
    Step(
        "Train",
        lambda dock: dock.copy_button,
        "Take it to a larger machine",
        "Every dock gives what it would do as a command, for a terminal or a cluster. File > IO Utilities exports the "
        "brains that you make, as NIfTI or as a BIDS dataset.",
    ),
)


def offer_tour(viewer: Viewer) -> None:
    """Begin the tour if the user has never seen it."""
    if not settings().tour_seen and not _Now.offered:
        _Now.offered = True
        QTimer.singleShot(0, lambda: begin_tour(viewer))


def no_tour_this_time() -> None:
    """Do not offer it in this session: a script is at work, not a newcomer."""
    _Now.offered = True


def begin_tour(viewer: Viewer) -> "Tour":
    """Begin with the first step. A tour that is under way begins anew."""
    if _Now.tour is not None:
        _Now.tour.end()
    _Now.offered = True
    _Now.tour = Tour(viewer)
    return _Now.tour


class Tour:
    """The way through the steps.

    Args:
        viewer: Its docks are opened, one over the other.
    """

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self.step = 0
        self.spotlight: Spotlight | None = None
        remember("tour", "seen", value=True)
        viewer.events.theme.connect(self._on_theme)
        self._show()

    def next(self) -> None:
        """Go on; after the last step it ends."""
        self.step += 1
        if self.step < len(STEPS):
            self._show()
        else:
            self.end()

    def back(self) -> None:
        """Go back a step."""
        self.step = max(0, self.step - 1)
        self._show()

    def end(self) -> None:
        """Take everything away. The docks that were opened stay."""
        self._viewer.events.theme.disconnect(self._on_theme)
        if self.spotlight is not None:
            self.spotlight.close()
            self.spotlight = None
        if _Now.tour is self:
            _Now.tour = None

    def _on_theme(self) -> None:
        if self.spotlight is not None:
            self.spotlight.set_theme(get_theme(self._viewer.theme))

    def _show(self) -> None:
        step = STEPS[self.step]
        area, dock = self._viewer.window.add_plugin_dock_widget(PLUGIN, step.dock, tabify=True)
        area.show()
        area.raise_()
        if self.spotlight is None:
            self.spotlight = Spotlight(dock.window(), get_theme(self._viewer.theme))
            self.spotlight.next_button.clicked.connect(self.next)
            self.spotlight.back_button.clicked.connect(self.back)
            self.spotlight.skip_button.clicked.connect(self.end)
        control = step.control(dock)
        dock.reveal(control)
        self.spotlight.point_at(control, step, self.step)


class _Now:
    """What is under way in this process."""

    tour: Tour | None = None
    offered = False


class Spotlight(QWidget):
    """Dims a window but for one control, and says beside it what it is for.

    Args:
        window: What is dimmed.
        theme: napari's.
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
        self.skip_button.setToolTip("End the tour. It is in the command palette, should you want it again.")
        self.back_button.setToolTip("The step before.")
        self.next_button.setToolTip("The next step.")
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
        """The control with a margin, as far as it is to be seen; empty where it is not."""
        control, window = self._control, self.parentWidget()
        if control is None or not control.isVisible():
            return QRect()
        seen = control.visibleRegion().boundingRect()
        return QRect(control.mapTo(window, seen.topLeft()), seen.size()).adjusted(-MARGIN, -MARGIN, MARGIN, MARGIN)

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
