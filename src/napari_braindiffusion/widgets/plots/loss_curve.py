"""The loss, live: one colour a level, training as a line, validation as dots on a line."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QWidget

from braindiffusion.runs import Metric
from napari_braindiffusion.widgets.plots import COLOURS, LOSSES

WIDE = 340
"""Pixels from which the legend has two columns: in one it would hide half of the curves."""


LABEL_HEIGHT = 14
"""Pixels that the number beside a tick needs."""
MINOR_TICKS: tuple[Sequence[float], ...] = (
    [tenths / 10 for tenths in range(11, 100)],
    [halves / 2 for halves in range(3, 20)],
    range(2, 10),
    (2, 3, 5),
    (2, 5),
)
"""Multiples of a power of ten that get a tick: the most whose numbers do not overlap."""


class LossAxis(pg.AxisItem):  # type: ignore[misc, unused-ignore]
    """A vertical axis whose ticks keep apart on a logarithmic scale; pyqtgraph's own always has nine a decade."""

    def logTickValues(
        self,
        minVal: float,
        maxVal: float,
        size: float,
        stdTicks: list[Any],
    ) -> list[tuple[Any, list[float]]]:
        """Return the ticks between two logarithms, powers of ten first.

        Args:
            minVal: logarithm of the least value.
            maxVal: of the largest.
            size: length of the axis in pixels.
            stdTicks: the ticks of a linear axis of logarithms.
        """
        decades = range(math.floor(minVal), math.ceil(maxVal) + 1)
        decade = size / max(maxVal - minVal, 1e-9)
        apart = math.ceil(LABEL_HEIGHT / decade)
        minor = next((chosen for chosen in MINOR_TICKS if _closest(chosen) * decade >= LABEL_HEIGHT), ())
        whole = [float(power) for power in decades if power % apart == 0]
        between = [power + math.log10(multiple) for power in decades for multiple in minor]
        return [
            (spacing, [value for value in values if minVal <= value <= maxVal])
            for spacing, values in ((1.0, whole), (None, between))
        ]

    def logTickStrings(self, values: list[float], scale: float, spacing: float | None) -> list[str]:
        """Return the number beside each tick."""
        return [f"{10**value * scale:.3g}" for value in values]


def _closest(multiples: Sequence[float]) -> float:
    """Return the least distance between ticks, in decades."""
    return min((math.log10(upper / lower) for lower, upper in pairwise((1, *multiples, 10))), default=1.0)


@dataclass
class _Curve:
    steps: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)


