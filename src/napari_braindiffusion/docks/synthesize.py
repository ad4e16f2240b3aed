"""The Synthesize dock: a cohort as a BIDS dataset, generated in the background."""

from pathlib import Path

from napari.utils.notifications import show_error, show_warning
from napari.viewer import Viewer
from qtpy.QtWidgets import QHBoxLayout, QPushButton

from braindiffusion.conditions import ConditionSchema, ScalarField
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.models.registry import find_model, read_card
from braindiffusion.runs import Finished, SynthesizeRequest
from napari_braindiffusion.docks.base import Dock
from napari_braindiffusion.docks.choices import packaged_models
from napari_braindiffusion.docks.copy_command import copy_request
from napari_braindiffusion.engine.job import JobHandle
from napari_braindiffusion.settings import settings
from napari_braindiffusion.widgets import dialogs as questions
from napari_braindiffusion.widgets.forms.condition_rows import range_text
from napari_braindiffusion.widgets.forms.request_form import RequestForm
from napari_braindiffusion.widgets.progress_row import ProgressRow

ROWS = ("model", "num", "age", "sex", "fast", "seed", "reference", "out")
ADVANCED = ("redraws", "voxels_only", "guidance", "levels", "batch_size", "device", "precision")
PAGE = "report.html"


class SynthesizeDock(Dock):
    """Model, number of subjects, ages, sex and folder; progress, and the report at the end.

    Args:
        napari_viewer: The viewer.
    """

    name = "Synthesize"

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer)
        self.job: JobHandle | None = None
        self.folder: Path | None = None
        """Folder of the last dataset."""

        self.form = RequestForm(
            SynthesizeRequest,
            ROWS,
            ADVANCED,
            options={
                "model": {"choices": ()},
                "age": {"default": "All ages of the model"},
                "sex": {"default": "Balanced"},
                "reference": {"default": "None"},
                "out": {"default": "Folder of the dataset"},
            },
        )
        self.start_button = QPushButton("&Synthesize")
        self.start_button.setToolTip("Generate the cohort in the background. Subjects that are complete stay.")
        self.copy_button = QPushButton("&Copy command")
        self.copy_button.setToolTip("The same cohort as a command for a terminal or a cluster.")
        self.report_button = QPushButton("Open re&port")
        self.report_button.setToolTip("Ages, sexes, region volumes and distances to the training brains, in a browser.")
        self.report_button.setEnabled(False)
        self.progress = ProgressRow("Cancel", "Stops within one step. Subjects that are complete stay.")
        buttons = QHBoxLayout()
        buttons.addWidget(self.report_button, 1)
        buttons.addWidget(self.copy_button, 1)
        self.rows.addWidget(self.form)
        self.rows.addWidget(self.start_button)
        self.rows.addLayout(buttons)
        self.rows.addWidget(self.progress)
        self.rows.addStretch()

        self.form.fields["model"].offer(packaged_models())
        if settings().model is not None:
            self.form.fields["model"].value = settings().model
        self._distilled = False
        self.form.fields["model"].changed.connect(lambda _: self._on_model())
        self.form.fields["guidance"].changed.connect(lambda _: self._show_fast())
        self._on_model()
        self.start_button.clicked.connect(lambda: self.synthesize())
        self.copy_button.clicked.connect(self._copy)
        self.report_button.clicked.connect(self._open_report)
        self.progress.stop_requested.connect(self._cancel)

    def synthesize(self) -> JobHandle | None:
        """Start to generate the cohort of the form, or continue it."""
        if self.job is not None:
            return None
        with self.errors_shown():
            request = self.form.make_request()
            if request.out is None:
                show_error("Choose a folder for the BIDS dataset first.")
                return None
            self.job = job = self.engine.submit(request)
            self.folder = request.out
            job.progress.connect(self.progress.show_event)
            job.silent.connect(self.progress.show_unresponsive)
            job.warned.connect(lambda event: show_warning(event.sentence))
            job.finished.connect(self._on_finished)
            job.failed.connect(self._on_failed)
            job.cancelled.connect(lambda _: self._end("Cancelled. The same settings continue the cohort."))
            self.start_button.setEnabled(False)
            self.report_button.setEnabled(False)
            self.progress.begin("Starting worker process …")
        return self.job

    def may_close(self) -> bool:  # noqa: D102 the base class says it
        return self.job is None or questions.ask_cancel(self.window(), self.job.run.name)

    def release(self) -> None:  # noqa: D102 the base class says it
        if self.job is not None:
            self.engine.abandon(self.job)

    def _on_model(self) -> None:
        """Show the ages of the training subjects of the chosen model."""
        try:
            card = read_card(find_model(self.form.fields["model"].value or ""))
            schema, fast = card.conditions, card.fast
        except BrainDiffusionError:  # the engine says what is wrong, when it is asked
            schema, fast = ConditionSchema(), None
        self.form.fields["fast"].enabled = fast is not None
        self._distilled = fast is not None and fast.model is not None
        self._show_fast()
        ages = [one for one in schema.fields if isinstance(one, ScalarField) and one.name == "age"]
        default = f"All ages of the model ({range_text([one.seen for one in ages])})" if ages else "None"
        self.form.fields["age"].show_default(default)

    def _show_fast(self) -> None:
        """Show what "Default" is: fast sampling, unless a guidance scale is chosen."""
        on = self._distilled and self.form.fields["guidance"].value is None
        self.form.show_default("fast", "on" if on else "off")

    def _cancel(self) -> None:
        if self.job is not None:
            self.job.cancel()

    def _on_finished(self, event: Finished) -> None:
        self._end(event.message or "Done.")
        self.report_button.setEnabled(True)

    def _on_failed(self, message: str) -> None:
        self._end(message)
        show_error(message)

    def _end(self, message: str) -> None:
        self.job = None
        self.start_button.setEnabled(True)
        self.progress.rest(message)

    def _copy(self) -> None:
        with self.errors_shown():
            copy_request(self.form.make_request(), "shell")

    def _open_report(self) -> None:
        if self.folder is not None:
            questions.open_path(self.folder / PAGE)
