"""The estimate of a training's memory and time, and a button that makes it fit."""

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget

from braindiffusion.runs import Estimated, TrainRequest
from braindiffusion.runs.durations import duration
from napari_braindiffusion.widgets.forms.layout import wrapping_label
from napari_braindiffusion.widgets.forms.request_form import label_of


class EstimateRow(QWidget):
    """A verdict; where it does not fit, what to change, and Apply."""

    apply_requested = Signal(dict)
    """Fields of the request and the values that make it fit."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.label = wrapping_label("")
        self.label.setToolTip("Memory and time that this training will take here, measured by a few real steps.")
        self.apply_button = QPushButton("Apply")
        self.apply_button.setToolTip("Change the settings above so that the training fits into memory.")
        self.apply_button.clicked.connect(lambda: self.apply_requested.emit(self._changes))
        self._changes: dict[str, int | bool | str] = {}
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.label, 1)
        layout.addWidget(self.apply_button)
        self.say("")

    def say(self, text: str) -> None:
        """Show a sentence and no button."""
        self._changes = {}
        self.label.setText(text)
        self.setVisible(bool(text))
        self.apply_button.hide()

    def show_estimate(self, found: Estimated) -> None:
        """Show what was found."""
        device = "this computer" if found.device == "cpu" else f"this GPU ({found.device})"
        needs, has = (f"{number / 1e9:.1f}" for number in (found.bytes, found.available))
        what = f"Preset {found.preset} needs" if found.preset else "Needs"
        if found.fits:
            time = "measuring the time …" if found.seconds is None else f"about {duration(found.seconds)}"
            self.say(f"{what} {needs} of the {has} GB that {device} has free; {time}.")
            return
        advice = ", ".join(_change(name, value) for name, value in found.advice.items() if value is not False)
        self.say(f"{what} {needs} GB, {device} has {has} free: use {advice or 'a device with more memory'}.")
        self._changes = dict(found.advice)
        self.apply_button.setVisible(bool(self._changes))


def _change(name: str, value: object) -> str:
    label = label_of(TrainRequest, name).lower()
    return label if value is True else f"{label} {value}"
