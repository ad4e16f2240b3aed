"""The Train dock: starts, shows, pauses, stops and resumes trainings.

A training lives in a process of its own (`training`), and all that the dock shows comes from the run's folder, so a run
of last week is drawn just as one that is running.
"""

from pathlib import Path

from napari.utils.notifications import show_error, show_warning
from napari.viewer import Viewer
from qtpy.QtWidgets import QHBoxLayout

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.models.registry import has_model
from braindiffusion.runs import (
    ArtifactWritten,
    Continued,
    Estimated,
    EstimateRequest,
    Event,
    Failed,
    Finished,
    Metric,
    Paused,
    Progress,
    Run,
    RunState,
    Started,
    TrainRequest,
    Warned,
)
from braindiffusion.runs.folder import LIVE
from braindiffusion.runs.launch_script import Launcher
from braindiffusion.volume import Volume
from napari_braindiffusion.docks.base import Dock, NextStepButton
from napari_braindiffusion.docks.choices import packaged_models
from napari_braindiffusion.docks.copy_command import copy_request, copy_words
from napari_braindiffusion.docks.open import open_dock
from napari_braindiffusion.docks.run_browser import RunBrowser
from napari_braindiffusion.engine.job import JobHandle
from napari_braindiffusion.engine.latest import LatestJob
from napari_braindiffusion.engine.stall import StallMonitor
from napari_braindiffusion.engine.threads import run_in_thread
from napari_braindiffusion.engine.trainings import (
    History,
    RestartMonitor,
    follow_training,
    read_history,
    start_training,
)
from napari_braindiffusion.layers.training_samples import TrainingSamples
from napari_braindiffusion.settings import settings
from napari_braindiffusion.widgets import dialogs as questions
from napari_braindiffusion.widgets.copy_button import CopyButton
from napari_braindiffusion.widgets.estimate_row import EstimateRow
from napari_braindiffusion.widgets.forms.train_form import TrainForm
from napari_braindiffusion.widgets.plots.training_plot import Curves
from napari_braindiffusion.widgets.progress_row import ProgressRow
from napari_braindiffusion.widgets.start_button import StartButton

MANY_WARNINGS = 3
"""Notifications at once; a folder of odd files has hundreds."""

ESTIMATE_PAUSE_MS = 1000
"""An estimate begins when the form has not changed for so many milliseconds."""
NO_DATA = "Choose what to train on first: a prepared cohort (.zarr) or a folder of volumes."


