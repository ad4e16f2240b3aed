"""The Cohort dock: lists a folder of volumes, checks them, opens them as layers, preprocesses them for training."""

from functools import partial
from pathlib import Path

from napari.layers import Image, Layer
from napari.qt.threading import FunctionWorker
from napari.utils.notifications import show_error, show_info, show_warning
from napari.utils.theme import get_theme
from napari.viewer import Viewer
from qtpy.QtWidgets import QHBoxLayout, QPushButton

from braindiffusion.cohort.store import Cohort
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs import ArtifactWritten, Event, Finished, Inspected, PrepareRequest, Progress, Warned
from napari_braindiffusion.docks.base import Dock, NextStepButton
from napari_braindiffusion.docks.copy_command import copy_request
from napari_braindiffusion.docks.open import open_dock
from napari_braindiffusion.engine.job import JobHandle
from napari_braindiffusion.engine.latest import LatestJob
from napari_braindiffusion.engine.threads import in_background
from napari_braindiffusion.io.folder import FolderListing, list_folder
from napari_braindiffusion.layers.cohort import open_cohort, read_subjects, show_cohort
from napari_braindiffusion.layers.display import set_axial_view, show_mosaic
from napari_braindiffusion.layers.geometry import LayerData
from napari_braindiffusion.widgets.forms.cohort_form import CohortForm
from napari_braindiffusion.widgets.forms.layout import wrapping_label
from napari_braindiffusion.widgets.progress_row import ProgressRow
from napari_braindiffusion.widgets.tables.subject_model import SubjectRow
from napari_braindiffusion.widgets.tables.subject_table import SubjectTable
from napari_braindiffusion.widgets.tables.subject_tools import SubjectCard, SubjectTools

MAX_OPENED = 12
"""Largest number of volumes that are opened at once."""


