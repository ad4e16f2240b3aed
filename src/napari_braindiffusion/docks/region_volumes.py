"""The Region volumes dock: segment a brain, measure its regions, compare them with a reference, export the table."""

import csv
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from napari.layers import Labels, Layer
from napari.utils.notifications import show_error, show_info
from napari.viewer import Viewer
from qtpy.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QPushButton

from braindiffusion.cohort.qc.labels import regions_in
from braindiffusion.cohort.region_volumes import (
    RegionVolume,
    cohort_reference,
    model_reference,
    region_volume_table,
    region_volumes_tsv,
)
from braindiffusion.cohort.store import Cohort
from braindiffusion.conditions import Numbers
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.files import write_whole
from braindiffusion.models.registry import find_model, list_models, read_card
from braindiffusion.regions import volumes_ml
from braindiffusion.runs import Run
from braindiffusion.runs.requests import SegmentRequest
from braindiffusion.runs.sidecar import volume_stem
from braindiffusion.volume import Volume
from napari_braindiffusion.docks.base import LayerJobDock
from napari_braindiffusion.engine.threads import run_in_thread
from napari_braindiffusion.io.evaluation_inputs import Known, known
from napari_braindiffusion.layers.display import show_regions
from napari_braindiffusion.layers.files import file_name, is_brain
from napari_braindiffusion.layers.geometry import layer_to_volume
from napari_braindiffusion.layers.jobs import Artifacts
from napari_braindiffusion.settings import settings
from napari_braindiffusion.widgets.forms.layout import make_narrow, wrapping_label
from napari_braindiffusion.widgets.progress_row import ProgressRow
from napari_braindiffusion.widgets.tables.region_table import RegionTable

FOLDER = "segmentations"
"""Folder of the label maps, beside the runs."""
Reference = Mapping[str, Numbers]


