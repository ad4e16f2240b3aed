"""The plots of a training: loss and novelty, of several runs for comparison."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QSpinBox, QVBoxLayout, QWidget

from braindiffusion.runs import Metric
from napari_braindiffusion.widgets.forms.layout import make_narrow
from napari_braindiffusion.widgets.plots import LOSSES, NOVELTY
from napari_braindiffusion.widgets.plots.on_demand import PlotOnDemand

if TYPE_CHECKING:
    from napari_braindiffusion.widgets.plots.loss_curve import LossCurve

ALL = "All levels"
NOTHING = "No loss recorded yet"
HEIGHT, NOVELTY_HEIGHT = 180, 120
"""Pixels, at least."""


class Curves(QWidget):
    """Loss over steps; below it, as soon as there is one, the novelty of samples; and how they are drawn."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._loss = PlotOnDemand(self._make_loss, NOTHING)
        self._loss.setMinimumHeight(HEIGHT)
        self._novelty = PlotOnDemand(self._make_novelty)
        self._novelty.setMinimumHeight(NOVELTY_HEIGHT)
        self._novelty.hide()
        self.level = QComboBox()
        make_narrow(self.level)
        self.level.setMinimumContentsLength(6)
        self.level.addItem(ALL, None)
        self.level.setToolTip("Draw one level of the cascade, or all; level 0 is the coarsest.")
        self.log = QCheckBox("Log")
        self.log.setChecked(True)
        self.log.setToolTip("Logarithmic axis, which shows small progress late in a training.")
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
        layout.addWidget(self._loss, 2)
        layout.addWidget(self._novelty, 1)
        self.level.currentIndexChanged.connect(lambda _: self._each(lambda plot: plot.show_only(self._only)))
        self.log.toggled.connect(lambda _: self._arrange_loss())
        self.smoothing.valueChanged.connect(lambda _: self._arrange_loss())

    @property
    def loss(self) -> "LossCurve":
        """The plot of the loss, in place of the hint that there is none."""
        return self._loss.plot

    @property
    def novelty(self) -> "LossCurve":
        """The plot of the novelty of samples."""
        return self._novelty.plot

    def set_theme(self, background: str, text: str) -> None:
        """Colours of the plots' ground, axes and words."""
        for place in (self._loss, self._novelty):
            place.set_theme(background, text)

    def add(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Add what was measured at a step of a stage."""
        self._know(stage)
        if LOSSES.keys() & values:
            self.loss.add(stage, step, values)
        if NOVELTY.keys() & values:
            self.novelty.add(stage, step, values)
            self._novelty.show()
        self._rest()

    def add_all(self, metrics: Iterable[Metric], run: str = "") -> None:
        """Add many at once; `run` names the run where several are compared."""
        metrics = list(metrics)
        for stage in dict.fromkeys(metric.stage for metric in metrics):
            self._know(stage)
        names = {name for metric in metrics for name in metric.values}
        if LOSSES.keys() & names:
            self.loss.add_all(metrics, run)
        if NOVELTY.keys() & names:
            self.novelty.add_all(metrics, run)
            self._novelty.show()
        self._rest()

    def forget(self, run: str) -> None:
        """Take away the curves of a run that was compared."""
        self._each(lambda plot: plot.forget(run))
        self._rest()

    def clear_curves(self) -> None:
        """Forget everything that was drawn."""
        self._each(lambda plot: plot.clear_curves())
        self._rest()
        while self.level.count() > 1:
            self.level.removeItem(1)

    def points(self, stage: str, name: str) -> tuple[list[float], list[float]]:
        """Steps and values of one curve, as they were measured."""
        plot = (self._novelty if name in NOVELTY else self._loss).made
        return ([], []) if plot is None else plot.points(stage, name)

    @property
    def _only(self) -> str | None:
        """The level that is drawn alone, None for all."""
        only: str | None = self.level.currentData()
        return only

    def _make_loss(self) -> "LossCurve":
        from napari_braindiffusion.widgets.plots.loss_curve import LossCurve

        plot = LossCurve()
        plot.setMinimumHeight(HEIGHT)
        plot.show_only(self._only)
        self._arrange_loss(plot)
        return plot

    def _make_novelty(self) -> "LossCurve":
        from napari_braindiffusion.widgets.plots.loss_curve import LossCurve

        plot = LossCurve(NOVELTY, "novelty", limit=1.0)
        plot.setMinimumHeight(NOVELTY_HEIGHT)
        plot.setToolTip(
            "How new the samples are: their distance to the nearest training brain, compared with that of people whom "
            "the model never saw. 1: as new as a new person. Falling below 1: it begins to copy; stop, or add brains."
        )
        plot.show_only(self._only)
        return plot

    def _arrange_loss(self, plot: "LossCurve | None" = None) -> None:
        """Draw the loss, where it is drawn, as the controls above it say."""
        if (plot := plot or self._loss.made) is not None:
            plot.show_log(self.log.isChecked())
            plot.smooth(self.smoothing.value())

    def _each(self, change: Callable[["LossCurve"], None]) -> None:
        """Change the plots that there are."""
        for place in (self._loss, self._novelty):
            if place.made is not None:
                change(place.made)

    def _rest(self) -> None:
        """Show no empty plot."""
        if self._loss.made is not None and self._loss.made.is_empty:
            self._loss.show_hint()
        if self._novelty.made is not None and self._novelty.made.is_empty:
            self._novelty.hide()

    def _know(self, stage: str) -> None:
        if self.level.findData(stage) < 0:
            self.level.addItem(stage.capitalize(), stage)
