"""The loss, live: one colour a level, training as a line, validation as dots on a line."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QWidget

from braindiffusion.runs import Metric

# Okabe and Ito's colours: told apart by the colour-blind, and on dark and light ground alike.
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#D55E00", "#0072B2")
KINDS = {"loss": "training", "validation_loss": "validation"}


@dataclass
class _Curve:
    steps: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)


class LossCurve(pg.PlotWidget):  # type: ignore[misc, unused-ignore]
    """Curves of `loss` and `validation_loss` over steps, one pair for each stage (level)."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMinimumHeight(180)
        self.setToolTip(
            "Loss over training steps. Line: training; dots: validation. "
            "Drag to move, scroll to zoom, A at the lower left to fit."
        )
        self._plot = self.getPlotItem()
        self._plot.setLabel("bottom", "step")
        self._plot.setLabel("left", "loss")
        self._plot.setLogMode(x=False, y=True)
        self._plot.showGrid(x=False, y=True, alpha=0.2)
        self._plot.setMenuEnabled(False)
        self._legend = self._plot.addLegend(offset=(-1, 1), labelTextSize="8pt", verSpacing=-4)
        self._curves: dict[tuple[str, str], _Curve] = defaultdict(_Curve)
        self._items: dict[tuple[str, str], pg.PlotDataItem] = {}
        self._levels: list[str] = []
        self.set_theme("#262930", "#f0f1f2")

    def set_theme(self, background: str, text: str) -> None:
        """Colours of the plot's ground, axes and words."""
        self.setBackground(background)
        for name in ("bottom", "left"):
            axis = self._plot.getAxis(name)
            axis.setPen(text)
            axis.setTextPen(text)
        self._legend.setLabelTextColor(text)
        for _, label in self._legend.items:
            label.setText(label.text, color=text)

    def add(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Add the losses among `values`; others, and those that a logarithmic axis cannot show, are passed over."""
        for name in self._keep(stage, step, values):
            self._draw(stage, name)

    def add_all(self, metrics: Iterable[Metric]) -> None:
        """Add many at once, as when an earlier run is shown, and draw each curve once."""
        changed = {
            (metric.stage, name): None
            for metric in metrics
            for name in self._keep(metric.stage, metric.step, metric.values)
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

    def points(self, stage: str, name: str) -> tuple[list[float], list[float]]:
        """Steps and values of one curve."""
        curve = self._curves.get((stage, name), _Curve())
        return list(curve.steps), list(curve.values)

    def _keep(self, stage: str, step: int, values: Mapping[str, float]) -> list[str]:
        kept = [name for name in KINDS if np.isfinite(values.get(name, np.nan)) and values[name] > 0]
        for name in kept:
            self._curves[stage, name].steps.append(step)
            self._curves[stage, name].values.append(values[name])
        return kept

    def _draw(self, stage: str, name: str) -> None:
        curve = self._curves[stage, name]
        self._item(stage, name).setData(curve.steps, curve.values)

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
            self._items[stage, name] = self._plot.plot(
                name=f"{stage}, {KINDS[name]}", autoDownsample=True, downsampleMethod="mean", clipToView=True, **style
            )
        return self._items[stage, name]
