"""Who is compared with whom, and with what."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QSpinBox, QVBoxLayout, QWidget
from superqt import QCollapsible

from braindiffusion.runs import EvaluateRequest
from napari_braindiffusion.widgets.forms.layout import form_layout, make_narrow
from napari_braindiffusion.widgets.forms.path_row import PathRow
from napari_braindiffusion.widgets.source_list import BrainList

Choice = tuple[str, str | None, str]
"""Text, value and tooltip of something to choose."""
READERS: list[Choice] = [
    ("the packaged one", "auto", "Reads regions, age and an embedding wherever it fits the brains' box."),
    ("none", "none", "Faster. Regions come from label maps where all brains have them; the rest is left out."),
]
ANY = "layers, folders, volumes, prepared cohorts and runs, mixed as you like."


class EvaluateForm(QWidget):
    """Real and generated brains; behind a click the model, label maps, reader, features and how thorough."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.generated = BrainList("Generated brains", f"Generated brains: {ANY}")
        self.real = BrainList("Real brains", f"Real brains, best the cohort that the model learnt from: {ANY}")
        self.model = QComboBox()
        make_narrow(self.model)
        self.model.setToolTip("Its card tells which real brains it learnt from, and which it never saw.")
        self.reader = QComboBox()
        make_narrow(self.reader)
        self.reader.setToolTip("The network that reads regions, age and embedding in generated and real brains alike.")
        self.labels = PathRow(
            "folder", placeholder="label maps of the real volumes", tooltip="Region label maps, matched by file name."
        )
        self.features = PathRow(
            "file",
            placeholder="features of your own",
            tooltip="A table of features of every brain (.csv, .npz, .npy), or weights of MedicalNet or RadImageNet.",
            filters="Features (*.csv *.npz *.npy *.pth *.pt *.safetensors);;All files (*)",
        )
        self.pairs = QSpinBox()
        self.pairs.setRange(1, 10_000)
        self.pairs.setToolTip("Pairs of brains whose likeness tells of diversity. More take longer, and tell more.")
        self.repeats = QSpinBox()
        self.repeats.setRange(10, 10_000)
        self.repeats.setToolTip("Of the bootstrap that makes the intervals. More take longer, and the ends jump less.")
        for box in (self.pairs, self.repeats):
            box.setValue(EvaluateRequest.model_fields["pairs" if box is self.pairs else "repeats"].default)

        inner = QWidget()
        rows = form_layout(inner)
        rows.addRow("&Model", self.model)
        rows.addRow("&Label maps", self.labels)
        rows.addRow("Rea&der", self.reader)
        rows.addRow("&Features", self.features)
        rows.addRow("&Pairs", self.pairs)
        rows.addRow("Repea&ts", self.repeats)
        self.more = QCollapsible("How they are compared")
        self.more.setDuration(0)
        self.more.layout().setContentsMargins(0, 0, 0, 0)
        self.more.setContent(inner)
        self.more.collapse(animate=False)
        self.more.toggleButton().setToolTip("Model, label maps, reader, features, and how thorough.")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.generated)
        layout.addWidget(self.real)
        layout.addWidget(self.more)
        self.set_models(())
        self.set_readers(())

    def set_models(self, models: Iterable[Choice]) -> None:
        """Offer models; what was chosen stays where it is still there."""
        told = "The packaged model that made all of the generated brains, if one did."
        _offer(self.model, [("as the brains' sidecars say", None, told), *models])

    def set_readers(self, readers: Iterable[Choice]) -> None:
        """Offer readers, in the same way."""
        _offer(self.reader, [*READERS, *readers])

    def options(self) -> dict[str, Any]:
        """The fields of an `EvaluateRequest` besides real and generated brains."""
        return {
            "model": self.model.currentData(),
            "labels": self.labels.path,
            "reader": self.reader.currentData(),
            "features": (self.features.path,) if self.features.path else (),
            "pairs": self.pairs.value(),
            "repeats": self.repeats.value(),
        }

    def show_request(self, request: EvaluateRequest) -> None:
        """Ask for what an earlier evaluation asked for."""
        self.generated.set_paths(request.generated)
        self.real.set_paths(request.real)
        _choose(self.model, request.model)
        _choose(self.reader, request.reader)
        self.labels.set_path(request.labels)
        self.features.set_path(next(iter(request.features), None))
        self.pairs.setValue(request.pairs)
        self.repeats.setValue(request.repeats)


def _offer(box: QComboBox, choices: Iterable[Choice]) -> None:
    chosen = box.currentData()
    box.clear()
    for text, value, tooltip in choices:
        box.addItem(text, value)
        box.setItemData(box.count() - 1, tooltip, Qt.ItemDataRole.ToolTipRole)
    if chosen is not None:
        _choose(box, chosen)


def _choose(box: QComboBox, value: str | None) -> None:
    """Choose a value; one that is not offered is added."""
    if box.findData(value) < 0:
        box.addItem(Path(str(value)).name, value)
    box.setCurrentIndex(box.findData(value))
