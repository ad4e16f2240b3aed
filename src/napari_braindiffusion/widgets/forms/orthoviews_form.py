"""What one may ask of the linked view. Emits signals; knows no viewer."""

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_braindiffusion.settings import Convention
from napari_braindiffusion.widgets.forms.layout import make_narrow

CONVENTIONS: tuple[tuple[Convention, str], ...] = (
    ("neurological", "Left is left (neurological)"),
    ("radiological", "Left is right (radiological)"),
)
NOTHING = "Open a brain: File > Open Sample > BrainDiffusion has one."


class LookForm(QWidget):
    """Where left is, what to compare, and what is under the cursor.

    Args:
        convention: Where left is to begin with.
    """

    convention_changed = Signal()
    side_by_side_toggled = Signal(bool)
    together_toggled = Signal(bool)
    in_3d_toggled = Signal(bool)
    difference_asked = Signal()

    def __init__(self, convention: Convention = "neurological") -> None:
        super().__init__()
        self.convention_box = QComboBox()
        for name, words in CONVENTIONS:
            self.convention_box.addItem(words, name)
        self.convention_box.setToolTip(
            "Which side of the screen the left of the head is on, in axial and coronal planes."
        )
        make_narrow(self.convention_box)
        self.convention_box.setMinimumContentsLength(3)
        self.side_button = QPushButton("Side by side", checkable=True)
        self.side_button.setToolTip(
            "The selected brains, or all visible ones, beside each other: same contrast, one cursor. Again: as before."
        )
        self.difference_button = QPushButton("Difference")
        self.difference_button.setToolTip(
            "Where the two selected brains differ, as a layer: red where the lower in the list is brighter, blue where "
            "the upper is."
        )
        self.solid_button = QPushButton("3D", checkable=True)
        self.solid_button.setToolTip("Render the brains in the large canvas. Again: back to the plane.")
        self.together_box = QCheckBox("Middles together", checked=True)
        self.together_box.setToolTip(
            "Compare what is at the same distance from the middles of the brains, not at the same millimetres of their "
            "scanners. Files that you save keep their place."
        )
        self.where = QLabel(NOTHING)
        # Long names are cut off at the right: what is told stays in its line while the cursor moves.
        self.where.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.where.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.where.setToolTip("Under the cursor. Drag in any plane to move it, Shift+drag to move the picture.")
        buttons, choices = QHBoxLayout(), QHBoxLayout()
        for button in (self.side_button, self.difference_button, self.solid_button):
            buttons.addWidget(button, 1)
        choices.addWidget(self.together_box)
        choices.addWidget(self.convention_box, 1)
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addLayout(buttons)
        rows.addLayout(choices)
        rows.addWidget(self.where)

        self.convention_box.setCurrentIndex(self.convention_box.findData(convention))
        self.convention_box.currentIndexChanged.connect(lambda: self.convention_changed.emit())
        self.side_button.toggled.connect(self.side_by_side_toggled)
        self.together_box.toggled.connect(self.together_toggled)
        self.solid_button.toggled.connect(self.in_3d_toggled)
        self.difference_button.clicked.connect(lambda: self.difference_asked.emit())

    @property
    def convention(self) -> Convention:
        """Where left is."""
        chosen: Convention = self.convention_box.currentData()
        return chosen

    @property
    def together(self) -> bool:
        """Whether the middles of two brains shall meet."""
        return self.together_box.isChecked()

    def tell(self, words: str) -> None:
        """Say what is under the cursor."""
        self.where.setText(words or NOTHING)

    def set_side_by_side(self, on: bool) -> None:
        """What became of it; asks for nothing."""
        with QSignalBlocker(self.side_button):
            self.side_button.setChecked(on)

    def set_in_3d(self, on: bool) -> None:
        """What became of it; asks for nothing."""
        with QSignalBlocker(self.solid_button):
            self.solid_button.setChecked(on)

    def set_busy(self, on: bool) -> None:
        """While a difference is on its way."""
        self.difference_button.setDisabled(on)
        self.difference_button.setText("Working …" if on else "Difference")
