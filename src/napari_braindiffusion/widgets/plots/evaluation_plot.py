"""The figures of an evaluation, natively: what the HTML report draws with Plotly, to be looked at beside the brains."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QFont, QFontMetrics, QWheelEvent
from qtpy.QtWidgets import QWidget

from braindiffusion.runs.reports.evaluation import Curve, Estimate, Memorization, Row
from braindiffusion.runs.reports.nearest import Nearest
from napari_braindiffusion.widgets import short
from napari_braindiffusion.widgets.plots import COLOURS

GENERATED, REAL, COPY = COLOURS[0], COLOURS[1], COLOURS[4]
HEIGHT, LINE = 220, 15
"""Pixels of a plot, and of a line of one with names."""
AXIS, GAP = 44, 14
"""Pixels of an axis with numbers; of one with names, beside the names."""
MARGIN = 6
"""Pixels below, for letters that hang."""
SMALL = 7
"""Points of the names."""
ALPHA = 0.05
GOLDEN = 0.618


def _in_colour(words: str, colour: str) -> str:
    return f'<b style="color: {colour}">{words}</b>'


MADE = _in_colour("Generated brains", GENERATED)


class EvaluationPlot(pg.PlotWidget):  # type: ignore[misc, unused-ignore]
    """One figure at a time. What it shows besides axes and dots is in `caption`."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.caption = ""
        self._plot = self.getPlotItem()
        self._plot.setMenuEnabled(False)
        self._plot.layout.setContentsMargins(1, 1, 1, MARGIN)
        self._named = False
        self._small = QFont(self.font())
        self._small.setPointSize(SMALL)
        self._plot.getAxis("left").setStyle(tickFont=self._small)
        for name in ("bottom", "left"):
            self._plot.getAxis(name).enableAutoSIPrefix(False)
        self._plot.getAxis("bottom").setHeight(AXIS)
        self._text = QColor()
        self.set_theme("#262930", "#f0f1f2")

    def set_theme(self, background: str, text: str) -> None:
        """Colours of the plot's ground, axes and words."""
        self._text = QColor(text)
        self.setBackground(background)
        for name in ("bottom", "left"):
            axis = self._plot.getAxis(name)
            axis.setPen(text)
            axis.setTextPen(text)
        for item in self._plot.items:
            if isinstance(item, pg.InfiniteLine):
                item.setPen(self._dashed)

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: D102 Qt's
        super().wheelEvent(event)
        # Either the plot zooms or the dock scrolls, as it must where a figure of many names is higher than the window.
        event.setAccepted(not self._named)

    def show_curve(self, curve: Curve) -> None:
        """Generated brains and real ones along an axis, each with its interval."""
        self._begin(HEIGHT, curve.x_unit, curve.unit)
        shares = curve.unit.startswith("share")
        for colour, figures in ((REAL, curve.real_baseline), (GENERATED, curve.generated)):
            low, high = (pg.PlotDataItem(curve.x, [getattr(one, end) for one in figures]) for end in ("low", "high"))
            self._plot.addItem(pg.FillBetweenItem(low, high, brush=_faint(colour)))
            self._plot.plot(curve.x, [one.value for one in figures], pen=pg.mkPen(colour, width=1.5))
        if curve.unit.startswith("dB"):
            self._line(curve.x[-1] / 2)
        of = "real brains" if shares else "real training brains, against held-out ones"
        nyquist = "" if shares else " Dashed: half of the finest detail that the voxels can hold (Nyquist/2)."
        self.caption = f"{MADE}; {_in_colour(of, REAL)}. Bands: 95 % intervals of the means.{nyquist}"
        self._plot.autoRange()

    def show_spreads(self, rows: Sequence[Row]) -> None:
        """A quantity a line: mean and spread of generated brains, in standard deviations of real ones."""
        spreads = [(row, row.spread) for row in rows if row.spread is not None and row.spread.real_sd > 0]
        self._begin(80 + LINE * len(spreads), "SDs of real brains", "")
        self._name_lines([short(row.name.partition(" (")[0]) for row, _ in spreads])
        band = pg.LinearRegionItem((-1, 1), movable=False, brush=_faint(REAL), pen=pg.mkPen(None))
        self._plot.addItem(band, ignoreBounds=True)
        self._line(0)
        x = np.array([(one.generated_mean - one.real_mean) / one.real_sd for _, one in spreads])
        half = np.array([one.generated_sd / one.real_sd for _, one in spreads])
        y = -np.arange(float(len(spreads)))
        self._plot.addItem(pg.ErrorBarItem(x=x, y=y, left=half, right=half, pen=pg.mkPen(GENERATED)))
        tips = [
            f"{row.name}\ngenerated {one.generated_mean:.4g} ± {one.generated_sd:.2g}\n"
            f"real {one.real_mean:.4g} ± {one.real_sd:.2g}\n"
            f"apart {_interval(row.generated)} SD\nreal baseline {_interval(row.real_baseline)} SD"
            for row, one in spreads
        ]
        self._dots(x, y, GENERATED, tips)
        self.caption = (
            f"{MADE} and {_in_colour('real ones', REAL)}: means and standard deviations. Rest the mouse on a dot for "
            "its numbers."
        )
        self._plot.setYRange(0.8 - len(spreads), 0.8, padding=0)

    def show_memorization(self, one: Memorization) -> None:
        """Draw the distance of each brain to its nearest training brain, and the medians."""
        self._begin(HEIGHT, "distance to training / to held-out", "")
        self._name_lines(["new people", "generated"])
        made = sorted(one.neighbours, key=lambda near: near.ratio)
        tips = [
            f"{near.generated}{': a copy' if near.copied else ''}\nnearest training brain {near.training}, "
            f"{near.to_training:.3f}\nnearest held-out brain {near.held_out}, {near.to_held_out:.3f}"
            for near in made
        ]
        colours = [COPY if near.copied else GENERATED for near in made]
        people = np.sort(one.real_baseline_ratios)
        self._swarm(people, 0, [REAL] * len(people), [f"a held-out person\n{ratio:.3f}" for ratio in people])
        self._swarm(np.array([near.ratio for near in made]), -1, colours, tips)
        for y, median, colour in ((0, one.real_baseline, REAL), (-1, one.ratio, GENERATED)):
            self._plot.plot([median.value] * 2, [y - 0.4, y + 0.4], pen=pg.mkPen(colour, width=2))
        self._line(1)
        copies = sum(near.copied for near in made)
        verdict = "no difference" if one.p > ALPHA else "a difference"
        self.caption = (
            f"{MADE} and {_in_colour('new people', REAL)}, a dot each, and their medians. Left of 1: nearer to a brain "
            "that the model was trained on than to one that it never saw. "
            f"{verdict.capitalize()} from new people is seen (p = {one.p:.2g}); {copies or 'no'} "
            f"cop{'y' if copies == 1 else 'ies'}."
        )
        self._plot.setYRange(-1.6, 0.6)

    def show_nearest(self, found: Nearest) -> None:
        """Draw the distances of one brain to its nearest real ones, and those between people."""
        self._begin(120, "distance; 0 is a copy", "")
        self._name_lines(["training", "held-out"])
        for y, match in ((0, found.training), (-1, found.held_out)):
            normal = match.people
            self._plot.addItem(
                pg.BarGraphItem(x0=normal.low, x1=normal.high, y=y, height=0.5, brush=_faint(REAL), pen=pg.mkPen(REAL))
            )
            self._plot.plot([normal.median] * 2, [y - 0.25, y + 0.25], pen=pg.mkPen(REAL, width=2))
            tip = f"{match.name}\n{match.distance:.3f} away; people {normal.low:.2f} to {normal.high:.2f}"
            self._dots(np.array([match.distance]), np.array([float(y)]), COPY if found.copied else GENERATED, [tip])
        self._line(found.threshold)
        self.caption = (
            f"{_in_colour('This brain', GENERATED)}, and where 95 % of {_in_colour('real people', REAL)} are, with "
            "their median. Left of the dashed line: a copy."
        )
        self._plot.setYRange(-1.5, 0.5)
        self._plot.setXRange(
            0, 1.1 * max(found.training.people.high, found.held_out.people.high, found.training.distance)
        )

    def _begin(self, height: int, x: str, y: str) -> None:
        self._plot.clear()
        self._named = False
        self.setFixedHeight(height)
        self._plot.setLabel("bottom", x)
        self._plot.setLabel("left", y or None)
        self._plot.showLabel("left", bool(y))
        self._plot.getAxis("left").setTicks(None)
        self._plot.getAxis("left").setWidth(AXIS)
        self._plot.setMouseEnabled(x=True, y=True)
        self._plot.enableAutoRange()

    def _name_lines(self, names: Sequence[str]) -> None:
        """Names from top to bottom at 0, -1, ... instead of numbers."""
        self._named = True
        axis = self._plot.getAxis("left")
        axis.setTicks([[(-i, name) for i, name in enumerate(names)]])
        # By itself the axis learns its width only from what it has painted.
        widths = map(QFontMetrics(self._small).horizontalAdvance, names)
        axis.setWidth(max(widths, default=0) + GAP)
        self._plot.setMouseEnabled(x=False, y=False)

    @property
    def _dashed(self) -> Any:
        return pg.mkPen(self._text, style=Qt.PenStyle.DashLine)

    def _line(self, x: float) -> None:
        self._plot.addItem(pg.InfiniteLine(x, angle=90, pen=self._dashed), ignoreBounds=True)

    def _swarm(self, x: np.ndarray[Any, Any], y: int, colours: Sequence[str], tips: Sequence[str]) -> None:
        """Dots of growing x, each a golden section further up than the last, so that neighbours lie apart."""
        self._dots(x, y + 0.6 * (GOLDEN * np.arange(len(x)) % 1 - 0.5), colours, tips)

    def _dots(
        self, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], colours: str | Sequence[str], tips: Sequence[str]
    ) -> None:
        each = [colours] * len(x) if isinstance(colours, str) else colours
        dots = pg.ScatterPlotItem(
            x=x,
            y=y,
            size=7,
            pen=None,
            brush=[pg.mkBrush(one) for one in each],
            data=list(tips),
            hoverable=True,
            hoverSize=10,
            tip=lambda x, y, data: data,
        )
        self._plot.addItem(dots)


def _faint(colour: str) -> QColor:
    faint = QColor(colour)
    faint.setAlpha(70)
    return faint


def _interval(figure: Estimate | None) -> str:
    return "unknown" if figure is None else f"{figure.value:.2f} [{figure.low:.2f}, {figure.high:.2f}]"
