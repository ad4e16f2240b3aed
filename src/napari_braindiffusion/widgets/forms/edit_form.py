"""The form of an edit: the image, what is done with it, and how that is generated."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from magicgui.widgets import CheckBox
from napari.layers import Layer
from qtpy.QtWidgets import QCheckBox, QComboBox, QLabel, QPushButton, QVBoxLayout, QWidget

from braindiffusion.conditions import ConditionSchema
from braindiffusion.runs import EditRequest
from braindiffusion.runs.requests.editing import CHANGEABLE
from napari_braindiffusion.widgets.forms.condition_form import ConditionForm
from napari_braindiffusion.widgets.forms.condition_rows import without_margins
from napari_braindiffusion.widgets.forms.field_widgets import Choice
from napari_braindiffusion.widgets.forms.layer_box import LayerBox
from napari_braindiffusion.widgets.forms.layout import form_layout, make_narrow
from napari_braindiffusion.widgets.forms.request_form import RequestForm

ROWS = ("seed", "first_level", "coarse", "anatomy")
ADVANCED = ("model", "guidance", "resampling", "steps", "device", "precision")
OPERATIONS = {
    "mask": ("Regenerate the mask", "Generate the painted voxels. All others stay as they are."),
    "vary": ("Vary the detail", "Keep the coarse structure of the whole brain, and generate new finer detail."),
    "change": ("Change age, sex or volumes", "Deform the brain to another age, sex or region volume, and regenerate."),
    "second": ("Interpolate with an image", "Combine the coarse structure of the image with the detail of a second."),
    "super_resolution": (
        "Increase the resolution",
        "Generate the detail that the voxels of the image are too large for.",
    ),
}
"""Text and tooltip of each operation, by the field of the request that asks for it; no field asks to vary."""
SHOWN = {
    "share": {"second"},
    "num_values": {"change", "second"},
    "num_proposals": {"mask", "vary", "super_resolution"},
    "first_level": {"mask", "vary", "change", "second"},
    "coarse": {"mask"},
    "guidance": {"mask", "vary", "super_resolution"},
    "anatomy": {"mask", "vary", "second", "super_resolution"},
}
"""Operations that a field is for; of others its value does not count."""


class EditForm(RequestForm):
    """Image layers, a Labels layer, the operation, and the settings of an `EditRequest`."""

    def __init__(self, parent: QWidget | None = None) -> None:
        layers = QWidget()
        self.image, self.mask, self.second = (LayerBox() for _ in range(3))
        self.operation = QComboBox()
        self.new_mask = QPushButton("&New mask layer")
        self.new_mask.setToolTip("Add an empty Labels layer on the grid of the image, ready to paint on.")
        self.selected_only = QCheckBox("Only the selected la&bel")
        self.selected_only.setToolTip("Regenerate the selected label of the mask layer only, such as one region.")
        rows = form_layout(layers)
        for name, combo, tip in (
            ("Image", self.image, "Image (T1w) to edit."),
            ("Operation", self.operation, "What is done with the image."),
            ("Mask", self.mask, "Labels layer: voxels other than 0 are regenerated."),
            ("Second image", self.second, "Image (T1w) of another brain."),
        ):
            combo.setAccessibleName(name)
            combo.setToolTip(tip)
            make_narrow(combo)
            rows.addRow(name, combo)
        rows.insertRow(3, self.new_mask)
        rows.insertRow(4, self.selected_only)
        self.changes, self.own = ConditionForm(), ConditionForm()
        self._conditions = QWidget()
        column = without_margins(QVBoxLayout(self._conditions))
        for text, form in (("Change to", self.changes), ("The brain as it is (estimated if left out)", self.own)):
            form.clear_button.hide()  # a check box or "any" takes a value back
            column.addWidget(QLabel(text))
            column.addWidget(form)
        self.side_by_side = CheckBox(
            label="Show side by side",
            value=True,
            tooltip="Show the image and its proposals beside each other, until one of them is kept.",
        )
        super().__init__(
            EditRequest,
            (layers, self._conditions, "share", "num_values", "num_proposals", self.side_by_side, *ROWS),
            ADVANCED,
            options={"model": {"choices": ()}},
            parent=parent,
        )
        self._of_operation = {
            "mask": (self.mask, rows.labelForField(self.mask), self.new_mask, self.selected_only),
            "second": (self.second, rows.labelForField(self.second)),
            "change": (self._conditions,),
        }
        for name, (text, tip) in OPERATIONS.items():
            self.operation.addItem(text, name)
            self.operation.setItemData(self.operation.count() - 1, tip, 3)  # Qt's role of a tooltip
        self.operation.currentIndexChanged.connect(lambda _: self._show_operation())
        self.fields["num_proposals"].changed.connect(lambda _: self._show_operation())
        self._show_operation()

    def offer(self, images: Sequence[Layer], masks: Sequence[Layer]) -> None:
        """Offer layers. What was chosen stays chosen."""
        self.image.offer(images)
        self.second.offer(images, default=1)  # another than the image itself
        self.mask.offer(masks)

    def set_models(self, models: Iterable[Choice]) -> None:
        """Offer models. What was chosen stays chosen."""
        self.fields["model"].offer(list(models))

    def set_schema(self, schema: ConditionSchema) -> None:
        """Offer what can be changed of a brain with the conditions of a model."""
        fields = [field for field in schema.fields if field.name in CHANGEABLE]
        self.changes.set_schema(ConditionSchema(fields=tuple(fields)))
        self.own.set_schema(ConditionSchema(fields=tuple(one for one in fields if one.kind != "vector")))

    def make_request(self, **others: Any) -> Any:
        """Return the request; fields that are not for the operation have their default."""
        chosen = self.operation.currentData()
        defaults = EditRequest(scan=Path())
        unused = {name: getattr(defaults, name) for name, shown in SHOWN.items() if chosen not in shown}
        values: dict[str, Any] = {"super_resolution": chosen == "super_resolution", "previews": True}
        if chosen == "change":
            values |= {"change": self.changes.asked(), "condition": self.own.asked()}
        return super().make_request(**unused | values | others)

    def _show_operation(self) -> None:
        chosen = self.operation.currentData()
        for name, widgets in self._of_operation.items():
            for widget in widgets:
                widget.setVisible(name == chosen)
        for name, shown in SHOWN.items():
            self.set_visible(name, chosen in shown)
        self.side_by_side.visible = chosen in SHOWN["num_proposals"] and self.fields["num_proposals"].value > 1
