"""The Generate dock: make brains, and watch them come into being."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Labels, Layer
from napari.utils.notifications import show_error, show_info
from napari.viewer import Viewer
from pydantic import ValidationError
from qtpy.QtWidgets import QApplication, QHBoxLayout, QPushButton

from braindiffusion.conditions import ConditionSchema
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.pretrained import find_model, list_models, read_card
from braindiffusion.runs import (
    ArtifactWritten,
    Finished,
    GenerateRequest,
    Progress,
    TrainRequest,
    list_runs,
)
from braindiffusion.runs.command import as_command
from braindiffusion.volume import Volume, save_volume
from napari_braindiffusion.coarse_preview import CoarsePreview
from napari_braindiffusion.docks.base import Dock
from napari_braindiffusion.jobs import EngineClient, JobHandle
from napari_braindiffusion.layers import layer_to_volume
from napari_braindiffusion.settings import settings
from napari_braindiffusion.view import show_trajectory, show_volume
from napari_braindiffusion.widgets.generate_form import GenerateForm
from napari_braindiffusion.widgets.progress_row import ProgressRow

PREVIEW = "Coming into being …"
COARSE = "Coarse preview"


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

        self.coarse = CoarsePreview(lambda request, root: self.engine.submit(request, root), self)
        self.coarse.made.connect(self._on_coarse)
        self.coarse.failed.connect(show_error)
        self.form.asked_anew.connect(self._ask_coarse)
        self.form.model_changed.connect(self._on_model)
        for event in (napari_viewer.layers.events.inserted, napari_viewer.layers.events.removed):
            event.connect(self._offer_maps)
        self._offer_maps()
        self.generate_button.clicked.connect(lambda: self.generate())
        self.copy_button.clicked.connect(self._copy)
        self.progress.stop_requested.connect(self._cancel)
        self.refresh_models()
        self.form.choose_model(settings().model)

    def refresh_models(self) -> None:
        """Offer the packaged models and the user's own trainings that have a checkpoint."""
        with self.errors_shown():
            packaged = [(model.name, model.name, model.card.get("description", "")) for model in list_models()]
            own = [
                (f"my training {run.name}", str(run.path), str(run.path))
                for run in list_runs(settings().runs_folder)
                if isinstance(run.request, TrainRequest) and (run.checkpoints / "best").exists()
            ]
            self.form.set_models([*packaged, *own])

    def generate(self, request: GenerateRequest | None = None) -> JobHandle | None:
        """Start to make what the form, or `request`, asks for."""
        if self.job is not None:
            return None
        if not (request or self.form.request()).model:
            show_error("There is no model yet: train one, or choose a model folder with the … button.")
            return None
        with self.errors_shown():
            request = request or self._request()
            self.coarse.stop()
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
        for event in (self._viewer.layers.events.inserted, self._viewer.layers.events.removed):
            event.disconnect(self._offer_maps)
        self.coarse.close()
        self.engine.close()

    def _request(self) -> GenerateRequest:
        """What the form asks for, with the layers that are maps of regions as files, which a request can name."""
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
            configuration = read_card(find_model(name)).get("configuration", {})
            schema = ConditionSchema.model_validate(configuration.get("condition", {}))
        except (BrainDiffusionError, ValidationError):  # the engine says what is wrong, when it is asked for a brain
            schema = ConditionSchema()
        self.form.conditions.set_schema(schema)

    def _offer_maps(self, event: object = None) -> None:
        names = [layer.name for layer in self._viewer.layers if isinstance(layer, Labels) and layer.ndim == 3]
        self.form.conditions.offer_layers(names)

    def _ask_coarse(self) -> None:
        if self.job is None and self.form.live.isChecked() and self.form.conditions.rows:
            with self.errors_shown():
                self.coarse.ask(self._request())

    def _on_coarse(self, volume: Volume) -> None:
        # What is made in full goes on in the same layer.
        self._preview = show_volume(self._viewer, volume, COARSE, layer=self._preview)

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
        with self.errors_shown():
            # Previews are for those who watch.
            command = as_command(settings().applied_to(self._request()).model_copy(update={"previews": False}))
            QApplication.clipboard().setText(command)
            show_info(f"Copied: {command}")


def keep_label_map(volume: Volume) -> Path:
    """Write a painted map of regions beside the runs, once: a request, and its replay next year, names this file."""
    labels = volume.data.astype(np.int32)
    digest = hashlib.sha256(labels.tobytes() + volume.affine.tobytes()).hexdigest()[:16]
    path = settings().runs_folder / "label-maps" / f"{digest}.nii.gz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        save_volume(replace(volume, data=labels), path)
    return path


def read_sidecar(path: Path) -> dict[str, Any]:
    """What the JSON file beside a generated volume says about where it comes from; empty where there is none."""
    sidecar = path.with_name(path.name.removesuffix(".nii.gz") + ".json")
    try:
        content: dict[str, Any] = json.loads(sidecar.read_text())
    except FileNotFoundError:
        return {}
    return content
