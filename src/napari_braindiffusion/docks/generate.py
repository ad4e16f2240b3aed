"""The Generate dock: make brains, and watch them come into being."""

import json
from pathlib import Path
from typing import Any

from napari.layers import Layer
from napari.utils.notifications import show_error, show_info
from napari.viewer import Viewer
from qtpy.QtWidgets import QApplication, QHBoxLayout, QPushButton

from braindiffusion.pretrained import list_models
from braindiffusion.runs import ArtifactWritten, Finished, GenerateRequest, Progress, TrainRequest, list_runs
from braindiffusion.runs.command import as_command
from braindiffusion.volume import Volume
from napari_braindiffusion.docks.base import Dock
from napari_braindiffusion.jobs import EngineClient, JobHandle
from napari_braindiffusion.view import show_trajectory, show_volume
from napari_braindiffusion.widgets.generate_form import GenerateForm
from napari_braindiffusion.widgets.progress_row import ProgressRow

PREVIEW = "Coming into being …"


class GenerateDock(Dock):
    """Model, how many, seed, steps; a preview while it works; results and their way from noise as layers in mm.

    Args:
        napari_viewer: Where the brains appear.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer)
        self.engine = EngineClient("generate", parent=self)
        self.job: JobHandle | None = None
        self._preview: Layer | None = None

        self.form = GenerateForm()
        self.generate_button = QPushButton("Generate")
        self.generate_button.setToolTip("Make brains with these settings.")
        self.copy_button = QPushButton("Copy command")
        self.copy_button.setToolTip("The same generation as a command for a terminal or a cluster.")
        self.progress = ProgressRow("Cancel", "Stops within one step. Brains that are finished stay.")
        buttons = QHBoxLayout()
        buttons.addWidget(self.generate_button, 1)
        buttons.addWidget(self.copy_button)
        self.rows.addWidget(self.form)
        self.rows.addLayout(buttons)
        self.rows.addWidget(self.progress)
        self.rows.addStretch()

        self.generate_button.clicked.connect(lambda: self.generate())
        self.copy_button.clicked.connect(self._copy)
        self.progress.stop_requested.connect(self._cancel)
        self.refresh_models()

    def refresh_models(self) -> None:
        """Offer the packaged models and the user's own trainings that have a checkpoint."""
        with self.errors_shown():
            packaged = [(model.name, model.name, model.card.get("description", "")) for model in list_models()]
            own = [
                (f"my training {run.name}", str(run.path), str(run.path))
                for run in list_runs()
                if isinstance(run.request, TrainRequest) and (run.checkpoints / "best").exists()
            ]
            self.form.set_models([*packaged, *own])

    def generate(self, request: GenerateRequest | None = None) -> JobHandle | None:
        """Start to make what the form, or `request`, asks for."""
        if self.job is not None:
            return None
        request = self.form.request() if request is None else request
        if not request.model:
            show_error("There is no model yet: train one, or choose a model folder with the … button.")
            return None
        with self.errors_shown():
            job = self.engine.submit(request)
            self.job = job
            job.progress.connect(self._on_progress)
            job.artifact.connect(self._on_artifact)
            job.finished.connect(self._on_finished)
            job.failed.connect(self._on_failed)
            job.cancelled.connect(self._on_cancelled)
            self.generate_button.setEnabled(False)
            self.progress.begin("Waking the engine …")
        return self.job

    def release(self) -> None:  # noqa: D102 the base class says it
        self.engine.close()

    def _on_progress(self, event: Progress) -> None:
        self.progress.show_progress(event.stage, event.step, event.total, event.seconds_left, event.message)

    def _on_artifact(self, event: ArtifactWritten, volume: Volume | None) -> None:
        if volume is None:
            return
        name = event.name or Path(event.path).name.removesuffix(".nii.gz")
        match event.kind:
            case "preview":
                self._preview = show_volume(self._viewer, volume, PREVIEW, layer=self._preview)
            case "volume":
                metadata = {"provenance": read_sidecar(Path(event.path)), "path": event.path}
                show_volume(self._viewer, volume, name, layer=self._preview, metadata=metadata)
                self._preview = None
            case "trajectory":
                show_trajectory(self._viewer, volume, name)

    def _on_finished(self, event: Finished) -> None:
        self._end_job(event.message or "Done.")
        self.form.go_on()

    def _on_failed(self, message: str) -> None:
        self._end_job("It failed.")
        show_error(message)

    def _on_cancelled(self, message: str) -> None:
        self._end_job("Cancelled.")

    def _end_job(self, message: str) -> None:
        self.job = None
        self.progress.rest(message)
        self.generate_button.setEnabled(True)
        if self._preview is not None and self._preview in self._viewer.layers:
            self._viewer.layers.remove(self._preview)  # half a brain is no result
        self._preview = None

    def _cancel(self) -> None:
        if self.job is not None:
            self.job.cancel()

    def _copy(self) -> None:
        # Previews are for those who watch.
        command = as_command(self.form.request().model_copy(update={"previews": False}))
        QApplication.clipboard().setText(command)
        show_info(f"Copied: {command}")


def read_sidecar(path: Path) -> dict[str, Any]:
    """What the JSON file beside a generated volume says about where it comes from; empty where there is none."""
    sidecar = path.with_name(path.name.removesuffix(".nii.gz") + ".json")
    try:
        content: dict[str, Any] = json.loads(sidecar.read_text())
    except FileNotFoundError:
        return {}
    return content
