"""The Train dock: start a training, watch it learn, leave it, come back to it.

A training lives in a process of its own (`training`), and all that the dock shows comes from the run's folder, so a run
of last week is drawn just as one that is on its way.
"""

import shlex
from pathlib import Path

from napari.qt.threading import FunctionWorker, create_worker
from napari.utils.notifications import show_error, show_info, show_warning
from napari.viewer import Viewer
from qtpy.QtCore import QTimer, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QApplication, QHBoxLayout, QPushButton, QToolButton

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.pretrained import list_models
from braindiffusion.runs import (
    ArtifactWritten,
    Event,
    Failed,
    Finished,
    Metric,
    Progress,
    Run,
    RunState,
    Started,
    TrainRequest,
    Warned,
    list_runs,
)
from braindiffusion.runs.command import as_command
from braindiffusion.runs.folder import LIVE
from braindiffusion.volume import Volume
from napari_braindiffusion.docks.base import Dock
from napari_braindiffusion.emerging import Emerging
from napari_braindiffusion.estimating import Estimating
from napari_braindiffusion.jobs import JobHandle
from napari_braindiffusion.settings import settings
from napari_braindiffusion.training import follow_training, start_training
from napari_braindiffusion.widgets import questions
from napari_braindiffusion.widgets.curves import Curves
from napari_braindiffusion.widgets.estimate_row import EstimateRow
from napari_braindiffusion.widgets.progress_row import ProgressRow
from napari_braindiffusion.widgets.rows import form_layout
from napari_braindiffusion.widgets.run_list import RunList
from napari_braindiffusion.widgets.run_menu import RunMenu
from napari_braindiffusion.widgets.train_form import TrainForm

RESUMABLE = (RunState.CREATED, RunState.CANCELLED, RunState.INTERRUPTED, RunState.FAILED)
MANY_WARNINGS = 3
"""Notifications at once; a folder of odd files has hundreds."""

LOOK_MS = 2000
"""How often to look whether somebody else has begun the run that is shown."""

History = tuple[list[Event], int, RunState]


