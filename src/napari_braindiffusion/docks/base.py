"""What all docks share: how they end, how they follow the theme, how they say that something went wrong.

A dock ends when it is closed by its x (napari takes it out of its dock widget, and no close event comes) or when the
viewer's window closes. Hiding it, floating it or putting it behind a tab ends nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from napari.utils.notifications import show_error
from napari.utils.theme import get_theme
from napari.viewer import Viewer
from qtpy.QtCore import QEvent, QObject, QPoint, QRect, QSize, Qt, QTimer
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QApplication, QFrame, QMainWindow, QScrollArea, QVBoxLayout, QWidget

from braindiffusion.errors import BrainDiffusionError
from napari_braindiffusion.tour import offer_tour

WIDTH = 340
"""Pixels that a dock asks for. It can be made as narrow as its rows, which is below 300."""


class _UprightScroll(QScrollArea):
    """Scrolls up and down only: it is never narrower than what it holds."""

    def minimumSizeHint(self) -> QSize:
        return QSize(self._inner_width(), super().minimumSizeHint().height())

    def sizeHint(self) -> QSize:
        return QSize(max(WIDTH, self._inner_width()), self.widget().sizeHint().height())

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # Qt's own filter on what it holds
        if event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()  # rows came or went, and with them the width that the rest needs
        return super().eventFilter(watched, event)

    def _inner_width(self) -> int:
        return self.widget().minimumSizeHint().width() + self.verticalScrollBar().sizeHint().width()


class _InReadingOrder(QWidget):
    """The tabulator goes on from row to row, whatever was made first: some rows come and go."""

    def focusNextPrevChild(self, next: bool) -> bool:  # noqa: A002 Qt's name
        order = self._controls()
        now = self.focusWidget()
        if now not in order:
            return super().focusNextPrevChild(next)
        place = order.index(now) + (1 if next else -1)
        follower = order[place] if 0 <= place < len(order) else self._outside(next)
        if follower is not None:
            follower.setFocus(Qt.FocusReason.TabFocusReason if next else Qt.FocusReason.BacktabFocusReason)
        return follower is not None

    def _outside(self, forward: bool) -> QWidget | None:
        """What comes after the last control, or before the first."""
        widget = self.nextInFocusChain() if forward else self.previousInFocusChain()
        while widget is not self and (self.isAncestorOf(widget) or not _is_reachable(widget)):
            widget = widget.nextInFocusChain() if forward else widget.previousInFocusChain()
        return None if widget is self else widget

    def _controls(self) -> list[QWidget]:
        """What can be reached, row by row, in each from the left."""
        found = {
            widget: QRect(widget.mapTo(self, QPoint()), widget.size())
            for widget in self.findChildren(QWidget)
            if _is_reachable(widget)
        }
        rows: list[list[QWidget]] = []
        for widget in sorted(found, key=lambda one: found[one].center().y()):
            if rows and found[widget].center().y() <= found[rows[-1][0]].bottom():
                rows[-1].append(widget)
            else:
                rows.append([widget])
        return [widget for row in rows for widget in sorted(row, key=lambda one: found[one].x())]


def _is_reachable(widget: QWidget) -> bool:
    takes_tabs = bool(widget.focusPolicy() & Qt.FocusPolicy.TabFocus) and widget.focusProxy() is None
    return takes_tabs and widget.isVisible() and widget.isEnabled()


class Dock(QWidget):
    """Base of the docks.

    Args:
        napari_viewer: The viewer that the dock works on.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._window: QMainWindow | None = None
        self._was_docked = False
        self._ended = False
        # Low windows scroll instead of crushing the rows.
        self._inner = _InReadingOrder()
        scroll = self._scroll = _UprightScroll(widgetResizable=True, frameShape=QFrame.Shape.NoFrame)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # what it holds takes the focus
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(self._inner)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scroll)
        self.rows = QVBoxLayout(self._inner)
        self.rows.setContentsMargins(6, 6, 6, 6)
        napari_viewer.events.theme.connect(self._on_theme)
        application = QApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.end)

    # For those who derive

    def may_close(self) -> bool:
        """Asked before the window closes; False keeps it open. A question to the user belongs here."""
        return True

    def release(self) -> None:
        """End everything that this dock began. Called once."""

    def apply_theme(self, background: str, text: str) -> None:
        """Colours of the viewer's theme, for what Qt's style sheet does not reach."""

    # What others may want of a dock

    @property
    def has_ended(self) -> bool:
        """Whether what comes in now comes too late."""
        return self._ended

    def reveal(self, control: QWidget) -> None:
        """Scroll to a control."""
        if self._inner.isAncestorOf(control):
            self._scroll.ensureWidgetVisible(control)

    # What happens to a dock

    def end(self) -> None:
        """End everything that this dock began, once."""
        if self._ended:
            return
        self._ended = True
        self._viewer.events.theme.disconnect(self._on_theme)
        if self._window is not None:
            self._window.removeEventFilter(self)
            self._window = None
        self.release()

    def showEvent(self, event: QShowEvent) -> None:  # noqa: D102 Qt's
        super().showEvent(event)
        self._on_theme()
        self._watch_window()
        offer_tour(self._viewer)

    def event(self, event: QEvent) -> bool:  # noqa: D102 Qt's
        if event.type() == QEvent.Type.ParentChange:
            if self.parentWidget() is not None:
                self._was_docked = True
                QTimer.singleShot(0, self._watch_window)  # the dock widget joins its window after us
            elif self._was_docked:
                # Not now: napari is in the middle of taking the dock apart, and a question may have to be asked.
                QTimer.singleShot(0, self._on_taken_out)
        return super().event(event)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: D102 Qt's
        if watched is self._window and event.type() == QEvent.Type.Close and not self._ended:
            if not self.may_close():
                event.ignore()
                return True
            self.end()
        return False

    def _watch_window(self) -> None:
        window = self.parentWidget()
        while window is not None and not isinstance(window, QMainWindow):
            window = window.parentWidget()
        if window is not None and window is not self._window and not self._ended:
            self._window = window
            window.installEventFilter(self)

    def _on_taken_out(self) -> None:
        if self.parentWidget() is None and not self._ended:
            self.may_close()
            self.end()
            self.deleteLater()

    def _on_theme(self) -> None:
        theme = get_theme(self._viewer.theme)
        self.apply_theme(theme.background.as_hex(), theme.text.as_hex())

    @contextmanager
    def errors_shown(self) -> Iterator[None]:
        """Show bad input as a notification, in the words that it comes with."""
        try:
            yield
        except BrainDiffusionError as error:
            show_error(str(error))
