"""The form of an edit: the image, the mask, and how the painted part is generated."""

from collections.abc import Iterable

from qtpy.QtWidgets import QCheckBox, QComboBox, QPushButton, QWidget

from braindiffusion.runs import EditRequest
from napari_braindiffusion.widgets.forms.field_widgets import Choice
from napari_braindiffusion.widgets.forms.layout import form_layout, make_narrow
from napari_braindiffusion.widgets.forms.request_form import RequestForm

ROWS = ("num_proposals", "seed", "first_level", "coarse", "anatomy")
ADVANCED = ("model", "resampling", "steps", "device", "precision")


class EditForm(RequestForm):
    """An image layer, a Labels layer, and the settings of an `EditRequest`."""

    def __init__(self, parent: QWidget | None = None) -> None:
        layers = QWidget()
        self.image, self.mask = QComboBox(), QComboBox()
        self.new_mask = QPushButton("&New mask layer")
        self.new_mask.setToolTip("Add an empty Labels layer on the grid of the image, ready to paint on.")
        self.selected_only = QCheckBox("Only the selected la&bel")
        self.selected_only.setToolTip("Regenerate the selected label of the mask layer only, such as one region.")
        tips = ("Image (T1w) to edit.", "Labels layer: voxels other than 0 are regenerated.")
        for combo, name, tip in zip((self.image, self.mask), ("Image", "Mask"), tips, strict=True):
            combo.setAccessibleName(name)
            combo.setToolTip(tip)
            make_narrow(combo)
        rows = form_layout(layers)
        rows.addRow("Image", self.image)
        rows.addRow("Mask", self.mask)
        rows.addRow(self.new_mask)
        rows.addRow(self.selected_only)
        super().__init__(EditRequest, (layers, *ROWS), ADVANCED, options={"model": {"choices": ()}}, parent=parent)

    def offer(self, images: Iterable[str], masks: Iterable[str]) -> None:
        """Offer layers by name. What was chosen stays chosen."""
        for combo, names in ((self.image, images), (self.mask, masks)):
            chosen = combo.currentText()
            combo.clear()
            combo.addItems(list(names))
            combo.setCurrentIndex(max(0, combo.findText(chosen)))

    def set_models(self, models: Iterable[Choice]) -> None:
        """Offer models. What was chosen stays chosen."""
        self.fields["model"].offer(list(models))
