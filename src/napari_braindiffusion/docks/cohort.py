"""The Cohort dock: point at a folder, see what was found and what is wrong with it, look at volumes, prepare them."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from napari.layers import Layer
from napari.qt.threading import FunctionWorker, GeneratorWorker, create_worker
from napari.utils.notifications import show_error, show_info, show_warning
from napari.viewer import Viewer
from qtpy.QtWidgets import QApplication, QHBoxLayout, QPushButton

from braindiffusion.cohort.demographics import read_demographics
from braindiffusion.cohort.describe import Description, describe
from braindiffusion.cohort.find import find
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs import ArtifactWritten, Finished, Progress, Warned
from braindiffusion.runs.command import as_command
from braindiffusion.volume import load_volume
from napari_braindiffusion.docks.base import Dock
from napari_braindiffusion.jobs import EngineClient, JobHandle
from napari_braindiffusion.layers import LayerData, volume_to_layer_data
from napari_braindiffusion.view import look_at_brains
from napari_braindiffusion.widgets.cohort_form import CohortForm
from napari_braindiffusion.widgets.progress_row import ProgressRow
from napari_braindiffusion.widgets.rows import wrapping_label
from napari_braindiffusion.widgets.subject_table import SubjectRow, SubjectTable

MANY = 12
"""More layers at once than this is more than anyone wants to look at."""


@dataclass(frozen=True)
class Look:
    """What one look into a folder brought."""

    number: int
    descriptions: tuple[Description, ...] = ()
    problems: tuple[str, ...] = ()
    error: str = ""


class CohortDock(Dock):
    """Folder, table of subjects, layers, preparation.

    Args:
        napari_viewer: Where volumes are loaded.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer)
        self.engine = EngineClient("prepare", parent=self)
        self.job: JobHandle | None = None
        self._looks = 0
        self._descriptions: tuple[Description, ...] = ()
        self._left_out: list[str] = []
        self._workers: set[FunctionWorker[Look] | GeneratorWorker[LayerData | str, None, None]] = set()

        self.form = CohortForm()
        self.summary = wrapping_label("Choose a folder of brains.")
        self.table = SubjectTable()
        self.table.setToolTip("Who is in the folder, and what is odd. A double click loads a brain.")
        self.load_button = QPushButton("Load selected")
        self.load_button.setToolTip("Add the selected volumes, with their labels, as layers.")
        self.prepare_button = QPushButton("Prepare")
        self.prepare_button.setToolTip(
            "Bring all usable volumes to one grid and one range of intensities, ready for training. "
            "Odd files are left out and named."
        )
        self.copy_button = QPushButton("Copy command")
        self.copy_button.setToolTip("The same preparation as a command for a terminal or a cluster.")
        self.progress = ProgressRow("Cancel", "Stops soon. What is prepared stays, and Prepare goes on from there.")
        buttons = QHBoxLayout()
        buttons.addWidget(self.prepare_button, 1)
        buttons.addWidget(self.copy_button)
        self.rows.addWidget(self.form)
        self.rows.addWidget(self.summary)
        self.rows.addWidget(self.table, 1)
        self.rows.addWidget(self.load_button)
        self.rows.addLayout(buttons)
        self.rows.addWidget(self.progress)

        self.form.sources_changed.connect(self.look)
        self.table.selection_changed.connect(self._on_selection)
        self.table.doubleClicked.connect(lambda _: self.load_selected())
        self.load_button.clicked.connect(lambda: self.load_selected())
        self.prepare_button.clicked.connect(lambda: self.prepare())
        self.copy_button.clicked.connect(self._copy)
        self.progress.stop_requested.connect(self._cancel)
        self._on_selection()
        self.prepare_button.setEnabled(False)

    # What the user can ask for

    def look(self) -> None:
        """Look again what is in the folder."""
        self._looks += 1
        self._show(())
        folder = self.form.folder.path
        if folder is None:
            self.summary.setText("Choose a folder of brains.")
            return
        self.summary.setText(f"Looking into {folder} …")
        modality, labels, participants = (
            self.form.modality.currentText(),
            self.form.labels.path,
            self.form.participants.path,
        )
        worker = create_worker(_look, self._looks, folder, modality, labels, participants)
        worker.returned.connect(self._on_looked)
        self._start(worker)

    def load_selected(self) -> None:
        """Add the selected volumes and their labels as layers."""
        chosen = [self._descriptions[row.key] for row in self.table.selected if row.shape is not None]
        if len(chosen) > MANY:
            show_warning(f"Only the first {MANY} of the {len(chosen)} selected volumes are loaded.")
        worker = create_worker(_load, chosen[:MANY])
        worker.yielded.connect(self._on_loaded)
        self._start(worker)

    def prepare(self) -> None:
        """Prepare all usable volumes, in an engine."""
        request = self.form.request()
        if self.job is not None:
            return
        if request is None:
            show_error("Choose a folder of volumes, and where to write the prepared cohort.")
            return
        with self.errors_shown():
            job = self.engine.submit(request)
            self.job = job
            self._left_out = []
            job.progress.connect(self._on_progress)
            job.warned.connect(self._on_warned)
            job.artifact.connect(self._on_artifact)
            job.finished.connect(self._on_finished)
            job.failed.connect(self._on_failed)
            job.cancelled.connect(
                lambda _: self._end_job("Cancelled. What is prepared stays; Prepare goes on from there.")
            )
            self.prepare_button.setEnabled(False)
            self.progress.begin("Waking the engine …")

    def release(self) -> None:  # noqa: D102 the base class says it
        for worker in self._workers:
            worker.quit()
        self.engine.close()

    # What is heard

    def _on_looked(self, look: Look) -> None:
        if look.number != self._looks:
            return  # the folder is another by now
        if look.error:
            self.summary.setText(look.error)
            show_error(look.error)
            return
        self._descriptions = look.descriptions
        self._show(look.descriptions)
        wrong = sum(bool(row.problem) for row in look.descriptions)
        text = f"{len(look.descriptions)} volumes found" + (f", {wrong} with a problem" if wrong else "")
        self.summary.setText(". ".join([text, *(problem.rstrip(".") for problem in look.problems)]) + ".")

    def _show(self, descriptions: tuple[Description, ...]) -> None:
        self._descriptions = descriptions
        self.table.set_subjects(
            [
                SubjectRow(
                    key,
                    row.subject,
                    row.age,
                    row.sex,
                    row.site,
                    row.modality,
                    row.shape,
                    row.spacing,
                    row.problem,
                    row.note,
                )
                for key, row in enumerate(descriptions)
            ]
        )
        self.prepare_button.setEnabled(self.job is None and any(not row.problem for row in descriptions))
        self._on_selection()

    def _on_selection(self) -> None:
        self.load_button.setEnabled(bool(self.table.selected))

    def _on_loaded(self, loaded: LayerData | str) -> None:
        if isinstance(loaded, str):
            show_error(loaded)
            return
        first = not self._viewer.layers
        self._viewer.add_layer(Layer.create(*loaded))
        if first:
            look_at_brains(self._viewer)

    def _on_progress(self, event: Progress) -> None:
        self.progress.show_progress(event.stage, event.step, event.total, event.seconds_left, event.message)

    def _on_warned(self, event: Warned) -> None:
        self._left_out.append(f"{event.subject}: {event.message}" if event.subject else event.message)

    def _on_artifact(self, event: ArtifactWritten, _: object) -> None:
        show_info(f"The prepared cohort is {event.path}; the Train dock takes it.")

    def _on_finished(self, event: Finished) -> None:
        self._end_job(event.message or "Prepared.")
        if self._left_out:
            more = f" And {len(self._left_out) - 3} more." if len(self._left_out) > 3 else ""
            show_warning(" ".join(self._left_out[:3]) + more)

    def _on_failed(self, message: str) -> None:
        self._end_job("It failed.")
        show_error(message)

    def _end_job(self, message: str) -> None:
        self.job = None
        self.progress.rest(message)
        self.prepare_button.setEnabled(True)
        self.engine.close()  # it will hardly be needed again, and holds memory

    def _cancel(self) -> None:
        if self.job is not None:
            self.job.cancel()

    def _copy(self) -> None:
        request = self.form.request()
        if request is None:
            show_error("Choose a folder of volumes, and where to write the prepared cohort.")
            return
        command = as_command(request)
        QApplication.clipboard().setText(command)
        show_info(f"Copied: {command}")

    def _start(self, worker: "FunctionWorker[Look] | GeneratorWorker[LayerData | str, None, None]") -> None:
        self._workers.add(worker)
        worker.finished.connect(lambda: self._workers.discard(worker))
        worker.start()


def _look(number: int, folder: Path, modality: str, labels: Path | None, participants: Path | None) -> Look:
    """In a worker thread: find, and read headers."""
    try:
        found = find(folder, modality=modality, labels=labels)
        people = read_demographics(participants) if participants is not None else None
        problems = people.problems([item.subject for item in found]) if people is not None else []
        return Look(number, tuple(describe(found, people)), tuple(problems))
    except BrainDiffusionError as error:
        return Look(number, error=str(error))


def _load(descriptions: list[Description]) -> Generator[LayerData | str]:
    """In a worker thread: layers, or what is wrong with a file."""
    for one in descriptions:
        try:
            yield volume_to_layer_data(load_volume(one.path), f"{one.subject} {one.modality or ''}".rstrip())
            if one.labels is not None:
                yield volume_to_layer_data(load_volume(one.labels), f"{one.subject} regions", "labels", opacity=0.4)
        except BrainDiffusionError as error:
            yield str(error)
