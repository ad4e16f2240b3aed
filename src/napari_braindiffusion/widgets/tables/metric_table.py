"""Figures with their floors: value, interval, and whether a target is met."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QResizeEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem, QWidget

from braindiffusion.runs.reports.evaluation import Evaluation, Figure, Row, Verdict
from braindiffusion.runs.reports.metric_descriptions import meaning
from napari_braindiffusion.widgets.plots.loss_curve import COLOURS

COLUMNS = ("", "What", "Generated", "Floor")
MET, MISSED = QColor(COLOURS[2]), QColor(COLOURS[4])
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
        floor: the same of real brains.
        met: whether the target is met; None where there is none.
        told: the explanation.
    """

    what: str
    value: str
    floor: str = ""
    met: bool | None = None
    told: str = ""


class FigureTable(QTableWidget):
    """One line a figure, explained where the mouse rests."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, len(COLUMNS), parent)
        self.setHorizontalHeaderLabels(COLUMNS)
        self.setToolTip("Figures with their 95 % intervals. Rest the mouse on a line to read what it means.")
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
        judged = any(line.met is not None for line in lines)
        self.setColumnHidden(0, not judged)
        for row, line in enumerate(lines):
            mark = "" if line.met is None else "✓" if line.met else "✗"
            for column, text in enumerate((mark, line.what, line.value, line.floor)):
                item = QTableWidgetItem(text)
                item.setToolTip(line.told)
                if column == 0:
                    item.setForeground(MET if line.met else MISSED)
                    item.setData(Qt.ItemDataRole.AccessibleTextRole, "met" if line.met else "missed")
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


def of_verdicts(evaluation: Evaluation) -> list[Line]:
    """The targets, with what they are about."""
    return [_of_verdict(verdict, evaluation) for verdict in evaluation.verdicts]


def of_rows(rows: Iterable[Row]) -> list[Line]:
    """Figures of a group."""
    return [
        Line(row.name, _text(row.generated, row.unit), _text(row.floor, row.unit), told=_wrapped(meaning(row.group)))
        for row in rows
    ]


def _of_verdict(verdict: Verdict, evaluation: Evaluation) -> Line:
    figure, floor, unit = evaluation.judged(verdict)
    stretch = "" if verdict.stretch_met is None else f" More: {verdict.stretch}, {_word(verdict.stretch_met)}."
    told = f"{verdict.target}: {_word(verdict.met)}, {verdict.reached}.{stretch}"
    said = f"\n\n{meaning(verdict.group)}" if verdict.group else ""
    return Line(
        verdict.title or verdict.target,
        _text(figure, unit) or verdict.reached.partition(", ")[0],
        _text(floor, unit),
        verdict.met,
        _wrapped(f"{told[:1].upper()}{told[1:]}{said}"),
    )


def _word(met: bool) -> str:
    return "met" if met else "missed"


def _text(figure: Figure | None, unit: str = "") -> str:
    if figure is None:
        return ""
    return f"{figure.value:.3g}{f' {unit}' if unit else ''}\n[{figure.low:.2g}, {figure.high:.2g}]"


def _wrapped(text: str) -> str:
    """Qt breaks the lines of a tooltip only where it takes it for HTML."""
    paragraphs = text.replace("&", "&amp;").replace("<", "&lt;").split("\n\n")
    return "".join(f"<p>{one}</p>" for one in paragraphs)
