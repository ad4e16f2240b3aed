"""The controls of the orthoviews. They emit signals; the dock connects them to the viewer."""

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_braindiffusion.settings import Convention
from napari_braindiffusion.widgets.forms.layout import make_narrow

CONVENTIONS: tuple[tuple[Convention, str], ...] = (
    ("neurological", "Neurological (L=L)"),
    ("radiological", "Radiological (L=R)"),
)
HINT = "Open a brain: File > Open Sample."


class OrthoviewsForm(QWidget):
    """Display convention, comparisons, 3D, and the values under the cursor.

    Args:
        convention: The display convention to start with.
    """

    convention_changed = Signal()
    side_by_side_toggled = Signal(bool)
    align_centers_toggled = Signal(bool)
    in_3d_toggled = Signal(bool)
    difference_asked = Signal()

    def __init__(self, convention: Convention = "neurological") -> None:
        super().__init__()
        self.convention_box = QComboBox()
        for name, words in CONVENTIONS:
            self.convention_box.addItem(words, name)
        self.convention_box.setToolTip(
            "Display convention: the side of the screen that shows the left of the head in axial and coronal planes."
        )
        make_narrow(self.convention_box)
        self.convention_box.setMinimumContentsLength(3)
        self.convention_box.setAccessibleName("Display convention")
        self.side_by_side_button = QPushButton("Side by side", checkable=True)
        self.side_by_side_button.setToolTip(
            "Show the selected brains, or all visible ones, side by side: same contrast, one cursor. Again: as before."
        )
        self.difference_button = QPushButton("Difference")
        self.difference_button.setToolTip(
            "Show the difference of the two selected brains as a layer: red where the lower one in the list is "
            "brighter, blue where the upper one is."
        )
        self.in_3d_button = QPushButton("3D", checkable=True)
        self.in_3d_button.setToolTip("Render the brains in the large canvas. Press again to return to the plane.")
        self.align_centers_box = QCheckBox("Align centers", checked=True)
        self.align_centers_box.setToolTip(
            "Compare positions relative to the centers of the brains instead of positions in scanner space. Files that "
            "you save keep their position."
        )
        self.values_label = QLabel(HINT)
        # Long names are cut off at the right: each value stays in its line while the cursor moves.
        self.values_label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.values_label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.values_label.setToolTip("Under the cursor. Drag in any plane to move it, Shift+drag to move the picture.")
        buttons, choices = QHBoxLayout(), QHBoxLayout()
        for button in (self.side_by_side_button, self.difference_button, self.in_3d_button):
            buttons.addWidget(button, 1)
        choices.addWidget(self.align_centers_box)
        choices.addWidget(self.convention_box, 1)
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addLayout(buttons)
        rows.addLayout(choices)
        rows.addWidget(self.values_label)

        self.convention_box.setCurrentIndex(self.convention_box.findData(convention))
        self.convention_box.currentIndexChanged.connect(lambda: self.convention_changed.emit())
        self.side_by_side_button.toggled.connect(self.side_by_side_toggled)
        self.align_centers_box.toggled.connect(self.align_centers_toggled)
        self.in_3d_button.toggled.connect(self.in_3d_toggled)
        self.difference_button.clicked.connect(lambda: self.difference_asked.emit())

    @property
    def convention(self) -> Convention:
        """The chosen display convention."""
        chosen: Convention = self.convention_box.currentData()
        return chosen

    @property
    def align_centers(self) -> bool:
        """Whether the centers of compared brains are aligned."""
        return self.align_centers_box.isChecked()

    def show_values(self, words: str) -> None:
        """Show the values under the cursor."""
        self.values_label.setText(words or HINT)

    def set_side_by_side(self, on: bool) -> None:
        """Show the state, without a signal."""
        with QSignalBlocker(self.side_by_side_button):
            self.side_by_side_button.setChecked(on)

    def set_in_3d(self, on: bool) -> None:
        """Show the state, without a signal."""
        with QSignalBlocker(self.in_3d_button):
            self.in_3d_button.setChecked(on)

    def set_busy(self, on: bool) -> None:
        """Disable the button of the difference while it is computed."""
        self.difference_button.setDisabled(on)
        self.difference_button.setText("Computing …" if on else "Difference")
