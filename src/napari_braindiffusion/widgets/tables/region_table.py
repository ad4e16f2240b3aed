"""Table of region volumes beside the percentiles of a reference."""

from collections.abc import Sequence

from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem, QWidget

from braindiffusion.cohort.region_volumes import RegionVolume
from napari_braindiffusion.widgets import readable, short
from napari_braindiffusion.widgets.plots import COLOURS

COLUMNS = ("Region", "ml", "Pctl.", "5 %", "50 %", "95 %")
SMALLER = 0.85
"""Share of the font size with which the columns fit into a dock."""
UNUSUAL = (5.0, 95.0)
"""Percentiles outside of which a volume is marked."""


class _Number(QTableWidgetItem):
    """A cell that is sorted by its number; unknown values come last. From 10 on it has one digit after the point."""

    def __init__(self, value: float | None, digits: int) -> None:
        if value is not None and value >= 10:
            digits = min(digits, 1)
        super().__init__("n/a" if value is None else f"{value:.{digits}f}")
        self._value = float("inf") if value is None else value
        self.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)

    def __lt__(self, other: QTableWidgetItem) -> bool:
        return isinstance(other, _Number) and self._value < other._value


class RegionTable(QTableWidget):
    """One row for each region; a click on a header sorts."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, len(COLUMNS), parent)
        self.setHorizontalHeaderLabels(COLUMNS)
        self.setToolTip(
            "Volume of each region, its percentile in the reference, and the reference's 5th, 50th and 95th percentile."
        )
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setTabKeyNavigation(False)  # Tab leaves the table
        small = self.font()
        small.setPointSizeF(small.pointSizeF() * SMALLER)
        self.setFont(small)
        self.verticalHeader().hide()
        header = self.horizontalHeader()
        header.setMinimumSectionSize(20)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self._fit_rows = QTimer(self, singleShot=True, interval=0)  # later: Qt is in the middle of its columns
        self._fit_rows.timeout.connect(self.resizeRowsToContents)  # in a narrow dock a name takes two lines
        header.sectionResized.connect(lambda *_: self._fit_rows.start())
        header.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        self.setMinimumHeight(160)

    def set_rows(self, rows: Sequence[RegionVolume]) -> None:
        """Show these regions; volumes outside of the reference's 5th to 95th percentile are coloured."""
        self.setSortingEnabled(False)
        self.setRowCount(len(rows))
        for line, row in enumerate(rows):
            band = (row.reference_p5_ml, row.reference_median_ml, row.reference_p95_ml)
            numbers = [_Number(row.volume_ml, 2), _Number(row.percentile, 0), *(_Number(value, 2) for value in band)]
            cells: list[QTableWidgetItem] = [QTableWidgetItem(short(row.region)), *numbers]
            if row.percentile is not None and not UNUSUAL[0] <= row.percentile <= UNUSUAL[1]:
                for cell in cells[1:3]:
                    cell.setForeground(QColor(COLOURS[4]))
            cells[0].setToolTip(readable(row.region))
            for column, cell in enumerate(cells):
                self.setItem(line, column, cell)
        self.setSortingEnabled(True)
        self._fit_rows.start()
