"""What stands around the table of subjects: a line to filter it by, buttons to tick with, and a closer look at one."""

from qtpy.QtCore import Qt
from qtpy.QtGui import QPixmap, QResizeEvent
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QLineEdit, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_braindiffusion.widgets.forms.layout import wrapping_label
from napari_braindiffusion.widgets.tables.subject_model import SubjectRow
from napari_braindiffusion.widgets.tables.subject_table import SubjectTable


class SubjectTools(QWidget):
    """Filters a table, and ticks what it shows.

    Args:
        table: The table.
    """

    def __init__(self, table: SubjectTable, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._table = table
        self.text = QLineEdit(placeholderText="Filter: age>60 sex=F ...", clearButtonEnabled=True)
        self.text.setToolTip(
            "Shows who fits all words. Words are looked for in every column, remarks too; age, mm and voxels can be "
            "compared (age>=40 age<60 mm<1.5), sex, site, kind and subject asked for (sex=F)."
        )
        self.only_odd = QCheckBox("Only with problems")
        self.only_odd.setToolTip("Shows who cannot be used (✕) and who should be looked at (?).")
        self.all_button = QPushButton("Tick")
        self.all_button.setToolTip("Use all that are shown.")
        self.none_button = QPushButton("Untick")
        self.none_button.setToolTip("Leave out all that are shown.")
        row = QHBoxLayout()
        row.addWidget(self.text, 1)
        row.addWidget(self.all_button)
        row.addWidget(self.none_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row)
        layout.addWidget(self.only_odd)
        self.text.textChanged.connect(table.filter.set_text)
        self.only_odd.toggled.connect(table.filter.set_only_odd)
        self.all_button.clicked.connect(lambda: table.tick_shown(use=True))
        self.none_button.clicked.connect(lambda: table.tick_shown(use=False))


class _Picture(QLabel):
    """As wide as there is room, up to its own size."""

    def __init__(self) -> None:
        super().__init__(alignment=Qt.AlignmentFlag.AlignCenter)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._whole = QPixmap()

    def show_file(self, path: str) -> None:
        self._whole = QPixmap(path)
        self.setVisible(not self._whole.isNull())
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        if self._whole.isNull() or self.width() < 10:
            return
        width = min(self.width(), self._whole.width())
        fitted = self._whole.scaledToWidth(width, Qt.TransformationMode.SmoothTransformation)
        self.setPixmap(fitted)
        self.setFixedHeight(fitted.height())


class SubjectCard(QWidget):
    """One subject from three sides, and all that is odd about it in full."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.picture = _Picture()
        self.picture.setToolTip("From the left, from the front, from the top; left is at the left.")
        self.label = wrapping_label("")
        self.label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.label.setTextFormat(Qt.TextFormat.PlainText)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.picture)
        layout.addWidget(self.label)
        self.hide()

    def show_subject(self, row: SubjectRow | None) -> None:
        """Show a subject, or nothing."""
        self.setVisible(row is not None)
        if row is not None:
            self.picture.show_file(row.picture)
            told = [f"{mark.severity.capitalize()}: {mark.message}." for mark in row.marks]
            self.label.setText("\n".join([row.subject, *told]))
