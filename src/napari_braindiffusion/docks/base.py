"""Base class of the docks: tabs, end of life, theme, error messages.

A dock ends when it is closed by its x (napari takes it out of its dock widget, and no close event comes) or when the
viewer's window closes. Hiding it, floating it or putting it behind a tab ends nothing. Docks share one area as tabs;
a second dock of one kind closes itself and shows the first.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar

from napari.utils.events import EventEmitter
from napari.utils.notifications import show_error
from napari.utils.theme import get_theme
from napari.viewer import Viewer
from npe2 import PluginManager
from qtpy.QtCore import QEvent, QObject, Qt, QTimer, Signal
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QApplication, QDockWidget, QMainWindow, QPushButton, QTabBar, QVBoxLayout, QWidget

from braindiffusion.errors import BrainDiffusionError
from napari_braindiffusion.engine.client import EngineClient
from napari_braindiffusion.engine.threads import run_in_thread, show_message
from napari_braindiffusion.layers.jobs import LayerJob
from napari_braindiffusion.settings import PLUGIN, settings
from napari_braindiffusion.shortcuts import bind_shortcuts
from napari_braindiffusion.widgets.plots.on_demand import import_pyqtgraph
from napari_braindiffusion.widgets.progress_row import ProgressRow
from napari_braindiffusion.widgets.scrolling_rows import ScrollingRows

PAINTED_MS = 300
"""Milliseconds after a dock is shown, when it is painted and what it may need next is loaded."""


def postpone_collection() -> None:
    """Let Python collect garbage after this turn of the event loop: among all objects of napari that takes 0.14 s."""
    if gc.isenabled():
        gc.disable()
        QTimer.singleShot(0, gc.enable)


class TourOffer:
    """Whether the guided tour was offered in this session."""

    made = False

    @classmethod
    def suppress(cls) -> None:
        """Offer no tour in this session, for scripts."""
        cls.made = True

    @classmethod
    def make(cls, viewer: Viewer) -> None:
        """Begin the tour, unless the user has seen it or it was offered in this session."""
        if not cls.made and not settings().tour_seen:
            cls.made = True
            command = PluginManager.instance().commands.execute
            QTimer.singleShot(0, lambda: command(f"{PLUGIN}.tour", (viewer,)))


class NextStepButton(QPushButton):
    """A button that offers the next step with the result of this one; hidden until there is a result."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._action: Callable[[], object] = lambda: None
        self.clicked.connect(lambda: self._action())
        self.hide()

    def offer(self, text: str, action: Callable[[], object]) -> None:
        """Show the button with a text; `action` is called when it is pressed."""
        self.setText(text)
        self._action = action
        self.show()