class TrainDock(Dock):
    """Data and settings; buttons to start, stop and resume; the loss; samples from time to time.

    Args:
        napari_viewer: Where samples appear.
    """

    name = "Train"
    has_plots = True

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer)
        self.job: JobHandle | None = None
        self._warnings = 0
        self._searched = False

        self.run_browser = RunBrowser()
        self.runs, self.menu = self.run_browser.list, self.run_browser.menu
        self.form = TrainForm()
        self.estimate = EstimateRow()
        self.estimating = LatestJob(self.engine, self, pause_ms=ESTIMATE_PAUSE_MS)
        self.training_samples = TrainingSamples(self._viewer, self)
        self.start_button = StartButton()
        self.copy_button = CopyButton("The same training")
        self.curve = Curves()
        self.progress = ProgressRow(
            "Stop",
            "Stops after this step and keeps a checkpoint, from which the training can be resumed.",
            "Pauses after this step. Memory stays in use, on the GPU too; Stop frees it.",
        )

        buttons = QHBoxLayout()
        buttons.addWidget(self.start_button, 1)
        buttons.addWidget(self.copy_button)
        self.rows.addWidget(self.run_browser)
        self.rows.addWidget(self.form)
        self.rows.addWidget(self.estimate)
        self.rows.addWidget(self.curve, 1)
        self.next_button = NextStepButton()
        self.next_button.setToolTip("Open the Generate dock with this model.")
        self.pinned.addLayout(buttons)
        self.pinned.addWidget(self.progress)
        self.pinned.addWidget(self.next_button)

        self.run_browser.chosen.connect(self.show_run)
        self.run_browser.compared.connect(self.compare)
        self.run_browser.refreshed.connect(self._on_looked)
        self.start_button.clicked.connect(lambda: self.start())
        self.copy_button.copy_requested.connect(self._copy)
        self.progress.stop_requested.connect(self.stop)
        self.progress.pause_requested.connect(self.pause)
        self.form.changed.connect(self._ask_what_it_takes)
        self.estimating.received.connect(self._on_estimated)
        self.estimating.failed.connect(self.estimate.say)
        self.estimate.apply_requested.connect(self.form.set_values)
        self.restart_monitor = RestartMonitor(self)
        self.restart_monitor.restarted.connect(self.show_run)
        self.stall_monitor = StallMonitor(self)
        self.stall_monitor.stalled.connect(self.progress.show_silence)
        self.run_browser.refresh()

    # What the user can ask for

    def start(self) -> None:
        """Start a new training with the settings of the form, or resume the chosen run."""
        if self.job is not None:
            return
        run = self.runs.run
        with self.errors_shown():
            if run is None:
                request = self.form.request()
                if request is None:
                    show_error(NO_DATA)
                    return
                run = Run.create(settings().applied_to(request), settings().runs_folder)
                self.curve.clear_curves()
                self.training_samples.choose(run)
            self._quiet()
            self._attach(start_training(run))
            self.run_browser.choose(run)
            self.run_browser.refresh()

    def use_data(self, path: Path) -> None:
        """Fill the form for a new training on this cohort or folder."""
        self.show_run(None)
        self.form.fields["data"].value = path

    def stop(self) -> None:
        """Stop the training after its step; a checkpoint is kept."""
        if self.job is not None:
            self.job.cancel()

    def pause(self, pause: bool) -> None:
        """Have the training hold between two steps, or go on."""
        if self.job is not None:
            run = self.job.run
            run.ask_to_pause() if pause else run.ask_to_go_on()

    def compare(self, run: Run, on: bool = True) -> None:
        """Draw another run's curves beside those that are shown, or take them away."""
        if not on:
            self.curve.forget(run.name)
            return
        shown = self.runs.run

        def draw(history: History) -> None:
            if not self.has_ended and self.runs.run == shown:
                self.curve.add_all((event for event in history[0] if isinstance(event, Metric)), run.name)

        run_in_thread(read_history, run, then=draw)

    def show_run(self, run: Run | None) -> None:
        """Show a run: its settings, its losses so far, and what comes if it is running. None: a new one."""
        if self.job is not None and self.job.run != run:
            self.job.leave()
            self.job = None
        elif self.job is not None:
            return
        self.curve.clear_curves()
        self.stall_monitor.stop()
        self.progress.rest()
        self.next_button.hide()
        self.restart_monitor.stop()
        self.run_browser.choose(run)
        self.training_samples.choose(run)
        self.start_button.show_state(None)
        self.form.setEnabled(run is None)
        if run is None:
            self._ask_what_it_takes()
            return
        self._quiet()
        if isinstance(run.request, TrainRequest):
            with self.errors_shown():
                self.form.set_values(run.request)
        self.start_button.setEnabled(False)
        run_in_thread(read_history, run, then=lambda history: self._on_history(run, history))  # may take long

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
        self.restart_monitor.stop()
        self.stall_monitor.stop()
        self.run_browser.close_for_good()
        self.estimating.close()
        self.training_samples.close()
        if self.job is not None:
            self.job.leave()
            self.job = None

    def apply_theme(self, background: str, text: str) -> None:  # noqa: D102 the base class says it
        self.curve.set_theme(background, text)

    # What is heard

    def _on_looked(self) -> None:
        trainings = self.run_browser.trainings
        own = [(one.run.name, str(one.run.path), str(one.run.path)) for one in trainings if one.has_model]
        self.form.set_models([*packaged_models(), *own])
        if not self._searched:  # a training that goes on since the last session is followed
            self._searched = True
            running = [one.run for one in trainings if one.state in LIVE]
            if running and self.job is None and self.runs.run is None and self.form.missing():
                self.show_run(running[0])

    def _on_history(self, run: Run, history: History) -> None:
        events, offset, state = history
        if self.has_ended or run != self.runs.run or self.job is not None:
            return
        metrics = [event for event in events if isinstance(event, Metric)]
        self.curve.add_all(metrics)
        started = next((event for event in reversed(events) if isinstance(event, Started)), None)
        self.training_samples.refresh()
        self.start_button.show_state(state)
        if state in LIVE and started is not None:
            self._attach(follow_training(run, offset, started))
            self.stall_monitor.restart(events[-1].time)
            self.progress.begin("Following …")
            if progress := next((event for event in reversed(events) if isinstance(event, Progress)), None):
                self.progress.show_event(progress)
            if state is RunState.PAUSED:
                self._on_paused(True)
            return
        self.restart_monitor.watch(run, offset)
        if state is RunState.FINISHED:
            self._offer_model(run)
        last = events[-1] if events else None
        self.progress.rest(
            last.message if isinstance(last, Finished | Failed) and last.message else f"This run is {state}."
        )

    def _attach(self, job: JobHandle) -> None:
        self.job = job
        self._warnings = 0
        self.stall_monitor.restart()
        job.event.connect(self._on_event)
        job.progress.connect(self.progress.show_event)
        job.silent.connect(self.progress.show_unresponsive)
        job.metric.connect(lambda event: self.curve.add(event.stage, event.step, event.values))
        job.artifact.connect(self._on_artifact)
        job.paused.connect(self._on_paused)
        job.warned.connect(self._on_warned)
        job.finished.connect(self._on_finished)
        job.cancelled.connect(
            lambda _: self._on_ended("Stopped. The checkpoint is kept: Resume goes on from it.", RunState.CANCELLED)
        )
        job.failed.connect(self._on_failed)
        self.form.setEnabled(False)
        self.start_button.setEnabled(False)
        self.progress.begin("Starting …")
        self.reveal(self.curve)

    def _on_event(self, event: Event) -> None:
        self.stall_monitor.restart()
        if isinstance(event, Started | Paused | Continued):
            self.run_browser.refresh()  # its list shows the state

    def _on_artifact(self, event: ArtifactWritten, volume: Volume | None) -> None:
        if event.kind == "preview":
            self.training_samples.refresh()  # it reads all that are new, also those that came too fast to be told

    def _on_paused(self, paused: bool) -> None:
        message = "Paused. Its memory stays taken; Resume continues at once, Stop frees it." if paused else "Resuming …"
        self.progress.show_paused(paused=paused, message=message)
        self.stall_monitor.stop() if paused else self.stall_monitor.restart()

    def _quiet(self) -> None:
        self.restart_monitor.stop()
        self.estimating.stop()
        self.estimate.say("")

    def _ask_what_it_takes(self) -> None:
        self._quiet()
        if self.runs.run is not None or self.job is not None:
            return
        try:
            request = self.form.request()
        except BrainDiffusionError as error:
            self.estimate.say(str(error))
            return
        if request is not None and request.data.suffix == ".zarr":  # a folder of volumes is prepared first
            self.estimating.ask(EstimateRequest(of=settings().applied_to(request)))
            self.estimate.say("Estimating memory and time …")

    def _on_estimated(self, event: Event) -> None:
        if isinstance(event, Estimated):
            self.estimate.show_estimate(event)
            self.form.show_defaults(event.defaults)

    def _on_warned(self, event: Warned) -> None:
        self._warnings += 1
        if self._warnings <= MANY_WARNINGS:
            show_warning(event.sentence)
        elif self._warnings == MANY_WARNINGS + 1 and self.job is not None:
            show_warning(f"There are more warnings; all of them are in {self.job.run.events_file}.")

    def _on_finished(self, event: Finished) -> None:
        run = self.job.run if self.job is not None else None
        self._on_ended(event.message or "Finished.", RunState.FINISHED)
        if run is not None:
            self._offer_model(run)

    def _offer_model(self, run: Run) -> None:
        if has_model(run):
            self.next_button.offer(
                "Generate with this model", lambda: open_dock(self._viewer, "Generate").use_model(run.path)
            )

    def _on_failed(self, message: str) -> None:
        self._on_ended(message, RunState.FAILED)
        show_error(message)

    def _on_ended(self, message: str, state: RunState) -> None:
        self.job = None
        self.stall_monitor.stop()
        self.progress.rest(message)
        self.run_browser.refresh()
        self.start_button.show_state(state)

    def _copy(self, launcher: Launcher) -> None:
        run = self.runs.run
        if run is not None:
            copy_words(["train", "--resume", str(run.path)], launcher)
            return
        with self.errors_shown():
            request = self.form.request()
            if request is None:
                show_error(NO_DATA)
            else:
                copy_request(request, launcher)
