"""The Anomaly map dock: where a scan differs from a healthy brain of its age and sex, as an overlay."""

from pathlib import Path

from napari.layers import Image
from napari.utils.notifications import show_error
from napari.viewer import Viewer
from qtpy.QtWidgets import QPushButton, QWidget

from braindiffusion.models.registry import NORMATIVE, list_models
from braindiffusion.runs import AnomalyRequest, Run
from braindiffusion.runs.sidecar import read_sidecar
from napari_braindiffusion.docks.base import LayerJobDock
from napari_braindiffusion.docks.choices import packaged_models
from napari_braindiffusion.layers.files import PROVENANCE, is_brain
from napari_braindiffusion.layers.jobs import Artifacts
from napari_braindiffusion.orthoviews.difference import show_difference
from napari_braindiffusion.orthoviews.rendering import DIFFERENCE
from napari_braindiffusion.widgets.forms.layer_box import LayerBox
from napari_braindiffusion.widgets.forms.layout import form_layout, wrapping_label
from napari_braindiffusion.widgets.forms.request_form import RequestForm
from napari_braindiffusion.widgets.progress_row import ProgressRow

ROWS, ADVANCED = ("age", "sex"), ("model", "num_seeds", "seed", "device")
HINT = "For research on methods, never for diagnosis. Blue is darker than expected, red brighter."


class AnomalyDock(LayerJobDock):
    """Choose an image, make its anomaly map; it comes as a layer on top of the image.

    Args:
        napari_viewer: Holds the layers.
    """

    name = "Anomaly map"

    def __init__(self, napari_viewer: Viewer) -> None:
        self.map_button = QPushButton("Make anomaly &map")
        self.map_button.setToolTip("Show where the image differs from a healthy brain, in healthy spreads.")
        progress = ProgressRow("Cancel", "Stops within one reconstruction.")
        super().__init__(napari_viewer, self.map_button, progress)
        self._source: Image | None = None

        layers = QWidget()
        self.image = LayerBox()
        self.image.setAccessibleName("Image")
        self.image.setToolTip("Image (T1w) to compare with healthy brains.")
        form_layout(layers).addRow("Image", self.image)
        self.form = RequestForm(
            AnomalyRequest,
            (layers, *ROWS),
            ADVANCED,
            options={"model": {"choices": ()}, "age": {"default": "Estimated"}, "sex": {"default": "Unknown"}},
        )
        self.result = wrapping_label(HINT)
        for widget in (self.form, self.map_button, self.progress, self.result):
            self.rows.addWidget(widget)
        self.rows.addStretch()

        models = [one for one in list_models() if (one.path / NORMATIVE).is_file()]
        self.form.fields["model"].offer(packaged_models(models))
        self.map_button.clicked.connect(lambda: self.make_map())
        self.job.finished.connect(self._on_finished)
        self.watch_layers(self._offer_layers)
        if is_brain(active := napari_viewer.layers.selection.active):
            self.image.choose(active)

    def make_map(self) -> None:
        """Make the anomaly map of the chosen image."""
        image = self.image.layer
        if not is_brain(image):
            show_error("Choose an image that is one brain: a 3D image (T1w).")
            return
        with self.errors_shown():
            asked = self.form.make_request(scan=Path())
            self.job.ask([image], lambda paths: asked.model_copy(update={"scan": paths[0]}))
            self._source = image

    def _offer_layers(self, event: object = None) -> None:
        shown = [layer for layer in self._viewer.layers if is_brain(layer) and layer.ndim == 3]
        self.image.offer(layer for layer in shown if DIFFERENCE not in layer.metadata)

    def _on_finished(self, run: Run, artifacts: Artifacts) -> None:
        self._on_job_end("The map lies on top of the image.")
        for event, volume in artifacts:
            if volume is None:
                continue
            sidecar = read_sidecar(Path(event.path))
            name = f"{self._source.name if self._source else 'scan'} anomaly"
            about = {PROVENANCE: sidecar, "path": event.path}
            show_difference(self._viewer, volume, name, sidecar, about)
            self.result.setText(f"{_summary(sidecar)}\n{HINT}")


def _summary(sidecar: dict[str, object]) -> str:
    """Return the score of a map in words."""
    percentile = sidecar.get("score_percentile")
    people = sidecar.get("normative_subjects")
    among = "" if percentile is None else f", more than in {percentile:g} % of {people} healthy people"
    estimated = " (estimated)" if sidecar["age_estimated"] else ""
    age = "" if sidecar["age"] is None else f" Age {sidecar['age']:g}{estimated}."
    return f"{sidecar['score_ml']:.1f} ml lie beyond {sidecar['beyond']:g} {sidecar['unit']}{among}.{age}"