class TrainDock(Dock):
    """Data and settings, start, stop and resume, the loss, and a sample now and then.

    Args:
        napari_viewer: Where samples appear.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer)
        self.job: JobHandle | None = None
        self._followed: list[Run] = []
        self._offset = 0
        self._warnings = 0
        self._reading: FunctionWorker[History] | None = None

        self.runs = RunList()
        self.runs.setToolTip(
            "Begin a new training, look at an earlier one, resume it, or follow one that runs in the background."
        )
        self.reload_button = QToolButton(text="⟳")
        self.reload_button.setToolTip("Look again which runs there are.")
        self.reload_button.setAccessibleName("Reload runs")
        self.menu = RunMenu()
        self.form = TrainForm()
        self.estimate = EstimateRow()
        self.estimating = Estimating(self)
        self.emerging = Emerging(self._viewer, self)
        self.start_button = QPushButton("Start")
        self.copy_button = QPushButton("Copy command")
        self.copy_button.setToolTip("The same training as a command for a terminal or a cluster.")
        self.curve = Curves()
        self.progress = ProgressRow(
            "Stop",
            "Stops after this step and keeps a checkpoint, from which the training can be resumed.",
            "Holds after this step and goes on at once when asked to. Its memory stays taken, on the GPU too: "
            "Stop frees it.",
        )

        run_row = QHBoxLayout()
        run_row.addWidget(self.runs, 1)
        run_row.addWidget(self.reload_button)
        run_row.addWidget(self.menu)
        run_form = form_layout()
        run_form.addRow("&Run", run_row)
        run_form.labelForField(run_row).setBuddy(self.runs)
        buttons = QHBoxLayout()
        buttons.addWidget(self.start_button, 1)
        buttons.addWidget(self.copy_button)
        self.rows.addLayout(run_form)
        self.rows.addWidget(self.form)
        self.rows.addWidget(self.estimate)
        self.rows.addLayout(buttons)
        self.rows.addWidget(self.progress)
        self.rows.addWidget(self.curve, 1)

        self.runs.run_chosen.connect(self.show_run)
        self.reload_button.clicked.connect(lambda: self.refresh_runs())
        self.start_button.clicked.connect(lambda: self.start())
        self.copy_button.clicked.connect(self._copy)
        self.progress.stop_requested.connect(self.stop)
        self.progress.pause_requested.connect(self.pause)
        self.menu.compared.connect(self.compare)
        self.menu.rename_requested.connect(self.rename)
        self.menu.delete_requested.connect(self.delete)
        self.menu.folder_requested.connect(self.open_folder)
        self.menu.follow_requested.connect(lambda: self.follow())
        self.form.changed.connect(self._ask_what_it_takes)
        self.estimate.apply_requested.connect(self.form.apply)
        self.estimating.begun.connect(lambda: self.estimate.say("Looking what this will take …"))
        self.estimating.told.connect(self.estimate.show_estimate)
        self.estimating.failed.connect(self.estimate.say)
        self._look = QTimer(self, interval=LOOK_MS)
        self._look.timeout.connect(self._look_again)
        self.refresh_runs()
        self._say_what_start_does(None)

    # What the user can ask for

    def refresh_runs(self) -> None:
        """Look which training runs there are."""
        with self.errors_shown():
            there = [run for run in list_runs(settings().runs_folder) if isinstance(run.request, TrainRequest)]
            there += [run for run in self._followed if run not in there]
            self.runs.set_runs((run, run.state) for run in there)
            packaged = [(model.name, model.name) for model in list_models()]
            own = [(run.name, str(run.path)) for run in there if (run.checkpoints / "best" / "model.json").exists()]
            self.form.set_models([*packaged, *own])
            self._offer()

    def start(self) -> None:
        """Start a new training with the settings of the form, or resume the chosen run."""
        if self.job is not None:
            return
        run = self.runs.run
        with self.errors_shown():
            if run is None:
                request = self.form.request()
                if request is None:
                    show_error("Choose what to train on first: a prepared cohort (.zarr) or a folder of volumes.")
                    return
                run = Run.create(settings().applied_to(request), settings().runs_folder)
                self.curve.clear_curves()
                self.emerging.choose(run)
            self._quiet()
            self._attach(start_training(run))
            self.refresh_runs()
            self.runs.choose(run)
            self._offer()

    def stop(self) -> None:
        """Stop the training after its step; a checkpoint is kept."""
        if self.job is not None:
            self.job.cancel()

    def pause(self, pause: bool) -> None:
        """Have the training hold between two steps, or go on."""
        if self.job is not None:
            run = self.job.run
            run.ask_to_pause() if pause else run.ask_to_go_on()

    def compare(self, run: Run) -> None:
        """Draw another run's curves beside those that are shown."""
        worker = create_worker(_read_history, run)
        worker.returned.connect(
            lambda history: self.curve.add_all((e for e in history[1][0] if isinstance(e, Metric)), run.name)
        )
        worker.start()

    def rename(self) -> None:
        """Ask for another name of the chosen run."""
        run = self.runs.run
        name = None if run is None else questions.ask_name(self, run.name)
        if run is None or name is None or name == run.name:
            return
        with self.errors_shown():
            renamed = run.rename(name)
            self._followed = [renamed if one == run else one for one in self._followed]
            self.refresh_runs()
            self.runs.choose(renamed)
            self.show_run(renamed)

    def delete(self) -> None:
        """Delete the chosen run, if the user is sure; never one that is being done."""
        run = self.runs.run
        if run is None:
            return
        if run.state in LIVE:
            show_error(f"The run {run.name} is {run.state}: stop it before it is deleted.")
        elif questions.ask_delete(self, run.name):
            self.runs.choose(None)
            self.show_run(None)
            worker = create_worker(_delete, run)
            worker.returned.connect(self._on_deleted)
            worker.start()

    def open_folder(self) -> None:
        """Show the chosen run's folder in the system's file manager."""
        if self.runs.run is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.runs.run.path)))

    def follow(self, folder: Path | None = None) -> None:
        """Follow a training in any folder, such as one that a cluster writes; None asks which."""
        folder = folder or questions.ask_folder(self, "Folder of a training (with run.json)")
        if folder is None:
            return
        with self.errors_shown():
            run = Run.open(folder)
            if not isinstance(run.request, TrainRequest):
                raise BrainDiffusionError(f"{folder} is no training: its job is {run.request.job}.")
            self._followed.append(run)
            self.refresh_runs()
            self.runs.choose(run)
            self.show_run(run)

    def show_run(self, run: Run | None) -> None:
        """Show a run: its settings, its losses so far, and what comes if it is running. None: a new one."""
        if self.job is not None and self.job.run != run:
            self.job.leave()
            self.job = None
        elif self.job is not None:
            return
        self.curve.clear_curves()
        self.progress.rest(" ")
        self._look.stop()
        self._offer()
        self.emerging.choose(run)
        self._say_what_start_does(None)
        self.form.setEnabled(run is None)
        if run is None:
            self._ask_what_it_takes()
            return
        self._quiet()
        if isinstance(run.request, TrainRequest):
            self.form.show_request(run.request)
        self.start_button.setEnabled(False)
        # A long history takes a moment to read: not here.
        self._reading = create_worker(_read_history, run)
        self._reading.returned.connect(self._on_history)
        self._reading.start()

    # How it ends

    def may_close(self) -> bool:  # noqa: D102 the base class says it
        if self.job is None:
            return True
        docked = self.parentWidget() is not None
        answer = questions.ask_on_close(self.window() if docked else None, self.job.run.name, may_stay=docked)
        if answer is questions.OnClose.STOP:
            self.job.cancel()
        return answer is not questions.OnClose.STAY

    def release(self) -> None:  # noqa: D102 the base class says it
        self._look.stop()
        self.estimating.close()
        self.emerging.close()
        if self.job is not None:
            self.job.leave()
            self.job = None

    def apply_theme(self, background: str, text: str) -> None:  # noqa: D102 the base class says it
        self.curve.set_theme(background, text)

    # What is heard

    def _on_history(self, history: tuple[Run, History]) -> None:
        run, (events, offset, state) = history
        if run != self.runs.run or self.job is not None:
            return
        metrics = [event for event in events if isinstance(event, Metric)]
        self.curve.add_all(metrics)
        started = next((event for event in reversed(events) if isinstance(event, Started)), None)
        self.emerging.look()
        self._say_what_start_does(state)
        if state in LIVE and started is not None:
            self._attach(follow_training(run, offset, started))
            if state is RunState.PAUSED:
                self._on_paused(True)
            return
        self._offset = offset
        self._look.start()
        last = events[-1] if events else None
        self.progress.rest(
            last.message if isinstance(last, Finished | Failed) and last.message else f"This run is {state}."
        )

    def _attach(self, job: JobHandle) -> None:
        self.job = job
        self._warnings = 0
        job.progress.connect(self._on_progress)
        job.metric.connect(lambda event: self.curve.add(event.stage, event.step, event.values))
        job.artifact.connect(self._on_artifact)
        job.paused.connect(self._on_paused)
        job.warned.connect(self._on_warned)
        job.finished.connect(lambda event: self._on_ended(event.message or "Finished."))
        job.cancelled.connect(lambda _: self._on_ended("Stopped. The checkpoint is kept: Resume goes on from it."))
        job.failed.connect(self._on_failed)
        self.form.setEnabled(False)
        self.start_button.setEnabled(False)
        self.progress.begin("Starting …")

    def _on_progress(self, event: Progress) -> None:
        self.progress.show_progress(event.stage, event.step, event.total, event.seconds_left, event.message)

    def _on_artifact(self, event: ArtifactWritten, volume: Volume | None) -> None:
        if event.kind == "preview":
            self.emerging.look()  # it reads all that are new, also those that came too fast to be told

    def _on_paused(self, paused: bool) -> None:
        message = "Paused. Its memory stays taken; Go on continues at once, Stop frees it." if paused else "Going on …"
        self.progress.show_paused(paused=paused, message=message)

    def _look_again(self) -> None:
        """Has somebody else (a terminal, a cluster) begun the run that is shown?"""
        run = self.runs.run
        if run is not None and self.job is None:
            worker = create_worker(_begun_again, run, self._offset)
            worker.returned.connect(lambda begun: self.show_run(run) if begun and self.job is None else None)
            worker.start()

    def _on_deleted(self, problem: str) -> None:
        if problem:
            show_error(problem)
        self.refresh_runs()

    def _offer(self) -> None:
        chosen = self.runs.run
        self.menu.set_runs(chosen, [run for run in self.runs.runs if run != chosen])

    def _quiet(self) -> None:
        self._look.stop()
        self.estimating.stop()
        self.estimate.say("")

    def _ask_what_it_takes(self) -> None:
        self._quiet()
        request = self.form.request()
        if request is None or self.runs.run is not None or self.job is not None:
            return
        if (request.data / "zarr.json").is_file():
            self.estimating.ask(settings().applied_to(request))

    def _on_warned(self, event: Warned) -> None:
        self._warnings += 1
        if self._warnings <= MANY_WARNINGS:
            show_warning(f"{event.subject}: {event.message}" if event.subject else event.message)
        elif self._warnings == MANY_WARNINGS + 1 and self.job is not None:
            show_warning(f"There are more warnings; all of them are in {self.job.run.events_file}.")

    def _on_failed(self, message: str) -> None:
        self._on_ended("It failed.")
        show_error(message)

    def _on_ended(self, message: str) -> None:
        run = self.job.run if self.job is not None else None
        self.job = None
        self.progress.rest(message)
        self.refresh_runs()
        self._say_what_start_does(run.state if run is not None else None)

    def _say_what_start_does(self, state: RunState | None) -> None:
        self.start_button.setText("Start" if state is None else "Resume")
        self.start_button.setEnabled(state is None or state in RESUMABLE)
        match state:
            case None:
                tooltip = "Start a training in the background, with these settings."
            case RunState.FINISHED:
                tooltip = "This run has learnt all it was asked to; choose New training above for another."
            case _:
                tooltip = "Go on from the last checkpoint of this run."
        self.start_button.setToolTip(tooltip)

    def _copy(self) -> None:
        request = self.form.request()
        if request is None:
            show_error("Choose what to train on first: a prepared cohort (.zarr) or a folder of volumes.")
            return
        run = self.runs.run
        command = as_command(settings().applied_to(request))
        if run is not None:
            command = shlex.join(["braindiffusion", "train", "--resume", str(run.path)])
        QApplication.clipboard().setText(command)
        show_info(f"Copied: {command}")


def _read_history(run: Run) -> tuple[Run, History]:
    """In a worker thread."""
    state = run.state  # before the events: a run that ends in between is seen to end by whoever follows it
    events, offset = run.read_events()
    return run, (events, offset, state)


def _begun_again(run: Run, offset: int) -> bool:
    """In a worker thread."""
    try:
        events, _ = run.read_events(offset)
    except OSError:  # a shared disk that does not answer now
        return False
    return any(isinstance(event, Started) for event in events)


def _delete(run: Run) -> str:
    """In a worker thread. What went wrong, in one sentence."""
    try:
        run.delete()
    except BrainDiffusionError as error:
        return str(error)
    return ""
