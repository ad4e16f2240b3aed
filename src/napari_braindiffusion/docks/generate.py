"""The Generate dock: generates brains and shows their denoising."""

from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from napari.layers import Labels, Layer
from napari.utils.notifications import show_error, show_warning
from napari.viewer import Viewer
from qtpy.QtCore import QEvent, QTimer
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QHBoxLayout, QPushButton

from braindiffusion.conditions import ConditionSchema
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.models.registry import (
    anatomy_folder,
    find_model,
    has_distilled,
    read_card,
    sampled_model,
)
from braindiffusion.runs import (
    ArtifactWritten,
    Finished,
    GenerateRequest,
    PreviewRequest,
    RegenerateRequest,
)
from braindiffusion.runs.durations import counted, duration
from braindiffusion.runs.launch_script import Launcher
from braindiffusion.runs.sidecar import read_sidecar
from braindiffusion.volume import Volume
from napari_braindiffusion.docks.base import Dock, NextStepButton
from napari_braindiffusion.docks.choices import own_models, packaged_models
from napari_braindiffusion.docks.copy_command import copy_request
from napari_braindiffusion.docks.open import open_dock
from napari_braindiffusion.docks.reproduce_button import ReproduceButton
from napari_braindiffusion.docks.run_browser import Training, find_trainings
from napari_braindiffusion.engine.job import JobHandle
from napari_braindiffusion.engine.latest import LatestJob
from napari_braindiffusion.engine.threads import run_in_thread
from napari_braindiffusion.layers.display import (
    selection_kept,
    show_mosaic,
    show_regions,
    show_trajectory,
    show_volume,
)
from napari_braindiffusion.layers.files import PROVENANCE, keep_label_map
from napari_braindiffusion.layers.geometry import layer_to_volume
from napari_braindiffusion.layers.reproduce import (
    generation_settings,
    layer_name,
    reproduce_file,
    reproduce_layer,
)
from napari_braindiffusion.layers.trajectory_caption import TrajectoryCaption
from napari_braindiffusion.settings import add_recent_path, recent_paths, settings
from napari_braindiffusion.widgets import dialogs as questions
from napari_braindiffusion.widgets import readable
from napari_braindiffusion.widgets.copy_button import CopyButton
from napari_braindiffusion.widgets.forms.generate_form import GenerateForm
from napari_braindiffusion.widgets.progress_row import ProgressRow

PREVIEW = "Sampling (preview)"
LOW_RESOLUTION = "Low-resolution preview"


