"""The place of a plot that is made when there is something to draw: to import pyqtgraph takes a quarter of a second."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, Generic, TypeVar

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

Plot = TypeVar("Plot", bound=Any)


def import_pyqtgraph() -> None:
    """Import what draws plots, for a worker thread: the first plot is then there at once."""
    import_module("pyqtgraph")


class PlotOnDemand(QWidget, Generic[Plot]):
    """Shows a hint until there is a plot.

    Args:
        make: Makes the plot, a widget with `set_theme`.
        hint: Shown where there is nothing to draw: the axes of an empty plot would show numbers of nothing.
    """

    def __init__(self, make: Callable[[], Plot], hint: str = "") -> None:
        super().__init__()
        self._make = make
        self._plot: Plot | None = None
        self._theme: tuple[str, str] | None = None
        self.hint = QLabel(hint)
        self.hint.setAlignment(Qt.AlignmentFlag.AlignCenter)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.hint)

    @property
    def made(self) -> Plot | None:
        """The plot, None before it was asked for."""
        return self._plot

    @property
    def plot(self) -> Plot:
        """The plot, which takes the place of the hint."""
        if self._plot is None:
            self._plot = self._make()
            self.layout().addWidget(self._plot)
            if self._theme is not None:
                self._plot.set_theme(*self._theme)
        self.hint.hide()
        self._plot.show()
        return self._plot

    def show_hint(self) -> None:
        """Show the hint again."""
        if self._plot is not None:
            self._plot.hide()
        self.hint.show()

    def set_theme(self, background: str, text: str) -> None:
        """Colours of the ground and of words."""
        self._theme = background, text
        self.hint.setStyleSheet(f"background: {background}; color: {text}")
        if self._plot is not None:
            self._plot.set_theme(background, text)