class CohortDock(Dock):
    """A folder, the table of its subjects, buttons to open and to preprocess them.

    Args:
        napari_viewer: Volumes are opened in it.
    """

    name = "Cohort"

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer)
        self.job: JobHandle | None = None
        self.inspection = LatestJob(self.engine, self)
        self._listings = 0
        self._listing = FolderListing(0)
        self._numbers: dict[str, int] = {}
        self._left_out: list[str] = []
        self._made: Path | None = None
        self._workers: set[FunctionWorker[FolderListing]] = set()

        self.form = CohortForm()
        self.summary = wrapping_label("Choose a folder of volumes.")
        self.inspecting = ProgressRow("Stop", "Inspects no more volumes; results so far stay in the table.")
        self.table = SubjectTable()
        self.table.setToolTip(
            "Subjects of the folder, with warnings. Checked ones are used. A double click opens a brain."
        )
        self.tools = SubjectTools(self.table)
        self.card = SubjectCard()
        self.load_button = QPushButton("Open as layers")
        self.load_button.setToolTip(
            "Open volumes, with their label maps, as layers: the highlighted ones, or else all that are checked."
        )
        self.prepare_button = QPushButton("Preprocess")
        self.prepare_button.setToolTip(
            "Bring the checked volumes to one grid and one range of intensities, ready for training. "
            "Files that cannot be used are left out and named."
        )
        self.show_button = QPushButton("Show cohort")
        self.show_button.setToolTip(
            "Show the preprocessed cohort as one layer with a slider for the subject. Only what is shown is read."
        )
        self.copy_button = QPushButton("Copy command")
        self.copy_button.setToolTip("Copy the same preprocessing as a command for a terminal or a cluster.")
        self.next_button = NextStepButton()
        self.next_button.setToolTip("Open the Train dock with this cohort.")
        self.progress = ProgressRow(
            "Cancel", "Stops soon. What is preprocessed stays; Preprocess continues from there."
        )
        for row in (self.form, self.summary, self.inspecting, self.tools):
            self.rows.addWidget(row)
        self.rows.addWidget(self.table, 1)
        self.rows.addWidget(self.card)
        for wide, narrow in ((self.load_button, self.show_button), (self.prepare_button, self.copy_button)):
            buttons = QHBoxLayout()
            buttons.addWidget(wide, 1)
            buttons.addWidget(narrow)
            self.pinned.addLayout(buttons)
        self.pinned.addWidget(self.progress)
        self.pinned.addWidget(self.next_button)

        self.form.sources_changed.connect(self.look)
        self.form.fields["out"].changed.connect(lambda path: self.show_button.setEnabled(path is not None))
        self.inspection.received.connect(self._on_inspection_event)
        self.inspection.ended.connect(self._on_inspection_ended)
        self.inspecting.stop_requested.connect(self.inspection.cancel)
        self.table.selection_changed.connect(self._on_selection)
        self.table.selectionModel().currentRowChanged.connect(lambda *_: self._on_current())
        self.table.checked_changed.connect(self._on_selection)
        self.table.doubleClicked.connect(lambda _: self.load())
        self.load_button.clicked.connect(lambda: self.load())
        self.prepare_button.clicked.connect(lambda: self.prepare())
        self.show_button.clicked.connect(lambda: self.show_prepared())
        self.copy_button.clicked.connect(self._copy)
        self.progress.stop_requested.connect(self._cancel)
        self.show_button.setEnabled(False)
        self._show(FolderListing(0))

    # Actions

    def look(self) -> None:
        """List the folder again."""
        self._listings += 1
        self.inspection.stop()
        self._show(FolderListing(self._listings))
        request = self.form.inspection()
        if request is None:
            self.summary.setText("Choose a folder of volumes.")
            return
        self.summary.setText(f"Reading headers in {request.data_dir} …")
        worker: FunctionWorker[FolderListing] = FunctionWorker(list_folder, self._listings, request)
        self._workers.add(worker)
        worker.returned.connect(self._on_listed)
        worker.finished.connect(lambda: self._workers.discard(worker))
        worker.start()

    def load(self) -> None:
        """Add volumes and their labels as layers: the highlighted ones, or else the checked."""
        rows = [row for row in self.table.selected or self.table.checked if row.shape is not None]
        if len(rows) > MAX_OPENED:
            show_warning(f"Only the first {MAX_OPENED} of these {len(rows)} volumes are opened.")
        chosen = [self._listing.descriptions[row.key] for row in rows[:MAX_OPENED]]
        files = sum(1 + bool(one.labels) for one in chosen)
        loaded: list[Layer] = []
        done, after = partial(self._on_loaded, loaded), partial(self._on_all_loaded, loaded)
        in_background(read_subjects, chosen, what="Opening", total=files, done=done, after=after)

    def prepare(self) -> None:
        """Preprocess the checked volumes, in an engine."""
        request = self._request()
        if self.job is not None or request is None:
            return
        with self.errors_shown():
            job = self.engine.submit(request)
            self.job = job
            self._left_out = []
            self._made = None
            self.next_button.hide()
            job.progress.connect(self.progress.show_event)
            job.silent.connect(self.progress.show_unresponsive)
            job.warned.connect(self._on_warned)
            job.artifact.connect(self._on_artifact)
            job.finished.connect(self._on_finished)
            job.failed.connect(self._on_failed)
            job.cancelled.connect(
                lambda _: self._end_job("Cancelled. What is preprocessed stays; Preprocess continues from there.")
            )
            self._on_selection()
            self.progress.begin("Starting worker process …")

    def show_prepared(self) -> None:
        """Show the preprocessed cohort as one 4D layer, and its labels as another."""
        path = self.form.fields["out"].value
        if path is not None:
            in_background(open_cohort, path, what="Opening", total=1, done=self._on_opened)

    def release(self) -> None:  # noqa: D102 the base class says it
        for worker in self._workers:
            worker.quit()
        self.inspection.close()
        if self.job is not None:
            self.engine.abandon(self.job)

    def apply_theme(self, background: str, text: str) -> None:  # noqa: D102 the base class says it
        theme = get_theme(self._viewer.theme)
        self.table.set_colours(theme.error.as_hex(), theme.warning.as_hex())

    # Events

    def _on_listed(self, listing: FolderListing) -> None:
        if listing.number != self._listings:
            return  # the folder is another by now
        if listing.error:
            self.summary.setText(listing.error)
            show_error(listing.error)
            return
        self._show(listing)
        request = self.form.inspection()
        if request is not None:
            self.inspecting.begin("Inspecting volumes …")
            self.inspection.ask(request)

    def _show(self, listing: FolderListing) -> None:
        self._listing = listing
        self._numbers = {str(row.path.absolute()): number for number, row in enumerate(listing.descriptions)}
        self.inspecting.rest()
        self.card.show_subject(None)
        self.table.set_subjects(
            [
                SubjectRow(
                    *(key, one.subject, one.age, one.sex, one.site, one.modality, one.shape, one.spacing), one.flags
                )
                for key, one in enumerate(listing.descriptions)
            ]
        )

    def _on_inspection_event(self, event: Event) -> None:
        if isinstance(event, Progress):
            self.inspecting.show_progress("Inspecting", event.step, event.total, event.seconds_left)
        elif isinstance(event, Inspected):
            self._on_inspected(event)

    def _on_inspected(self, event: Inspected) -> None:
        number = self._numbers.get(event.path)
        if number is not None:
            self.table.update_subject(number, event.marks, event.thumbnail)
            current = self.table.current
            if current is not None and current.key == number:
                self._on_current()

    def _on_inspection_ended(self, message: str) -> None:
        self.inspecting.rest()
        if message:
            show_warning("Not all volumes were inspected." if message == "Cancelled." else message)

    def _on_current(self) -> None:
        self.card.show_subject(self.table.current)

    def _on_selection(self) -> None:
        """Buttons and summary say what they would do now."""
        selected, checked = len(self.table.selected), len(self.table.checked)
        self.load_button.setText(f"Open as layers ({selected or checked})")
        self.load_button.setEnabled(bool(selected or checked))
        self.prepare_button.setText(f"Preprocess ({checked})" if checked else "Preprocess")
        self.prepare_button.setEnabled(self.job is None and bool(checked))
        rows = self.table.subjects
        if rows:
            counts = [sum(row.severity == severity for row in rows) for severity in ("problem", "warning")]
            parts = [f"{len(rows)} volumes found, {checked} selected"]
            parts += [f"{counts[0]} with a problem"] if counts[0] else []
            parts += [f"{counts[1]} with a warning"] if counts[1] else []
            self.summary.setText(
                ". ".join([", ".join(parts), *(one.rstrip(".") for one in self._listing.problems)]) + "."
            )

    def _on_loaded(self, loaded: list[Layer], layer_data: LayerData) -> None:
        if self.has_ended:
            return
        first = not self._viewer.layers
        loaded.append(self._viewer.add_layer(Layer.create(*layer_data)))
        if first:
            set_axial_view(self._viewer)

    def _on_all_loaded(self, loaded: list[Layer]) -> None:
        """Show several volumes as a grid; their labels are hidden meanwhile."""
        images = [layer for layer in loaded if isinstance(layer, Image)]
        if len(images) > 1 and not self.has_ended:
            show_mosaic(self._viewer, images, share_contrast=False)

    def _on_opened(self, opened: tuple[Cohort, dict[int, str] | None]) -> None:
        if not self.has_ended:
            show_cohort(self._viewer, *opened)

    def _on_warned(self, event: Warned) -> None:
        self._left_out.append(event.sentence)

    def _on_artifact(self, event: ArtifactWritten, _: object) -> None:
        show_info(f"The cohort is {event.path}.")
        self._made = Path(event.path)

    def _on_finished(self, event: Finished) -> None:
        self._end_job(event.message or "Preprocessed.")
        if (made := self._made) is not None:
            self.next_button.offer("Train on this cohort", lambda: open_dock(self._viewer, "Train").use_data(made))
        if self._left_out:
            more = f" And {len(self._left_out) - 3} more." if len(self._left_out) > 3 else ""
            show_warning(" ".join(self._left_out[:3]) + more)

    def _on_failed(self, message: str) -> None:
        self._end_job(message)
        show_error(message)

    def _end_job(self, message: str) -> None:
        self.job = None
        self.progress.rest(message)
        self._on_selection()

    def _cancel(self) -> None:
        if self.job is not None:
            self.job.cancel()

    def _request(self) -> PrepareRequest | None:
        """Return the preprocessing of the checked subjects; None, with a notification, where something is missing."""
        checked, usable = self.table.checked, [row for row in self.table.subjects if not row.problem]
        subjects = None if len(checked) == len(usable) else tuple(dict.fromkeys(row.subject for row in checked))
        try:
            request = self.form.request(subjects)
        except BrainDiffusionError as error:
            show_error(str(error))
            return None
        if request is None:
            show_error("Choose a folder of volumes, and an output for the cohort.")
        return request

    def _copy(self) -> None:
        if (request := self._request()) is not None:
            copy_request(request, "shell")