class Dock(QWidget):
    """Base of the docks.

    Args:
        napari_viewer: The viewer that the dock works on.
    """

    name: ClassVar[str] = ""
    """Display name of the widget in the manifest."""
    has_plots: ClassVar[bool] = False
    """Whether it draws plots, once there is something to draw."""
    closed = Signal()
    """The dock has ended."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        postpone_collection()
        self._viewer = napari_viewer
        self.engine = EngineClient.shared(self)
        bind_shortcuts(napari_viewer)
        self._window: QMainWindow | None = None
        self._was_docked = False
        self._in_tabs = False
        self._ended = False
        self._watched: list[tuple[EventEmitter, Callable[..., None]]] = []
        area = self._rows = ScrollingRows()
        self.rows, self.pinned = area.scrolled, area.pinned
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(area)
        napari_viewer.events.theme.connect(self._on_theme)
        application = QApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.end)

    # For derived classes

    def may_close(self) -> bool:
        """Return whether the dock may close; False keeps it open. Questions to the user are asked here."""
        return True

    def release(self) -> None:
        """End everything that this dock began. Called once."""

    def apply_theme(self, background: str, text: str) -> None:
        """Colours of the viewer's theme, for what Qt's style sheet does not reach."""

    def watch_layers(self, callback: Callable[..., None]) -> None:
        """Call a function now, and each time that a layer is added, removed or renamed, until the dock ends."""
        events = self._viewer.layers.events
        for event in (events.inserted, events.removed, events.renamed):
            event.connect(callback)
            self._watched.append((event, callback))
        callback()

    # For other modules

    @property
    def has_ended(self) -> bool:
        """Whether what comes in now comes too late."""
        return self._ended

    def reveal(self, control: QWidget) -> None:
        """Scroll to a control."""
        self._rows.reveal(control)

    def bring_to_front(self) -> None:
        """Show the dock, in front of the other tabs."""
        if (area := self._dock_widget()) is not None:
            area.show()
            area.raise_()

    # Events

    def end(self) -> None:
        """End everything that this dock began, once."""
        if self._ended:
            return
        self._ended = True
        self._viewer.events.theme.disconnect(self._on_theme)
        for event, callback in self._watched:
            event.disconnect(callback)
        if self._window is not None:
            self._window.removeEventFilter(self)
            self._window = None
        self.release()
        self.engine.release(self)
        self.closed.emit()

    def showEvent(self, event: QShowEvent) -> None:  # noqa: D102 Qt's
        super().showEvent(event)
        self._on_theme()
        self._watch_window()
        if self.has_plots:
            QTimer.singleShot(PAINTED_MS, self._import_pyqtgraph)
        if not self._is_duplicate():
            TourOffer.make(self._viewer)

    def _import_pyqtgraph(self) -> None:
        if not self._ended:
            run_in_thread(import_pyqtgraph, then=lambda _: None)

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
        window = self._window
        if window is None or watched is not window or event.type() != QEvent.Type.Close:
            return False
        docks = [dock for dock in window.findChildren(Dock) if not dock.has_ended]
        if all(dock.may_close() for dock in docks):
            window.event(event)  # napari asks, too: the docks end only if the window does close
            if event.isAccepted():
                for dock in docks:
                    dock.end()
        else:
            event.ignore()
        return True

    def _watch_window(self) -> None:
        window = self.parentWidget()
        while window is not None and not isinstance(window, QMainWindow):
            window = window.parentWidget()
        if window is not None and window is not self._window and not self._ended:
            self._window = window
            window.installEventFilter(self)
            QTimer.singleShot(0, self._join_tabs)  # napari is still placing the dock widget

    def _join_tabs(self) -> None:
        """Become a tab beside the other docks; a second dock of one kind closes and shows the first."""
        own = self._dock_widget()
        if self._in_tabs or self._ended or self._window is None or own is None:
            return
        if self._is_duplicate():
            first = self._others(type(self))[0]
            self.end()
            first.bring_to_front()
            self._viewer.window.remove_dock_widget(self)
            self.deleteLater()
            return
        self._in_tabs = True
        own.setWindowTitle(self.name)  # the plugin's name does not fit into a tab
        area = self._window.dockWidgetArea(own)
        for other in self._others(Dock):
            tab = other._dock_widget()
            if tab is not None and not tab.isFloating() and self._window.dockWidgetArea(tab) == area:
                if own not in self._window.tabifiedDockWidgets(tab):
                    self._window.tabifyDockWidget(tab, own)
                    self.bring_to_front()
                for bar in self._window.findChildren(QTabBar):  # arrows scroll the tabs: "C…" names no dock
                    bar.setElideMode(Qt.TextElideMode.ElideNone)
                return

    def _is_duplicate(self) -> bool:
        """Return whether a dock of this kind was there before."""
        return bool(self._others(type(self))) and not self._in_tabs

    def _others(self, kind: type["Dock"]) -> list["Dock"]:
        """Return the other docks of a kind in the same window that have their place and have not ended."""
        found = self._window.findChildren(kind) if self._window is not None else []
        return [dock for dock in found if dock is not self and dock._in_tabs and not dock.has_ended]

    def _dock_widget(self) -> QDockWidget | None:
        """Return the dock widget that holds this dock."""
        widget = self.parentWidget()
        while widget is not None and not isinstance(widget, QDockWidget):
            widget = widget.parentWidget()
        return widget

    def _on_taken_out(self) -> None:
        if self.parentWidget() is not None or self._ended:
            return
        if self.may_close():
            self.end()
            self.deleteLater()
        else:
            self._viewer.window.add_dock_widget(self, name=self.name, tabify=True)

    def _on_theme(self) -> None:
        theme = get_theme(self._viewer.theme)
        self.apply_theme(theme.background.as_hex(), theme.text.as_hex())

    @contextmanager
    def errors_shown(self) -> Iterator[None]:
        """Show bad input as a notification, in the words that it comes with."""
        try:
            yield
        except BrainDiffusionError as error:
            show_message(error)


class LayerJobDock(Dock):
    """Base of the docks with one job on layers at a time: its button, its progress row and its messages.

    Args:
        napari_viewer: The viewer that the dock works on.
        start: Button that starts the job. It is disabled while the job runs.
        progress: Progress row of the job.
        stage: What the progress row shows; by default the stage that the job tells.
    """

    def __init__(self, napari_viewer: Viewer, start: QPushButton, progress: ProgressRow, stage: str = "") -> None:
        super().__init__(napari_viewer)
        self.job = LayerJob(napari_viewer, self.engine, self)
        self.progress, self._start = progress, start
        progress.stop_requested.connect(self.job.cancel)
        self.job.begun.connect(self._on_begun)
        self.job.progress.connect(
            lambda event: progress.show_progress(stage or event.stage, event.step, event.total, event.seconds_left)
        )
        self.job.silent.connect(progress.show_unresponsive)
        self.job.failed.connect(self._on_failed)
        self.job.cancelled.connect(lambda: self._on_job_end("Cancelled."))

    def release(self) -> None:  # noqa: D102 the base class says it
        self.job.close()

    def _on_begun(self, message: str) -> None:
        self._start.setEnabled(False)
        self.progress.begin(message)

    def _on_failed(self, message: str) -> None:
        self._on_job_end(message)
        show_error(message)

    def _on_job_end(self, message: str) -> None:
        self._start.setEnabled(True)
        self.progress.rest(message)