class LossCurve(pg.PlotWidget):  # type: ignore[misc, unused-ignore]
    """Curves over steps, one for each kind and stage (level), of one run or of several.

    Args:
        kinds: Names of the values that are drawn, and what they are called.
        label: Of the vertical axis.
        limit: Where a dashed line is drawn across.
    """

    def __init__(
        self,
        kinds: Mapping[str, str] = LOSSES,
        label: str = "loss",
        limit: float | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent, axisItems={"left": LossAxis("left")})
        self._kinds = kinds
        self._smoothing = 1
        self._only: str | None = None
        self.setToolTip(
            "Loss over training steps. Line: training; dots: validation. "
            "Drag to move, scroll to zoom, A at the lower left to fit."
        )
        self._plot = self.getPlotItem()
        self._plot.setLabel("bottom", "step")
        self._plot.setLabel("left", label)
        self._plot.getAxis("left").enableAutoSIPrefix(False)  # no factor of 0.001 beside the name
        self._plot.setLogMode(x=False, y=True)
        self._plot.showGrid(x=False, y=True, alpha=0.2)
        self._plot.setMenuEnabled(False)
        self._legend = self._plot.addLegend(offset=(-1, 1), labelTextSize="8pt", verSpacing=-4)
        self._plot.getViewBox().sigResized.connect(self._arrange_legend)
        self._curves: dict[tuple[str, str], _Curve] = defaultdict(_Curve)
        self._items: dict[tuple[str, str], pg.PlotDataItem] = {}
        self._levels: list[str] = []
        self._limit = None if limit is None else pg.InfiniteLine(np.log10(limit), angle=0)
        if self._limit is not None:
            self._plot.addItem(self._limit, ignoreBounds=True)
        self.set_theme("#262930", "#f0f1f2")

    def _arrange_legend(self) -> None:
        self._legend.setColumnCount(2 if self.width() >= WIDE else 1)

    def set_theme(self, background: str, text: str) -> None:
        """Colours of the plot's ground, axes and words."""
        self.setBackground(background)
        for name in ("bottom", "left"):
            axis = self._plot.getAxis(name)
            axis.setPen(text)
            axis.setTextPen(text)
        if self._limit is not None:
            self._limit.setPen(pg.mkPen(text, style=Qt.PenStyle.DashLine))
        self._legend.setLabelTextColor(text)
        for _, label in self._legend.items:
            label.setText(label.text, color=text)

    def add(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Add the losses among `values`; others, and those that a logarithmic axis cannot show, are passed over."""
        for name in self._keep(stage, step, values):
            self._draw(stage, name)

    def add_all(self, metrics: Iterable[Metric], run: str = "") -> None:
        """Add many at once, as when an earlier run is shown, and draw each curve once.

        Args:
            metrics: Oldest first.
            run: Name of the run, where several are compared.
        """
        prefix = f"{run} · " if run else ""
        changed = {
            (prefix + metric.stage, name): None
            for metric in metrics
            for name in self._keep(prefix + metric.stage, metric.step, metric.values)
        }
        for stage, name in changed:
            self._draw(stage, name)

    def clear_curves(self) -> None:
        """Forget everything that was drawn."""
        for item in self._items.values():
            self._plot.removeItem(item)
        self._items.clear()
        self._curves.clear()
        self._levels.clear()

    def forget(self, run: str) -> None:
        """Take away the curves of a run that was compared."""
        for stage, name in [key for key in self._curves if key[0].startswith(f"{run} · ")]:
            del self._curves[stage, name]
            self._plot.removeItem(self._items.pop((stage, name)))

    def smooth(self, steps: int) -> None:
        """Draw the training loss as a running mean over so many points; 1 draws it as it is."""
        self._smoothing = steps
        self._draw_all()

    def show_log(self, on: bool) -> None:
        """Draw on a logarithmic axis or on a linear one."""
        self._plot.setLogMode(x=False, y=on)

    def show_only(self, level: str | None) -> None:
        """Draw one level alone, or all."""
        self._only = level
        self._draw_all()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is drawn."""
        return not self._items

    def points(self, stage: str, name: str) -> tuple[list[float], list[float]]:
        """Steps and values of one curve."""
        curve = self._curves.get((stage, name), _Curve())
        return list(curve.steps), list(curve.values)

    def _keep(self, stage: str, step: int, values: Mapping[str, float]) -> list[str]:
        kept = [name for name in self._kinds if np.isfinite(values.get(name, np.nan)) and values[name] > 0]
        for name in kept:
            self._curves[stage, name].steps.append(step)
            self._curves[stage, name].values.append(values[name])
        return kept

    def _draw_all(self) -> None:
        for stage, name in self._curves:
            self._draw(stage, name)

    def _draw(self, stage: str, name: str) -> None:
        curve = self._curves[stage, name]
        item = self._item(stage, name)
        values = curve.values if name != "loss" else smoothed(curve.values, self._smoothing)
        item.setData(curve.steps, values)
        item.setVisible(self._only is None or stage.endswith(self._only))

    def _item(self, stage: str, name: str) -> pg.PlotDataItem:
        if (stage, name) not in self._items:
            if stage not in self._levels:
                self._levels.append(stage)
            colour = COLOURS[self._levels.index(stage) % len(COLOURS)]
            style = (
                {"pen": pg.mkPen(colour, width=1.5)}
                if name == "loss"
                else {
                    "pen": pg.mkPen(colour, width=1.5, style=Qt.PenStyle.DotLine),
                    "symbol": "o",
                    "symbolSize": 6,
                    "symbolBrush": colour,
                    "symbolPen": None,
                }
            )
            # Of a run that is compared only the lines are named: the legend would hide what it explains.
            named = " · " not in stage or name == next(iter(self._kinds))
            self._items[stage, name] = self._plot.plot(
                name=f"{stage}, {self._kinds[name]}" if named else None,
                autoDownsample=True,
                downsampleMethod="mean",
                clipToView=True,
                **style,
            )
        return self._items[stage, name]


def smoothed(values: list[float], steps: int) -> list[float]:
    """The mean of each value and those before it, the last ones counting most: an exponential one over about `steps`.

    It begins as the plain mean, so that the first values do not pull the curve.
    """
    found, weighed, weight = [], 0.0, 0.0
    for value in values:
        keep = 1 - 1 / steps
        weighed, weight = keep * weighed + value, keep * weight + 1
        found.append(weighed / weight)
    return found
