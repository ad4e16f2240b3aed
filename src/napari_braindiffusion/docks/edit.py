"""The Edit dock: regenerate a painted part of a brain, change its age, interpolate, or increase its resolution."""

import shutil
from functools import partial
from pathlib import Path

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.utils.notifications import show_error
from napari.viewer import Viewer
from qtpy.QtWidgets import QFileDialog, QPushButton

from braindiffusion.conditions import ConditionSchema
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.models.registry import find_model, read_card
from braindiffusion.runs import ArtifactWritten, EditRequest, Run
from braindiffusion.runs.durations import counted
from braindiffusion.runs.sidecar import read_sidecar
from braindiffusion.volume import Volume
from napari_braindiffusion.docks.base import LayerJobDock, NextStepButton
from napari_braindiffusion.docks.choices import packaged_models
from napari_braindiffusion.layers.display import selection_kept, show_mosaic, show_trajectory, show_volume
from napari_braindiffusion.layers.files import PROVENANCE, is_brain
from napari_braindiffusion.layers.geometry import place_of
from napari_braindiffusion.layers.jobs import Artifacts
from napari_braindiffusion.layers.trajectory_caption import TrajectoryCaption
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
        progress = ProgressRow("Cancel", "Stops within one step. Proposals that are finished stay.")
        super().__init__(napari_viewer, self.generate_button, progress)
        self.proposals: list[Layer] = []
        """Layers of the last edit."""
        self._source: Image | None = None
        self._preview: Layer | None = None
        self._sweep: Layer | None = None
        self._visible: dict[Layer, bool] = {}
        """Layers, and whether they were visible, before proposals were shown side by side."""
        self._caption = TrajectoryCaption(napari_viewer)

        self.form = EditForm()
        self.keep_button = QPushButton("&Keep selected proposal")
        self.keep_button.setToolTip("Remove the other proposals.")
        self.keep_button.setEnabled(False)
        self.animation_button = NextStepButton()
        self.animation_button.setToolTip("Save the sweep as an animated picture (GIF): three planes and the value.")
        self.hint = wrapping_label(
            "Choose a T1w image and an operation. To regenerate a part, paint on a mask layer, or take a region of a "
            "segmentation. For research on methods: what is generated is synthetic."
        )
        for widget in (
            self.form,
            self.generate_button,
            self.progress,
            self.keep_button,
            self.animation_button,
            self.hint,
        ):
            self.rows.addWidget(widget)
        self.rows.addStretch()

        self.form.set_models(packaged_models())
        if settings().model is not None:
            self.form.fields["model"].value = settings().model
        self.form.new_mask.clicked.connect(lambda: self.add_mask())
        self.generate_button.clicked.connect(lambda: self.generate())
        self.keep_button.clicked.connect(lambda: self.keep())
        self.job.artifact.connect(self._on_artifact)
        self.job.finished.connect(self._on_finished)
        self.form.fields["model"].changed.connect(lambda _: self._on_model())
        self._on_model()
        self.watch_layers(self._offer_layers)
        if is_brain(active := napari_viewer.layers.selection.active):
            self.form.image.choose(active)

    def add_mask(self) -> Labels | None:
        """Add an empty Labels layer on the grid of the chosen image, and activate its paint tool."""
        image = self.form.image.layer
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
            affine=image.affine,
            units=image.units,
            axis_labels=image.axis_labels,
            metadata=place_of(image),
            opacity=0.5,
        )
        self._viewer.add_layer(mask)
        mask.brush_size, mask.n_edit_dimensions, mask.mode = BRUSH, 3, "paint"
        self.form.mask.choose(mask)
        return mask

    def generate(self) -> None:
        """Edit the chosen image; each proposal, or value of a sweep, comes as a layer."""
        image = self.form.image.layer
        if not is_brain(image):
            show_error("Choose an image that is one brain: a 3D image (T1w).")
            return
        sources, label = {"scan": image}, None
        operation = self.form.operation.currentData()
        if operation == "mask":
            mask = self.form.mask.layer
            if not isinstance(mask, Labels) or mask.ndim != image.ndim:
                show_error("Choose a mask: press New mask layer and paint, or take a segmentation.")
                return
            sources["mask"] = mask
            label = int(mask.selected_label) if self.form.selected_only.isChecked() else None
            self._show_slice_of(mask, label)
        elif operation == "second":
            second = self.form.second.layer
            if not is_brain(second) or second == image:
                show_error("Choose a second image: another brain (T1w).")
                return
            sources["second"] = second
        elif operation == "change" and not self.form.changes.asked():
            show_error("Choose what to change: an age, a sex or a region volume.")
            return
        with self.errors_shown():
            asked = self.form.make_request(scan=Path(), label=label)

            def request(paths: list[Path]) -> EditRequest:
                return asked.model_copy(update=dict(zip(sources, paths, strict=True)))

            self.job.ask(list(sources.values()), request)
            self._source = image

    def keep(self) -> None:
        """Remove all proposals but the selected one, and show the layers as before."""
        chosen = self._viewer.layers.selection.active
        if chosen not in self.proposals:
            show_error("Select the proposal to keep in the list of layers.")
            return
        for layer in self.proposals:
            if layer != chosen and layer in self._viewer.layers:  # napari hands out proxies: no identity
                self._viewer.layers.remove(layer)
        self.proposals = [chosen]
        self.keep_button.setEnabled(False)
        self._end_side_by_side()
        self.progress.rest(f"Kept: {chosen.name}.")

    def _show_slice_of(self, mask: Labels, label: int | None) -> None:
        """Move the slider to the slice with most of what is painted, where nothing is painted in the one shown."""
        dims = self._viewer.dims
        if dims.ndisplay == 3:
            return
        painted = mask.data > 0 if label is None else mask.data == label
        axis = dims.order[-3] - (dims.ndim - mask.ndim)
        if axis < 0:  # two axes of the mask are not shown, beside the steps of another layer
            return
        counts = painted.sum(tuple(other for other in range(mask.ndim) if other != axis))
        shown = round(mask.world_to_data(dims.point[-mask.ndim :])[axis])
        if counts.any() and not (0 <= shown < len(counts) and counts[shown]):
            place = [0.0] * mask.ndim
            place[axis] = float(counts.argmax())
            dims.set_point(axis + dims.ndim - mask.ndim, mask.data_to_world(place)[axis])

    def release(self) -> None:  # noqa: D102 the base class says it
        self._caption.close()
        super().release()
        self._remove_preview()

    def _offer_layers(self, event: object = None) -> None:
        layers = [layer for layer in self._viewer.layers if layer.ndim == 3]
        images = [layer for layer in layers if is_brain(layer) and layer not in self.proposals]
        self.form.offer(images, [layer for layer in layers if isinstance(layer, Labels)])

    def _on_model(self) -> None:
        """Offer the changes that the chosen model knows."""
        try:
            schema = read_card(find_model(self.form.fields["model"].value or "")).conditions
        except BrainDiffusionError:  # the engine says what is wrong, when it is asked
            schema = ConditionSchema()
        self.form.set_schema(schema)

    def _on_begun(self, message: str) -> None:
        self._end_side_by_side()
        self.proposals, self._sweep = [], None
        self.animation_button.hide()
        self.keep_button.setEnabled(False)
        super()._on_begun(message)

    def _on_artifact(self, event: ArtifactWritten, volume: Volume | None) -> None:
        """Show a preview, a proposal or a sweep as it comes; the selection moves to what is finished."""
        if event.kind == "figure":
            self.animation_button.offer("Save &animation …", partial(self._save_animation, Path(event.path)))
        if volume is None or event.kind not in ("preview", "volume", "trajectory"):
            return
        source = self._source.name if self._source else "scan"
        if event.kind == "preview":
            name = f"{source} {event.name} (preview)"
            with selection_kept(self._viewer):
                self._preview = show_volume(self._viewer, volume, name, layer=self._preview)
            return
        self._remove_preview()
        metadata = {PROVENANCE: read_sidecar(Path(event.path)), "path": event.path}
        show = show_trajectory if event.kind == "trajectory" else show_volume
        layer = show(self._viewer, volume, f"{source} {event.name}", metadata=metadata)
        if self._source is not None and self._source in self._viewer.layers:
            layer.contrast_limits = self._source.contrast_limits
        if event.kind == "trajectory":
            self._sweep = layer
        else:
            self.proposals.append(layer)

    def _on_finished(self, run: Run, artifacts: Artifacts) -> None:
        if self._sweep is not None:  # its slider shows them all
            for layer in self.proposals:
                layer.visible = False
        elif len(self.proposals) > 1 and self.form.side_by_side.value:
            self._show_side_by_side()
        count = len(self.proposals)
        hint = " Select the one to keep." if self._sweep is None and count > 1 else ""
        self._on_job_end(f"{counted(count, 'volume')} shown beside the image.{hint}")

    def _on_job_end(self, message: str) -> None:
        self._remove_preview()
        self._offer_layers()
        self.keep_button.setEnabled(len(self.proposals) > 1)
        super()._on_job_end(message)

    def _remove_preview(self) -> None:
        if self._preview is not None and self._preview in self._viewer.layers:
            self._viewer.layers.remove(self._preview)
        self._preview = None

    def _show_side_by_side(self) -> None:
        """Show the image and its proposals in a grid."""
        brains = [layer for layer in (self._source, *self.proposals) if layer in self._viewer.layers]
        self._visible = {layer: layer.visible for layer in self._viewer.layers}
        show_mosaic(self._viewer, brains, share_contrast=False)

    def _end_side_by_side(self) -> None:
        """Show the layers as they were before the grid."""
        if not self._visible:
            return
        for layer, visible in self._visible.items():
            if layer in self._viewer.layers:
                layer.visible, layer.name_overlay.visible = visible, False
        self._visible = {}
        self._viewer.canvas.grid.enabled = False
        self._viewer.reset_view()

    def _save_animation(self, animation: Path) -> None:
        """Ask where to, and save the animation of the sweep."""
        chosen, _ = QFileDialog.getSaveFileName(self, "Save animation", animation.name, "Animations (*.gif)")
        if not chosen:
            return
        path = Path(chosen)
        if path.suffix.lower() != ".gif":
            path = path.with_name(f"{path.name}.gif")
            if path.exists():  # the dialog asked for the name without it
                show_error(f"{path} exists: choose another name.")
                return
        try:
            shutil.copyfile(animation, path)
        except OSError as error:
            show_error(f"The animation cannot be saved as {chosen}: {error.strerror}.")
