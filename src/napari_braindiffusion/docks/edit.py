"""The Edit dock: regenerate a painted part of a brain, change its age, interpolate, or increase its resolution."""

from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.utils.notifications import show_error
from napari.viewer import Viewer
from qtpy.QtWidgets import QPushButton

from braindiffusion.conditions import ConditionSchema
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.models.registry import find_model, list_models, read_card
from braindiffusion.runs import EditRequest, Run
from braindiffusion.runs.sidecar import read_sidecar
from napari_braindiffusion.docks.base import LayerJobDock
from napari_braindiffusion.layers.display import show_trajectory, show_volume
from napari_braindiffusion.layers.files import PROVENANCE, is_brain
from napari_braindiffusion.layers.geometry import DISPLAY_TO_WORLD
from napari_braindiffusion.layers.jobs import Artifacts
from napari_braindiffusion.settings import settings
from napari_braindiffusion.widgets.forms.edit_form import EditForm
from napari_braindiffusion.widgets.forms.layout import wrapping_label
from napari_braindiffusion.widgets.progress_row import ProgressRow

BRUSH = 10
"""Diameter of the brush of a new mask layer, in voxels."""


class EditDock(LayerJobDock):
    """Choose an image and an operation, generate proposals, keep one.

    Args:
        napari_viewer: Holds the layers.
    """

    name = "Edit"

    def __init__(self, napari_viewer: Viewer) -> None:
        self.generate_button = QPushButton("&Generate")
        self.generate_button.setToolTip("Generate the proposals. The image stays as it is.")
        progress = ProgressRow("Cancel", "Stops within one step. Proposals that are finished are not shown.")
        super().__init__(napari_viewer, self.generate_button, progress)
        self.proposals: list[Layer] = []
        """Layers of the last edit."""
        self._source: Image | None = None

        self.form = EditForm()
        self.keep_button = QPushButton("&Keep selected proposal")
        self.keep_button.setToolTip("Remove the other proposals.")
        self.keep_button.setEnabled(False)
        self.hint = wrapping_label(
            "Choose a T1w image and an operation. To regenerate a part, paint on a mask layer, or take a region of a "
            "segmentation. For research on methods: what is generated is synthetic."
        )
        for widget in (self.form, self.generate_button, self.progress, self.keep_button, self.hint):
            self.rows.addWidget(widget)
        self.rows.addStretch()

        self.form.set_models([(one.name, one.name, str(one.card.description)) for one in list_models()])
        if settings().model is not None:
            self.form.fields["model"].value = settings().model
        self.form.new_mask.clicked.connect(lambda: self.add_mask())
        self.generate_button.clicked.connect(lambda: self.generate())
        self.keep_button.clicked.connect(lambda: self.keep())
        self.job.finished.connect(self._on_finished)
        self.form.fields["model"].changed.connect(lambda _: self._on_model())
        self._on_model()
        for event in self._layer_events():
            event.connect(self._offer_layers)
        self._offer_layers()
        if is_brain(active := napari_viewer.layers.selection.active):
            self.form.image.setCurrentText(active.name)

    def add_mask(self) -> Labels | None:
        """Add an empty Labels layer on the grid of the chosen image, with the brush in hand."""
        image = self._chosen(self.form.image.currentText())
        if image is None:
            show_error("Open an image first: a 3D brain (T1w).")
            return None
        mask = Labels(
            np.zeros(image.data.shape, np.uint8),
            name=f"{image.name} mask",
            scale=image.scale,
            translate=image.translate,
            rotate=image.rotate,
            shear=image.shear,
            units=image.units,
            axis_labels=image.axis_labels,
            metadata={DISPLAY_TO_WORLD: image.metadata[DISPLAY_TO_WORLD]} if DISPLAY_TO_WORLD in image.metadata else {},
            opacity=0.5,
        )
        self._viewer.add_layer(mask)
        mask.brush_size, mask.n_edit_dimensions, mask.mode = BRUSH, 3, "paint"
        self.form.mask.setCurrentText(mask.name)
        return mask

    def generate(self) -> None:
        """Edit the chosen image; each proposal, or value of a sweep, comes as a layer."""
        image = self._chosen(self.form.image.currentText())
        if not is_brain(image):
            show_error("Choose an image that is one brain: a 3D image (T1w).")
            return
        sources, label = {"scan": image}, None
        operation = self.form.operation.currentData()
        if operation == "mask":
            mask = self._chosen(self.form.mask.currentText())
            if not isinstance(mask, Labels) or mask.ndim != image.ndim:
                show_error("Choose a mask: press New mask layer and paint, or take a segmentation.")
                return
            sources["mask"] = mask
            label = int(mask.selected_label) if self.form.selected_only.isChecked() else None
        elif operation == "second":
            second = self._chosen(self.form.second.currentText())
            if not is_brain(second) or second == image:
                show_error("Choose a second image: another brain (T1w).")
                return
            sources["second"] = second
        elif operation == "change" and not self.form.changes.asked():
            show_error("Choose what to change: an age, a sex or a region volume.")
            return
        self._source = image
        with self.errors_shown():
            asked = self.form.make_request(scan=Path(), label=label)

            def request(paths: list[Path]) -> EditRequest:
                return asked.model_copy(update=dict(zip(sources, paths, strict=True)))

            self.job.ask(list(sources.values()), request)

    def keep(self) -> None:
        """Remove all proposals but the selected one."""
        chosen = self._viewer.layers.selection.active
        if chosen not in self.proposals:
            show_error("Select the proposal to keep in the list of layers.")
            return
        for layer in self.proposals:
            if layer != chosen and layer in self._viewer.layers:  # napari hands out proxies: no identity
                self._viewer.layers.remove(layer)
        self.proposals = [chosen]
        self.keep_button.setEnabled(False)

    def release(self) -> None:  # noqa: D102 the base class says it
        for event in self._layer_events():
            event.disconnect(self._offer_layers)
        super().release()

    def _layer_events(self) -> tuple[Any, Any]:
        events = self._viewer.layers.events
        return events.inserted, events.removed

    def _chosen(self, name: str) -> Layer | None:
        return next((layer for layer in self._viewer.layers if layer.name == name), None)

    def _offer_layers(self, event: object = None) -> None:
        layers = [layer for layer in self._viewer.layers if layer.ndim == 3]
        images = [layer.name for layer in layers if is_brain(layer) and layer not in self.proposals]
        self.form.offer(images, [layer.name for layer in layers if isinstance(layer, Labels)])

    def _on_model(self) -> None:
        """Offer the changes that the chosen model knows."""
        try:
            schema = read_card(find_model(self.form.fields["model"].value or "")).conditions
        except BrainDiffusionError:  # the engine says what is wrong, when it is asked
            schema = ConditionSchema()
        self.form.set_schema(schema)

    def _on_finished(self, run: Run, artifacts: Artifacts) -> None:
        self.proposals = []
        sweep = None
        for event, volume in artifacts:
            if volume is None or event.kind not in ("volume", "trajectory"):
                continue
            name = f"{self._source.name if self._source else 'scan'} {event.name}"
            told = {PROVENANCE: read_sidecar(Path(event.path)), "path": event.path}
            show = show_trajectory if event.kind == "trajectory" else show_volume
            layer = show(self._viewer, volume, name, metadata=told)
            if self._source is not None and self._source in self._viewer.layers:
                layer.contrast_limits = self._source.contrast_limits
            if event.kind == "trajectory":
                sweep = layer
            else:
                self.proposals.append(layer)
        if sweep is not None:  # its slider shows them all
            for layer in self.proposals:
                layer.visible = False
        self._offer_layers()
        count = len(self.proposals)
        self.keep_button.setEnabled(count > 1)
        self._on_job_end(f"{count} volume{'' if count == 1 else 's'} shown beside the image.")