class RegionVolumesDock(LayerJobDock):
    """Segment a layer, or measure a Labels layer, and show the volume of each region.

    Args:
        napari_viewer: Holds the layers.
    """

    name = "Region volumes"

    def __init__(self, napari_viewer: Viewer) -> None:
        self.segment_button = QPushButton("&Segment layer")
        self.segment_button.setToolTip("Segment the selected image (T1w) into 40 regions, as a Labels layer.")
        progress = ProgressRow("Cancel", "Cancels the segmentation.")
        super().__init__(napari_viewer, self.segment_button, progress, "Segmenting")
        self.measured: list[RegionVolume] = []
        """The rows of the table."""
        self._volumes: list[float] | None = None
        self._number = 0
        """Number of the last measurement that was asked for: an earlier one comes too late."""
        self._title = ""
        self._source: Layer | None = None

        self.measure_button = QPushButton("&Measure labels")
        self.measure_button.setToolTip("Measure the selected Labels layer: region table, DLMUSE or FreeSurfer values.")
        self.reference = QComboBox()
        self.reference.setToolTip("Whose region volumes the percentiles refer to: training subjects, or a cohort.")
        self.reference.setAccessibleName("Reference")
        make_narrow(self.reference)
        self.summary = wrapping_label("Select a brain to segment, or a Labels layer to measure.")
        self.table = RegionTable()
        self.export_button = QPushButton("&Export TSV …")
        self.export_button.setToolTip("Save the table as tab-separated values.")
        self.export_button.setEnabled(False)
        buttons = QHBoxLayout()
        buttons.addWidget(self.segment_button, 1)
        buttons.addWidget(self.measure_button, 1)
        self.rows.addLayout(buttons)
        for widget in (self.progress, self.reference, self.summary):
            self.rows.addWidget(widget)
        self.rows.addWidget(self.table, 1)
        self.rows.addWidget(self.export_button)

        self.segment_button.clicked.connect(lambda: self.segment())
        self.measure_button.clicked.connect(lambda: self.measure())
        self.reference.currentIndexChanged.connect(self._compare)
        self.export_button.clicked.connect(lambda: self.export())
        self.job.finished.connect(self._on_segmented)
        self._offer_references(None)
        run_in_thread(known, settings().runs_folder, then=self._offer_references)

    def segment(self, layer: Layer | None = None) -> None:
        """Segment a layer, the active one by default, in an engine; a Labels layer and the table follow."""
        brain = layer or self._viewer.layers.selection.active
        if not is_brain(brain):
            show_error("Select a layer that is one brain: a 3D image (T1w).")
            return

        def request(paths: list[Path]) -> SegmentRequest:
            (path,) = paths
            out = settings().runs_folder / FOLDER / f"{path.parent.name}_{volume_stem(path)}_regions.nii.gz"
            return SegmentRequest(input=path, out=out)

        with self.errors_shown():
            self.job.ask([brain], request)
            self._source = brain

    def measure(self, layer: Layer | None = None) -> None:
        """Measure a Labels layer, the active one by default."""
        labels = layer or self._viewer.layers.selection.active
        if not isinstance(labels, Labels) or labels.ndim != 3:
            show_error("Select a 3D Labels layer with regions.")
            return
        with self.errors_shown():
            volume = layer_to_volume(labels, self._viewer.layers)
            number = self._number = self._number + 1
            run_in_thread(_measure, volume, labels.name, then=partial(self._on_measured, number, labels.name))

    def export(self, path: Path | None = None) -> None:
        """Save the table as TSV; asks for the file where none is given."""
        if path is None:
            suggestion = f"{file_name(self._title or 'region')}_volumes.tsv"
            chosen, _ = QFileDialog.getSaveFileName(self, "Export region volumes", suggestion, "Tables (*.tsv)")
            if not chosen:
                return
            path = Path(chosen)
        try:
            write_whole(path, region_volumes_tsv(self.measured))
        except OSError as error:
            show_error(f"{path} could not be written ({error.strerror}).")
            return
        show_info(f"Saved {path.name}.")

    def _on_segmented(self, run: Run, artifacts: Artifacts) -> None:
        self._on_job_end("Segmented.")
        for event, volume in artifacts:
            if volume is None or self._source is None:
                continue
            name = f"{self._source.name} regions"
            show_regions(self._viewer, volume, name)
            age = _age(Path(event.path))
            self._show(self._source.name, f" Estimated age {age} years." if age else "", _measure(volume, name))

    def _on_measured(self, number: int, title: str, volumes: list[float]) -> None:
        if number == self._number:
            self._show(title, "", volumes)

    def _show(self, title: str, remark: str, volumes: list[float]) -> None:
        if self.has_ended:
            return
        self._title, self._volumes = title, volumes
        self.summary.setText(f"{title}: {sum(volumes[1:]):.0f} ml in regions.{remark}")
        self._compare()

    def _compare(self) -> None:
        """Fill the table beside the chosen reference, which is read in a worker thread; until then beside none."""
        if self._volumes is not None:
            source = self.reference.currentData()
            self._fill(self._volumes, {})
            self.export_button.setEnabled(False)
            run_in_thread(_reference, source, then=partial(self._on_reference, source))

    def _on_reference(self, source: str | Path | None, reference: Reference) -> None:
        if self.has_ended or self._volumes is None or source != self.reference.currentData():
            return
        self._fill(self._volumes, reference)
        self.export_button.setEnabled(True)

    def _fill(self, volumes: list[float], reference: Reference) -> None:
        self.measured = region_volume_table(volumes, reference)
        self.table.set_rows(self.measured)

    def _offer_references(self, found: Known | None) -> None:
        """Offer training subjects of the packaged models, and the preprocessed cohorts that are known."""
        if self.has_ended:
            return
        chosen = self.reference.currentText()
        self.reference.blockSignals(True)
        self.reference.clear()
        for model in list_models():
            if _model_reference(model.name):
                self.reference.addItem(f"Reference: training subjects of {model.name}", model.name)
        for name, path in found.real if found is not None else []:
            if path.suffix == ".zarr":
                self.reference.addItem(f"Reference: {name}", path)
        self.reference.addItem("No reference", None)
        self.reference.setCurrentIndex(max(0, self.reference.findText(chosen)))
        self.reference.blockSignals(False)


def _measure(volume: Volume, name: str) -> list[float]:
    """Return the volume of each region in ml, background first.

    Raises:
        BrainDiffusionError: the labels are of an unknown scheme.
    """
    try:
        regions = regions_in(volume)
    except BrainDiffusionError as error:
        raise BrainDiffusionError(f"'{name}': {error}") from error
    return [float(value) for value in volumes_ml(regions, volume.spacing)]


def _reference(source: str | Path | None) -> Reference:
    """Return the reference of a model (name) or a cohort (path); empty for none. For a worker thread."""
    if isinstance(source, Path):
        return cohort_reference(Cohort.open(source))
    return _model_reference(source) if source else {}


def _model_reference(name: str) -> Reference:
    try:
        return model_reference(read_card(find_model(name)).conditions)
    except BrainDiffusionError:
        return {}


def _age(path: Path) -> str:
    """Return the age in the table that the segmentation wrote beside its label map; empty without one."""
    try:
        with path.with_name(f"{volume_stem(path)}.tsv").open(newline="", encoding="utf-8") as file:
            return next(csv.DictReader(file, delimiter="\t"))["age"]
    except (OSError, KeyError, StopIteration):
        return ""
