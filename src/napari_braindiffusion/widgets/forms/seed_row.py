"""The seed, and what becomes of it after a generation."""

import random

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QSpinBox, QVBoxLayout, QWidget

LARGEST_SEED = 2**31 - 1
THEN = {
    "next": "The next press makes other brains: the seed goes on past those that were made.",
    "fixed": "The next press makes the same brain, or the same with another question.",
    "random": "The next press makes any other brain.",
}


class SeedRow(QWidget):
    """A number, and how it goes on."""

    changed = Signal()
    """The user chose another seed."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.seed = QSpinBox()
        self.seed.setRange(0, LARGEST_SEED)
        self.seed.setToolTip("The same seed and the same settings give the same brain.")
        self.then = QComboBox()
        for word in THEN:
            self.then.addItem(f"then {word}", word)
        self.then.setAccessibleName("What becomes of the seed after a generation")
        self.then.currentIndexChanged.connect(lambda _: self.then.setToolTip(THEN[self.then.currentData()]))
        self.then.setToolTip(THEN[self.then.currentData()])
        column = QVBoxLayout(self)  # side by side they would widen the dock
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.seed)
        column.addWidget(self.then)
        self.setFocusProxy(self.seed)
        self.seed.valueChanged.connect(lambda _: self.changed.emit())

    def go_on(self, number: int) -> None:
        """After a generation of so many brains: another seed, if the user wants that. `changed` is not emitted."""
        seed, then = self.seed.value(), self.then.currentData()
        if then == "random":
            seed = random.randrange(LARGEST_SEED)  # noqa: S311 nothing is kept secret
        elif then == "next":
            seed = (seed + number) % LARGEST_SEED
        self.seed.blockSignals(True)
        self.seed.setValue(seed)
        self.seed.blockSignals(False)
