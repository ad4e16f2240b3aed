"""A report in the dock: targets, all figures, plots, and the way to the page for the browser."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from braindiffusion.runs.reports.evaluation import Evaluation
from braindiffusion.untrusted import markup
from napari_braindiffusion.widgets.forms.layout import make_narrow, wrapping_label
from napari_braindiffusion.widgets.plots.on_demand import PlotOnDemand
from napari_braindiffusion.widgets.tables.metric_table import FigureTable, of_rows, of_targets

if TYPE_CHECKING:
    from napari_braindiffusion.widgets.plots.evaluation_plot import EvaluationPlot

TARGETS = "Targets"


class EvaluationView(QWidget):
    """Shows one evaluation at a time, and nothing before the first."""

    report_requested = Signal()
    folder_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._evaluation: Evaluation | None = None
        self._draw: list[Callable[[], None]] = []
        self.summary = wrapping_label("", rich=True)
        self.group = QComboBox()
        self.group.setToolTip("Metrics in the table: those that have a target, or all of a group.")
        self.table = FigureTable()
        self.figure = QComboBox()
        self.figure.setToolTip("What is drawn below.")
        self._plot = PlotOnDemand(_make_plot)
        self.caption = wrapping_label("", rich=True)
        self.left_out = wrapping_label("")
        self.report_button = QPushButton("Open the report")
        self.report_button.setToolTip("The whole report with pictures of the worst cases, in the browser.")
        self.folder_button = QPushButton("Open its folder")
        self.folder_button.setToolTip("Where the report and evaluation.json with every number are.")
        for box in (self.group, self.figure):
            make_narrow(box)
        buttons = QHBoxLayout()
        buttons.addWidget(self.report_button, 1)
        buttons.addWidget(self.folder_button, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.summary)
        layout.addWidget(_titled("Numbers", self.group))
        layout.addWidget(self.table)
        layout.addWidget(_titled("Figure", self.figure))
        layout.addWidget(self._plot)
        layout.addWidget(self.caption)
        layout.addWidget(self.left_out)
        layout.addLayout(buttons)
        self.group.currentIndexChanged.connect(self._show_numbers)
        self.figure.currentIndexChanged.connect(self._show_figure)
        self.report_button.clicked.connect(self.report_requested)
        self.folder_button.clicked.connect(self.folder_requested)
        self.hide()

    @property
    def plot(self) -> "EvaluationPlot":
        """The figure."""
        return self._plot.plot

    def set_theme(self, background: str, text: str) -> None:
        """Colours of the plot's ground, axes and words."""
        self._plot.set_theme(background, text)

    def show_evaluation(self, evaluation: Evaluation) -> None:
        """Show this one, its targets and its first figure."""
        self._evaluation = one = evaluation
        self.summary.setText(
            f"<b>{markup(one.summary)}.</b> {len(one.generated)} generated brains beside "
            f"{len(one.held_out)} held-out and {len(one.training)} training brains"
            f"{f' of {markup(one.model)}' if one.model else ''}."
        )
        lacking = "; ".join(f"{each.what} ({each.why.rstrip('.')})" for each in one.left_out)
        self.left_out.setText(f"Left out: {lacking}.")
        self.left_out.setVisible(bool(lacking))
        self._fill(self.group, [TARGETS, *dict.fromkeys(row.group for row in one.rows)])
        figures = dict(self._figures(one))
        self._draw = list(figures.values())
        self._fill(self.figure, list(figures))
        self._show_numbers()
        self._show_figure()
        self.show()

    def _figures(self, one: Evaluation) -> list[tuple[str, Callable[[], None]]]:
        """Return the plots and how to draw each: sizes first, then sharpness, intensities and novelty."""
        found: list[tuple[str, Callable[[], None]]] = []
        groups = {"volumes": "Region volumes", "tissues": "Tissues", "asymmetry": "Asymmetry", "shape": "Brain shape"}
        for group, title in groups.items():
            rows = [row for row in one.rows if row.group == group and row.spread is not None]
            if rows:
                found.append((title, partial(self.plot.show_spreads, rows)))
        found += [(curve.name.capitalize(), partial(self.plot.show_curve, curve)) for curve in one.curves]
        found += [(f"Novelty: {each.space}", partial(self.plot.show_memorization, each)) for each in one.memorization]
        return found

    def _fill(self, box: QComboBox, names: list[str]) -> None:
        chosen = box.currentText()
        box.blockSignals(True)
        box.clear()
        box.addItems([name[:1].upper() + name[1:] for name in names])
        box.setCurrentIndex(max(0, box.findText(chosen)))
        box.blockSignals(False)

    def _show_numbers(self) -> None:
        one = self._evaluation
        if one is None:
            return
        groups = list(dict.fromkeys(row.group for row in one.rows))
        chosen = self.group.currentIndex()
        lines = of_targets(one) if chosen == 0 else of_rows(row for row in one.rows if row.group == groups[chosen - 1])
        self.table.show_lines(lines)

    def _show_figure(self) -> None:
        index = self.figure.currentIndex()
        if 0 <= index < len(self._draw):
            self._draw[index]()
            self.caption.setText(self.plot.caption)


def _make_plot() -> "EvaluationPlot":
    from napari_braindiffusion.widgets.plots.evaluation_plot import EvaluationPlot

    plot = EvaluationPlot()
    plot.setToolTip("Generated brains beside real ones.")
    return plot


def _titled(title: str, box: QComboBox) -> QWidget:
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    label = QLabel(title)
    label.setBuddy(box)
    layout.addWidget(label)
    layout.addWidget(box, 1)
    return row
