"""The plots of a training: loss and novelty, of several runs for comparison."""

from collections.abc import Iterable, Mapping

import pyqtgraph as pg
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QSpinBox, QVBoxLayout, QWidget

from braindiffusion.runs import Metric
from napari_braindiffusion.widgets.forms.layout import make_narrow
from napari_braindiffusion.widgets.plots.loss_curve import NOVELTY, LossCurve

ALL = "All levels"


class Curves(QWidget):
    """Loss over steps; below it, as soon as there is one, the novelty of samples; and how they are drawn."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.loss = LossCurve()
        self.novelty = LossCurve(NOVELTY, "novelty")
        self.novelty.setMinimumHeight(120)
        self.novelty.setToolTip(
            "How new the samples are: their distance to the nearest training brain, compared with that of people whom "
            "the model never saw. 1: as new as a new person. Falling below 1: it begins to copy; stop, or add brains."
        )
        self._limit = pg.InfiniteLine(0.0, angle=0, pen=pg.mkPen(style=Qt.PenStyle.DashLine))  # log10 of 1
        self.novelty.addItem(self._limit, ignoreBounds=True)
        self.novelty.hide()
        self.level = QComboBox()
        make_narrow(self.level)
        self.level.setMinimumContentsLength(6)
        self.level.addItem(ALL, None)
        self.level.setToolTip("Draw one level of the cascade, or all; level 0 is the coarsest.")
        self.log = QCheckBox("Log")
        self.log.setChecked(True)
        self.log.setToolTip("Logarithmic loss: late, small progress is seen too.")
        self.smoothing = QSpinBox()
        self.smoothing.setRange(1, 999)
        self.smoothing.setPrefix("Smooth ")
        self.smoothing.setAccessibleName("Smoothing")
        self.smoothing.setToolTip("Draw the training loss as a running mean over so many points.")
        row = QHBoxLayout()
        row.addWidget(self.level, 1)
        row.addWidget(self.smoothing)
        row.addWidget(self.log)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row)
        layout.addWidget(self.loss, 2)
        layout.addWidget(self.novelty, 1)
        self.level.currentIndexChanged.connect(lambda _: self._show_only())
        self.log.toggled.connect(lambda on: self.loss.getPlotItem().setLogMode(x=False, y=on))
        self.smoothing.valueChanged.connect(self.loss.smooth)

    def set_theme(self, background: str, text: str) -> None:
        """Colours of the plots' ground, axes and words."""
        for plot in (self.loss, self.novelty):
            plot.set_theme(background, text)
        self._limit.setPen(pg.mkPen(text, style=Qt.PenStyle.DashLine))

    def add(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Add what was measured at a step of a stage."""
        self._know(stage)
        self.loss.add(stage, step, values)
        self.novelty.add(stage, step, values)
        self._show_novelty("novelty" in values)

    def add_all(self, metrics: Iterable[Metric], run: str = "") -> None:
        """Add many at once; `run` names the run where several are compared."""
        metrics = list(metrics)
        for stage in dict.fromkeys(metric.stage for metric in metrics):
            self._know(stage)
        self.loss.add_all(metrics, run)
        self.novelty.add_all(metrics, run)
        self._show_novelty(any("novelty" in metric.values for metric in metrics))

    def forget(self, run: str) -> None:
        """Take away the curves of a run that was compared."""
        self.loss.forget(run)
        self.novelty.forget(run)

    def clear_curves(self) -> None:
        """Forget everything that was drawn."""
        self.loss.clear_curves()
        self.novelty.clear_curves()
        self.novelty.hide()
        while self.level.count() > 1:
            self.level.removeItem(1)

    def points(self, stage: str, name: str) -> tuple[list[float], list[float]]:
        """Steps and values of one curve, as they were measured."""
        return (self.novelty if name in NOVELTY else self.loss).points(stage, name)

    def _know(self, stage: str) -> None:
        if self.level.findData(stage) < 0:
            self.level.addItem(stage.capitalize(), stage)

    def _show_only(self) -> None:
        for plot in (self.loss, self.novelty):
            plot.show_only(self.level.currentData())

    def _show_novelty(self, there: bool) -> None:
        if there:
            self.novelty.show()
