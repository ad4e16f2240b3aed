"""Figures with their real baseline: value, interval, and whether a target is met."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QResizeEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem, QWidget

from braindiffusion.runs.reports.evaluation import Estimate, Evaluation, Outcome, Row, TargetResult
from braindiffusion.runs.reports.metric_descriptions import metric_description
from napari_braindiffusion.widgets.plots import COLOURS

COLUMNS = ("", "What", "Generated", "Real baseline")
COLOUR = {"met": QColor(COLOURS[2]), "missed": QColor(COLOURS[4])}
MARKS: dict[Outcome | None, str] = {"met": "✓", "missed": "✗", "inconclusive": "?", None: ""}
LARGEST = 320
"""Pixels; longer tables scroll."""
MARK = 20
"""Pixels of the column of marks."""
SMALLER = 0.85
"""The share of the font's size that lets four columns stand in 300 pixels."""


@dataclass(frozen=True)
class Line:
    """A line of the table.

    Attributes:
        what: in few words.
        value: the figure with its interval.
        real_baseline: the same of real brains.
        outcome: whether the target is met; None where there is none.
        tooltip: the explanation.
    """

    what: str
    value: str
    real_baseline: str = ""
    outcome: Outcome | None = None
    tooltip: str = ""


class FigureTable(QTableWidget):
    """One line a figure, explained where the mouse rests."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, len(COLUMNS), parent)
        self.setHorizontalHeaderLabels(COLUMNS)
        self.setToolTip("Metrics with their 95 % intervals. Hover over a row for an explanation.")
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setTabKeyNavigation(False)  # Tab leaves the table
        self.setWordWrap(True)
        small = self.font()
        small.setPointSizeF(small.pointSizeF() * SMALLER)
        self.setFont(small)
        self.verticalHeader().hide()
        header = self.horizontalHeader()
        header.setFont(small)
        header.setMinimumSectionSize(MARK)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Fixed)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        self.setColumnWidth(0, MARK)

    def show_lines(self, lines: Sequence[Line]) -> None:
        """Show these and no others."""
        self.setRowCount(len(lines))
        judged = any(line.outcome is not None for line in lines)
        self.setColumnHidden(0, not judged)
        for row, line in enumerate(lines):
            for column, text in enumerate((MARKS[line.outcome], line.what, line.value, line.real_baseline)):
                item = QTableWidgetItem(text)
                item.setToolTip(line.tooltip)
                if column == 0 and line.outcome:
                    item.setForeground(COLOUR.get(line.outcome, self.palette().text().color()))
                    item.setData(Qt.ItemDataRole.AccessibleTextRole, line.outcome)
                self.setItem(row, column, item)
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102 Qt's
        super().resizeEvent(event)
        if event.size().width() != event.oldSize().width():
            self._fit()

    def _fit(self) -> None:
        """As high as the lines, which are as high as the columns are narrow."""
        self.resizeRowsToContents()
        height = self.horizontalHeader().sizeHint().height() + self.verticalHeader().length() + 4
        self.setFixedHeight(min(height, LARGEST))


def of_targets(evaluation: Evaluation) -> list[Line]:
    """The targets, with what they are about."""
    return [_of_target(target, evaluation) for target in evaluation.targets]


def of_rows(rows: Iterable[Row]) -> list[Line]:
    """Figures of a group."""
    return [
        Line(
            row.name,
            _text(row.generated, row.unit),
            _text(row.real_baseline, row.unit),
            tooltip=_wrapped(row.description or metric_description(row.group)),
        )
        for row in rows
    ]


def _of_target(target: TargetResult, evaluation: Evaluation) -> Line:
    figure, baseline, unit = evaluation.estimate_of(target)
    stretch = "" if target.stretch_outcome is None else f" More: {target.stretch}, {target.stretch_outcome}."
    sentence = f"{target.target}: {target.outcome}, {target.reached}.{stretch}"
    said = f"\n\n{metric_description(target.group)}" if target.group else ""
    return Line(
        target.title or target.target,
        _text(figure, unit) or target.reached.partition(", ")[0],
        _text(baseline, unit),
        target.outcome,
        _wrapped(f"{sentence[:1].upper()}{sentence[1:]}{said}"),
    )


def _text(figure: Estimate | None, unit: str = "") -> str:
    if figure is None:
        return ""
    return f"{figure.value:.3g}{f' {unit}' if unit else ''}\n[{figure.low:.2g}, {figure.high:.2g}]"


def _wrapped(text: str) -> str:
    """Qt breaks the lines of a tooltip only where it takes it for HTML."""
    paragraphs = text.replace("&", "&amp;").replace("<", "&lt;").split("\n\n")
    return "".join(f"<p>{one}</p>" for one in paragraphs)
