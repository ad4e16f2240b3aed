"""The list of trainings: choose, compare, rename, delete or follow one.

Their folders may lie on a slow network: they are only ever read and changed in worker threads.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QToolButton, QWidget

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.models.registry import has_model
from braindiffusion.runs import Run, RunState, TrainRequest, list_runs
from braindiffusion.runs.folder import LIVE
from napari_braindiffusion.engine.threads import run_in_thread
from napari_braindiffusion.settings import settings
from napari_braindiffusion.widgets import dialogs as questions
from napari_braindiffusion.widgets.forms.layout import form_layout
from napari_braindiffusion.widgets.run_list import RunList
from napari_braindiffusion.widgets.run_menu import RunMenu

Found = TypeVar("Found")


@dataclass(frozen=True)
class Training:
    """A run as it was found on the disk."""

    run: Run
    state: RunState
    has_model: bool


class RunBrowser(QWidget):
    """A list of runs, a button to look again, and a menu of what can be done with the chosen one."""

    chosen = Signal(object)
    """Run to show, or None for a new one: by the user, or since the one before was renamed or deleted."""
    compared = Signal(object, bool)
    """Run whose curves shall be drawn beside those of the chosen one, or shall no longer."""
    refreshed = Signal()
    """The list was read again."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.list = RunList()
        self.list.setMinimumContentsLength(9)  # two buttons want their place in 300 pixels
        self.list.setToolTip(
            "Begin a new training, look at an earlier one, resume it, or follow one that runs in the background."
        )
        self.reload_button = QToolButton(text="⟳")
        self.reload_button.setToolTip("Refresh the list of runs.")
        self.reload_button.setAccessibleName("Reload runs")
        self.menu = RunMenu()
        self.trainings: list[Training] = []
        self._followed: list[Run] = []
        self._compared: set[Run] = set()
        self._refreshes = 0
        self._closed = False
        row = QHBoxLayout()
        row.addWidget(self.list, 1)
        row.addWidget(self.reload_button)
        row.addWidget(self.menu)
        form = form_layout(self)
        form.addRow("&Run", row)
        form.labelForField(row).setBuddy(self.list)
        self.list.run_chosen.connect(self.chosen)
        self.reload_button.clicked.connect(lambda: self.refresh())
        self.menu.compared.connect(self._compare)
        self.menu.rename_requested.connect(self.rename)
        self.menu.delete_requested.connect(self.delete)
        self.menu.folder_requested.connect(self.open_folder)
        self.menu.follow_requested.connect(lambda: self.follow())

    def refresh(self) -> None:
        """List the trainings again. `refreshed` follows, unless another refresh begins before."""
        self._refreshes += 1
        number = self._refreshes

        def show(found: list[Training]) -> None:
            if number == self._refreshes:
                self._show(found)

        self._in_thread(find_trainings, settings().runs_folder, tuple(self._followed), then=show)

    def close_for_good(self) -> None:
        """Take no notice of what is still looked for."""
        self._closed = True

    def offer(self) -> None:
        """Offer in the menu what can be done with the run that is chosen now."""
        run = self.list.run
        self.menu.set_runs(run, [one for one in self.list.runs if one != run], self._compared)

    def choose(self, run: Run | None) -> None:
        """Choose a run, without telling; nothing is compared with it yet."""
        self.list.choose(run)
        self._compared.clear()
        self.offer()

    def rename(self) -> None:
        """Ask for another name of the chosen run."""
        run = self.list.run
        name = None if run is None else questions.ask_name(self, run.name)
        if run is not None and name is not None and name != run.name:
            self._in_thread(run.rename, name, then=lambda renamed: self._on_renamed(run, renamed))

    def delete(self) -> None:
        """Delete the chosen run, if the user is sure; never one that is being done."""
        run, state = self.list.run, self.list.state
        if run is None:
            return
        if state in LIVE:
            show_error(f"The run {run.name} is {state}: stop it before it is deleted.")
        elif questions.ask_delete(self, run.name):
            self._tell(None)
            self._in_thread(run.delete, settings().runs_folder, then=self._on_deleted)

    def open_folder(self) -> None:
        """Show the chosen run's folder in the system's file manager."""
        if self.list.run is not None:
            questions.open_path(self.list.run.path)

    def follow(self, folder: Path | None = None) -> None:
        """Follow a training in any folder, such as one that a cluster writes; None asks which."""
        folder = folder or questions.ask_folder(self, "Folder of a training (with run.json)")
        if folder is not None:
            self._in_thread(open_training, folder, then=self._on_followed)

    def _in_thread(self, work: Callable[..., Found], *args: Any, then: Callable[[Found], None]) -> None:
        """Work on the disk in a worker thread; nothing follows where the dock has been closed meanwhile."""
        run_in_thread(work, *args, then=lambda found: None if self._closed else then(found))

    def _show(self, found: list[Training]) -> None:
        self.trainings = found
        self.list.set_runs((one.run, one.state) for one in found)
        self.offer()
        self.refreshed.emit()

    def _compare(self, run: Run, on: bool) -> None:
        (self._compared.add if on else self._compared.discard)(run)
        self.compared.emit(run, on)

    def _on_renamed(self, run: Run, renamed: Run) -> None:
        self._followed = [renamed if one == run else one for one in self._followed]
        self._tell(renamed)
        self.refresh()

    def _on_deleted(self, freed: int) -> None:
        show_info(f"{freed / 1e6:.1f} MB were freed.")
        self.refresh()

    def _on_followed(self, run: Run) -> None:
        self._followed.append(run)
        self._tell(run)
        self.refresh()

    def _tell(self, run: Run | None) -> None:
        self.choose(run)
        self.chosen.emit(run)


def find_trainings(folder: Path, others: Sequence[Run] = ()) -> list[Training]:
    """The trainings in a folder of runs, and some others, newest first. For a worker thread."""
    runs = [run for run in list_runs(folder) if isinstance(run.request, TrainRequest)]
    runs += [run for run in others if run not in runs and run.path.is_dir()]
    return [Training(run, run.state, has_model(run)) for run in runs]


def open_training(folder: Path) -> Run:
    """The training in a folder. For a worker thread.

    Raises:
        BrainDiffusionError: there is none.
    """
    run = Run.open(folder)
    if not isinstance(run.request, TrainRequest):
        raise BrainDiffusionError(f"{folder} is no training: its job is {run.request.job}.")
    return run