class GenerateDock(Dock):
    """A form, a preview during sampling, and the results with their trajectories as layers in millimetres.

    Args:
        napari_viewer: Where the brains appear.
    """

    name = "Generate"

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer)
        self._start_engine()
        self.job: JobHandle | None = None
        self._preview_layer: Layer | None = None
        self._made: list[Layer] = []
        self._begun = 0.0
        self._warmed = False
        self._caption = TrajectoryCaption(napari_viewer)

        self.form = GenerateForm()
        self.generate_button = QPushButton("Generate")
        self.generate_button.setToolTip("Generate brains with these settings.")
        self.copy_button = CopyButton("The same generation")
        self.progress = ProgressRow("Cancel", "Stops within one step. Brains that are finished stay.")
        self.reproduce_button = ReproduceButton(napari_viewer)
        buttons = QHBoxLayout()
        buttons.addWidget(self.reproduce_button, 1)
        buttons.addWidget(self.copy_button, 1)
        self.rows.addWidget(self.form)
        self.rows.addStretch()
        self.next_button = NextStepButton()
        self.next_button.setToolTip("Open the Evaluate dock with these brains.")
        self.pinned.addWidget(self.generate_button)
        self.pinned.addLayout(buttons)
        self.pinned.addWidget(self.progress)
        self.pinned.addWidget(self.next_button)

        self.preview = LatestJob(self.engine, self, follow=True)
        self.preview.volume.connect(self._on_preview)
        self.preview.failed.connect(show_error)
        self.form.asked_anew.connect(self._ask_preview)
        self.form.model_changed.connect(self._on_model)
        self.watch_layers(self._offer_maps)
        self.generate_button.clicked.connect(lambda: self.generate())
        self.reproduce_button.layer_requested.connect(lambda: self.regenerate())
        self.reproduce_button.file_requested.connect(self._regenerate_file)
        self.reproduce_button.settings_requested.connect(self._copy_settings)
        self.copy_button.copy_requested.connect(self._copy)
        self.progress.stop_requested.connect(self._cancel)
        self.refresh_models()
        self.form.choose_model(settings().model)

    def refresh_models(self) -> None:
        """Offer the packaged models and the user's own trainings that have a checkpoint."""
        with self.errors_shown():
            self._offer_models([])
            run_in_thread(find_trainings, settings().runs_folder, then=self._offer_models)

    def _offer_models(self, trainings: Sequence[Training]) -> None:
        if self.has_ended:
            return
        offered = [*packaged_models(), *own_models(one.run for one in trainings if one.has_model)]
        known = {value for _, value, _ in offered}
        recent = [path for path in recent_paths("model") if path not in known and Path(path).exists()]
        self.form.set_models([*offered, *((Path(path).name, path, path) for path in recent)])

    def generate(self, request: GenerateRequest | None = None) -> JobHandle | None:
        """Start to make what the form, or `request`, asks for."""
        if self.job is not None:
            return None
        with self.errors_shown():
            request = request or self._request()
            if not request.model:
                raise BrainDiffusionError(
                    "There is no model yet: train one, or choose a model folder with the … button."
                )
            self._start(request)
        return self.job

    def use_model(self, model: Path | str) -> None:
        """Choose a model: a packaged name, or the folder of a training."""
        self.refresh_models()
        self.form.choose_model(str(model))

    def regenerate(self, layer: Layer | None = None) -> JobHandle | None:
        """Make the brain of a layer, of the active one if None, again: the same to the last bit."""
        if self.job is None:
            with self.errors_shown():
                self._start(reproduce_layer(layer or self._viewer.layers.selection.active))
        return self.job

    def _start_engine(self) -> None:
        """Start the worker process, before the form is built: it is ready when that is filled in."""
        with self.errors_shown():
            self.engine.start()

    def showEvent(self, event: QShowEvent) -> None:  # noqa: D102 Qt's
        super().showEvent(event)
        QTimer.singleShot(0, self._warm)

    def enterEvent(self, event: QEvent) -> None:  # noqa: D102 Qt's
        super().enterEvent(event)
        self._warm()

    def _warm(self) -> None:
        """Have the worker process load what a preview needs, once for each model: that takes seconds."""
        if self.has_ended or self.job is not None:
            return
        if not self._warmed and self.form.live.value and self.form.conditions.rows:
            self._warmed = True
            with self.errors_shown():
                self.preview.warm(PreviewRequest(request=settings().applied_to(self._request())))

    def _start(self, request: GenerateRequest | RegenerateRequest) -> None:
        self.preview.stop()
        self.job = job = self.engine.submit(request)
        if isinstance(request, GenerateRequest) and Path(request.model).is_absolute():
            add_recent_path("model", Path(request.model))
        self._made, self._begun = [], monotonic()
        job.progress.connect(self.progress.show_event)
        job.silent.connect(self.progress.show_unresponsive)
        job.artifact.connect(self._on_artifact)
        job.warned.connect(lambda event: show_warning(event.message))
        job.finished.connect(self._on_finished)
        job.failed.connect(self._on_failed)
        job.cancelled.connect(self._on_cancelled)
        self.next_button.hide()
        self.generate_button.setEnabled(False)
        self.reproduce_button.setEnabled(False)
        self.progress.begin("Starting worker process …")

    def may_close(self) -> bool:  # noqa: D102 the base class says it
        return self.job is None or questions.ask_cancel(self.window(), self.job.run.name)

    def release(self) -> None:  # noqa: D102 the base class says it
        self._caption.close()
        self.preview.close()
        if self.job is not None:
            self.engine.abandon(self.job)
        self._remove_preview()

    def _request(self) -> GenerateRequest:
        """Return the request of the form; Labels layers of region maps are written to files that it names."""
        request = self.form.request()
        condition = dict(request.condition)
        for name in self.form.conditions.map_fields:
            if name in condition:
                layer = self._viewer.layers[str(condition[name])]
                condition[name] = str(keep_label_map(layer_to_volume(layer, self._viewer.layers)))
        return request.model_copy(update={"condition": condition})

    def _on_model(self, name: str) -> None:
        """Draw the form of what this model can be asked for."""
        try:
            folder = find_model(name)
            card = read_card(folder)
            schema = card.conditions
            anatomy = "none" if anatomy_folder(folder) is None else "sampled"
            distilled = read_card(sampled_model(name, fast=True)).sampling_defaults if has_distilled(name) else None
        except BrainDiffusionError:  # the engine says what is wrong, when it is asked for a brain
            folder, card, schema, anatomy, distilled = None, None, ConditionSchema(), None, None
        self.form.card.show_card(card, folder)
        self.form.conditions.set_schema(schema)
        if card is None or folder is None:
            self.form.show_defaults({})
        else:
            defaults = {"anatomy": anatomy, "fast": card.fast, "distilled": card.distilled}
            self.form.show_defaults({**card.sampling_defaults, **defaults}, distilled)
        self._warmed = False

    def _offer_maps(self, event: object = None) -> None:
        maps = [layer for layer in self._viewer.layers if isinstance(layer, Labels) and layer.ndim == 3]
        self.form.conditions.offer_layers(maps)

    def _ask_preview(self) -> None:
        if self.job is None and self.form.live.value and self.form.conditions.rows:
            with self.errors_shown():
                self.preview.ask(PreviewRequest(request=settings().applied_to(self._request())))

    def _on_preview(self, volume: Volume) -> None:
        # What is made in full goes on in the same layer.
        with selection_kept(self._viewer):
            self._preview_layer = show_volume(self._viewer, volume, LOW_RESOLUTION, layer=self._preview_layer)

    def _on_artifact(self, event: ArtifactWritten, volume: Volume | None) -> None:
        if volume is None:
            return
        name = event.name or Path(event.path).name.removesuffix(".nii.gz")
        if event.kind != "preview":
            name = layer_name(read_sidecar(Path(event.path)), event.kind) or name
        match event.kind:
            case "preview":
                with selection_kept(self._viewer):
                    self._preview_layer = show_volume(self._viewer, volume, PREVIEW, layer=self._preview_layer)
            case "volume":
                made = show_volume(self._viewer, volume, name, layer=self._preview_layer, metadata=_origin(event.path))
                self._viewer.layers.selection.active = made
                self._made.append(made)
                self._preview_layer = None
                if len(self._made) > 1 and self.form.grid.value:
                    show_mosaic(self._viewer, self._made)
            case "labels":
                show_regions(self._viewer, volume, name)
            case "trajectory":
                show_trajectory(self._viewer, volume, name, metadata=_origin(event.path))

    def _on_finished(self, event: Finished) -> None:
        number, job = len(self._made), self.job
        made = f"{counted(number, 'brain')} in {duration(monotonic() - self._begun)}."
        if job is not None and isinstance(job.run.request, RegenerateRequest):
            self._end_job(f"{event.message}." if "last bit" in event.message else made)
            return
        self._end_job(made)
        if job is not None and number:
            run = job.run.path
            self.next_button.offer(
                "Evaluate these brains", lambda: open_dock(self._viewer, "Evaluate").use_generated(run)
            )
        self.form.update_seed()

    def _on_failed(self, message: str) -> None:
        self._end_job(message)
        show_error(message)

    def _on_cancelled(self, message: str) -> None:
        self._end_job("Cancelled.")

    def _end_job(self, message: str) -> None:
        self.job = None
        self.progress.rest(message)
        self.generate_button.setEnabled(True)
        self.reproduce_button.setEnabled(True)
        self._remove_preview()

    def _remove_preview(self) -> None:
        """Remove the preview layer: an unfinished sample is no result."""
        if self._preview_layer is not None and self._preview_layer in self._viewer.layers:
            self._viewer.layers.remove(self._preview_layer)
        self._preview_layer = None

    def _cancel(self) -> None:
        if self.job is not None:
            self.job.cancel()

    def _regenerate_file(self, path: Path) -> None:
        if self.job is None:
            with self.errors_shown():
                self._start(reproduce_file(path))

    def _copy_settings(self) -> None:
        with self.errors_shown():
            request = generation_settings(self._viewer.layers.selection.active)
            self.form.show_request(request)
            if lost := self.form.conditions.not_shown(request.condition):
                show_warning(
                    f"The form cannot show what was asked for exactly: {', '.join(map(readable, lost))}. 'Reproduce' "
                    "makes the same brain again."
                )

    def _copy(self, launcher: Launcher) -> None:
        with self.errors_shown():  # previews are for who watches
            copy_request(self._request().model_copy(update={"previews": False}), launcher)


def _origin(path: str) -> dict[str, object]:
    """Return the metadata of a generated layer: its provenance from the sidecar, and its path."""
    return {PROVENANCE: read_sidecar(Path(path)), "path": path}
