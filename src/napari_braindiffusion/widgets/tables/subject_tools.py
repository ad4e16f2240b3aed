"""The controls around the table of subjects: a filter, buttons to select, and the details of one subject."""

from qtpy.QtCore import Qt
from qtpy.QtGui import QPixmap, QResizeEvent
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QLineEdit, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_braindiffusion.widgets.forms.layout import wrapping_label
from napari_braindiffusion.widgets.tables.subject_model import SubjectRow
from napari_braindiffusion.widgets.tables.subject_table import SubjectTable


class SubjectTools(QWidget):
    """Filters a table, and selects the subjects that it shows.

    Args:
        table: The table.
    """

    def __init__(self, table: SubjectTable, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._table = table
        self.text = QLineEdit(placeholderText="Filter: age>60 sex=F ...", clearButtonEnabled=True)
        self.text.setToolTip(
            "Shows the subjects that match all words. Words are searched in every column, remarks too; age, mm and "
            "voxels can be compared (age>=40 age<60 mm<1.5); sex, site, modality and subject can be given (sex=F)."
        )
        self.only_flagged = QCheckBox("Only with problems")
        self.only_flagged.setToolTip("Shows subjects that cannot be used (✕) and those with a warning (?).")
        self.select_button = QPushButton("Select")
        self.select_button.setToolTip("Select all subjects that are shown.")
        self.deselect_button = QPushButton("Deselect")
        self.deselect_button.setToolTip("Deselect all subjects that are shown.")
        row = QHBoxLayout()
        row.addWidget(self.text, 1)
        row.addWidget(self.select_button)
        row.addWidget(self.deselect_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row)
        layout.addWidget(self.only_flagged)
        self.text.textChanged.connect(table.filter.set_text)
        self.only_flagged.toggled.connect(table.filter.set_only_flagged)
        self.select_button.clicked.connect(lambda: table.check_shown(use=True))
        self.deselect_button.clicked.connect(lambda: table.check_shown(use=False))


class _Picture(QLabel):
    """A picture as wide as there is room, up to its own size."""

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
    """One subject in three planes, and all its flags in full."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.picture = _Picture()
        self.picture.setToolTip("Sagittal, coronal and axial plane; left is at the left.")
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
            messages = [f"{mark.severity.capitalize()}: {mark.message}." for mark in row.marks]
            self.label.setText("\n".join([row.subject, *messages]))
