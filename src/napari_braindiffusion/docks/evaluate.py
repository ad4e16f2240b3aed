"""The Evaluate dock: compares generated with real brains and finds the nearest real brain of a layer."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from napari.layers import Layer
from napari.utils.notifications import show_error, show_info, show_warning
from napari.viewer import Viewer
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QPushButton, QToolButton

from braindiffusion.runs import (
    EvaluateRequest,
    NearestRequest,
    Run,
)
from braindiffusion.runs.reports.evaluation import JSON, PAGE, read_evaluation
from braindiffusion.runs.reports.nearest import Nearest, read_nearest
from napari_braindiffusion.docks.base import Dock
from napari_braindiffusion.docks.choices import own_models, packaged_models
from napari_braindiffusion.docks.copy_command import copy_request
from napari_braindiffusion.engine.threads import run_in_thread
from napari_braindiffusion.io.evaluation_inputs import Known, Origin, known, origin
from napari_braindiffusion.layers.cohort import COHORT
from napari_braindiffusion.layers.files import PROVENANCE, SIDECAR, as_paths, brains_among, is_brain, provenance_of
from napari_braindiffusion.layers.jobs import Artifacts, LayerJob
from napari_braindiffusion.layers.nearest import NearestLayers
from napari_braindiffusion.settings import settings
from napari_braindiffusion.widgets.dialogs import open_path
from napari_braindiffusion.widgets.evaluation_view import EvaluationView
from napari_braindiffusion.widgets.forms.evaluate_form import EvaluateForm
from napari_braindiffusion.widgets.nearest_view import NearestView
from napari_braindiffusion.widgets.progress_row import ProgressRow
from napari_braindiffusion.widgets.run_list import RunList
from napari_braindiffusion.widgets.source_list import SourceList


class EvaluateDock(Dock):
    """Real and generated brains, a report with its figures, and the nearest real brain of the selected layer.

    Args:
        napari_viewer: Whose layers may be evaluated, and where nearest brains appear.
    """

    name = "Evaluate"
    has_plots = True

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer)
        self.jobs = LayerJob(napari_viewer, self.engine, self)
        self.folder: Path | None = None
        """Folder of the report that is shown."""
        self._neighbours = NearestLayers(napari_viewer)
        self._asked_for: dict[str, Any] = {}
        """Provenance of the layer whose nearest brains are requested."""

        self.reports = RunList("New evaluation")
        self.reports.setToolTip("Look at the report of an earlier evaluation, or begin a new one.")
        self.open_button = QToolButton(text="…")
        self.open_button.setToolTip("Open a report from any folder, of a cluster for instance.")
        self.open_button.setAccessibleName("Open a report")
        self.form = EvaluateForm()
        self.evaluate_button = QPushButton("Evaluate")
        self.evaluate_button.setToolTip("Compare the generated brains with the real ones.")
        self.copy_button = QPushButton("Copy command")
        self.copy_button.setToolTip("The same evaluation as a command for a terminal or a cluster.")
        self.nearest_button = QPushButton("Nearest real brain")
        self.nearest_button.setToolTip(
            "Find the real brains that are most like the selected layer, among the real brains above, and show them "
            "beside it."
        )
        self.progress = ProgressRow("Cancel", "Stops after this brain. Earlier reports stay.")
        self.nearest_view = NearestView()
        self.view = EvaluationView()
        head = QHBoxLayout()
        head.addWidget(self.reports, 1)
        head.addWidget(self.open_button)
        buttons = QHBoxLayout()
        buttons.addWidget(self.nearest_button, 1)
        buttons.addWidget(self.copy_button, 1)
        self.rows.addLayout(head)
        self.rows.addWidget(self.form)
        self.rows.addWidget(self.evaluate_button)
        self.rows.addLayout(buttons)
        for part in (self.progress, self.nearest_view, self.view):
            self.rows.addWidget(part)
        self.rows.addStretch()

        for brains in (self.form.generated, self.form.real):
            brains.layers_requested.connect(partial(self._add_layers, brains))
            brains.about_to_offer.connect(self.refresh)
        self.reports.run_chosen.connect(self._on_run_chosen)
        self.open_button.clicked.connect(self._choose_report)
        self.evaluate_button.clicked.connect(lambda: self.evaluate())
        self.nearest_button.clicked.connect(lambda: self.find_nearest())
        self.copy_button.clicked.connect(self._copy)
        self.progress.stop_requested.connect(self.jobs.cancel)
        self.jobs.begun.connect(self._begin)
        self.jobs.progress.connect(self.progress.show_event)
        self.jobs.silent.connect(self.progress.show_unresponsive)
        self.jobs.finished.connect(self._on_finished)
        self.jobs.failed.connect(self._on_failed)
        self.jobs.cancelled.connect(partial(self._end, "Cancelled."))
        self.view.report_requested.connect(partial(self._open, PAGE))
        self.view.folder_requested.connect(partial(self._open, ""))
        napari_viewer.layers.events.removed.connect(self._on_layer_removed)
        self.refresh()

    def refresh(self) -> None:
        """Look for the brains, models and reports that there are now."""
        run_in_thread(known, settings().runs_folder, then=self._offer)

    def evaluate(self) -> None:
        """Compare what the form names. Layers become files first."""
        if self._is_complete():
            with self.errors_shown():
                self.jobs.ask(*self._asked())

    def use_generated(self, run: Path) -> None:
        """Fill in a run or folder of generated brains."""
        self.reports.choose(None)
        self.form.generated.set_paths([run])

    def find_nearest(self, layer: Layer | None = None) -> None:
        """Find the real brains that are nearest to a layer, to the active one if None, and show them beside it."""
        brain = layer or self._viewer.layers.selection.active
        if not is_brain(brain):
            show_error("Select a layer that is one brain: a 3D image.")
            return
        run_in_thread(
            origin, provenance_of(brain.metadata), settings().runs_folder, then=partial(self._find_nearest, brain)
        )

    def show_report(self, folder: Path) -> None:
        """Show the report in a folder."""
        with self.errors_shown():
            self.view.show_evaluation(read_evaluation(folder))
            self.folder = folder
            self.nearest_view.hide()
            QTimer.singleShot(0, partial(self.reveal, self.view.table))  # once it has its place

    def release(self) -> None:  # noqa: D102 the base class says it
        self._viewer.layers.events.removed.disconnect(self._on_layer_removed)
        self.jobs.close()

    def apply_theme(self, background: str, text: str) -> None:  # noqa: D102 the base class says it
        for view in (self.view, self.nearest_view):
            view.set_theme(background, text)

    def _offer(self, found: Known) -> None:
        if self.has_ended:
            return
        self.form.set_models([*packaged_models(), *own_models(found.trainings)])
        self.form.set_segmentation_models(own_models(found.segmentation_models))
        self.form.generated.suggest(found.generated)
        self.form.real.suggest(found.real)
        self.reports.set_runs(found.reports)

    def _find_nearest(self, brain: Layer, of: Origin) -> None:
        if self.has_ended:
            return
        real = self.form.real.sources or of.real
        if not real:
            show_warning("Add the real brains to compare with: ideally the cohort that the model was trained on.")
            self.reveal(self.form.real)
            self.form.real.add_button.setFocus()
            return

        def request(paths: list[Path]) -> NearestRequest:
            return NearestRequest(
                brain=paths[0],
                real=tuple(paths[1:]),
                model=of.model or self.form.fields["model"].value,
                labels=self.form.fields["labels"].value,
            )

        with self.errors_shown():
            self.jobs.ask([brain, *real], request)
            self._asked_for = {key: brain.metadata[key] for key in (PROVENANCE, SIDECAR) if key in brain.metadata}

    def _is_complete(self) -> bool:
        """Return whether both lists have entries; show a message where they do not."""
        for what, brains in (("generated", self.form.generated), ("real", self.form.real)):
            if not brains.sources:
                show_error(f"Add the {what} brains first: layers, folders, prepared cohorts or runs.")
                return False
        return True

    def _asked(self) -> tuple[list[Layer | Path], Callable[[list[Path]], EvaluateRequest]]:
        """The form's sources, and the request that paths for them make."""
        generated, real, options = self.form.generated.sources, self.form.real.sources, self.form.values()

        def request(paths: list[Path]) -> EvaluateRequest:
            made = len(generated)
            return EvaluateRequest(generated=tuple(paths[:made]), real=tuple(paths[made:]), **options)

        return [*generated, *real], request

    def _on_finished(self, run: Run, made: Artifacts) -> None:
        self._end("Done.")
        with self.errors_shown():
            match run.request:
                case NearestRequest():
                    self._show_nearest(read_nearest(run.results), made)
                case EvaluateRequest() as request:
                    self.show_report(request.out or run.results)
                    self.refresh()
                    self.reports.choose(run)

    def _on_failed(self, message: str) -> None:
        self._end(message)
        show_error(message)

    def _show_nearest(self, found: Nearest, made: Artifacts) -> None:
        self._neighbours.show(found, made, self._asked_for)
        self.nearest_view.show_nearest(found)
        QTimer.singleShot(0, partial(self.reveal, self.nearest_view))

    def _on_run_chosen(self, run: Run | None) -> None:
        self.view.hide()
        if run is None or not isinstance(run.request, EvaluateRequest):
            return
        with self.errors_shown():
            self.form.show_request(run.request)
        folder = run.request.out or run.results
        if (folder / JSON).exists():
            self.show_report(folder)
        else:
            show_info(f"{run.name} has no report. Its settings are in the form: evaluate again.")

    def _choose_report(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, f"A folder with a report ({JSON})")
        if chosen:
            run = Path(chosen) / "results"
            self.show_report(run if (run / JSON).exists() else Path(chosen))
            self.reports.choose(None)

    def _open(self, name: str) -> None:
        if self.folder is not None:
            open_path(self.folder / name)

    def _copy(self) -> None:
        if not self._is_complete():
            return
        sources, request = self._asked()
        with self.errors_shown():
            as_paths(self._viewer, sources, lambda paths: copy_request(request(paths), "shell"))

    def _begin(self, message: str) -> None:
        for button in (self.evaluate_button, self.nearest_button):
            button.setEnabled(False)
        self.progress.begin(message)

    def _end(self, message: str) -> None:
        for button in (self.evaluate_button, self.nearest_button):
            button.setEnabled(True)
        self.progress.rest(message)

    def _add_layers(self, brains: SourceList) -> None:
        selected = [layer for layer in self._viewer.layers if layer in self._viewer.layers.selection]
        cohorts = dict.fromkeys(layer.metadata[COHORT] for layer in selected if COHORT in layer.metadata)
        for path in cohorts:
            brains.add_path(Path(path))
        chosen = brains_among(selected)
        if not chosen and not cohorts:
            show_error("Select layers that are one brain each: 3D images.")
        for layer in chosen:
            brains.add(layer, _text(layer), "As it is when the evaluation starts.")
            layer.events.name.connect(self._on_layer_renamed)

    def _on_layer_renamed(self, event: Any) -> None:
        for brains in (self.form.generated, self.form.real):
            brains.rename(event.source, _text(event.source))

    def _on_layer_removed(self, event: Any) -> None:
        for brains in (self.form.generated, self.form.real):
            brains.discard(event.value)


def _text(layer: Layer) -> str:
    return f"{layer.name} · layer"
