"""Training samples: the samples that a training made of one seed, as one 4D layer, axes (sample, x, y, z).

The samples lie in the run's folder, so those of last week are shown as those that come now. They are read in a worker
thread into one file that is mapped into memory: the layer grows without a copy, and holds no memory of its own.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from napari.layers import Layer
from napari.qt.threading import FunctionWorker
from napari.viewer import Viewer
from qtpy.QtCore import QObject, Signal

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.files import PrivateFolder
from braindiffusion.runs import Run
from braindiffusion.volume import Volume, load_volume
from napari_braindiffusion.layers.display import selection_kept, show_trajectory

PATTERN = "sample_step_*.nii.gz"


class _Frames:
    """The samples of one run, one after the other in one file. Used by one worker at a time."""

    def __init__(self, run: Run, file: Path) -> None:
        self.run, self._file = run, file
        self.steps: list[int] = []
        self._known: set[str] = set()
        self._first: Volume | None = None

    def read_new(self) -> Volume | None:
        """Read what is new in the folder; all samples so far as one volume, or None where nothing is new."""
        before = len(self.steps)
        new = [path for path in sorted(self.run.results.glob(PATTERN)) if path.name not in self._known]
        for path in new:
            self._known.add(path.name)
            try:
                volume = load_volume(path)
            except BrainDiffusionError:
                self._known.discard(path.name)  # a file that a cluster's disk has not whole yet
                continue
            self._first = self._first or volume
            if volume.data[:1].shape == self._first.data[:1].shape:
                with self._file.open("ab") as file:
                    file.write(np.ascontiguousarray(volume.data[0], np.float32).tobytes())
                self.steps.append(int(path.name.split("_")[-1].split(".")[0]))
        if self._first is None or len(self.steps) == before:
            return None
        shape = (len(self.steps), *self._first.data.shape[1:])
        return replace(self._first, data=np.memmap(self._file, np.float32, "r", shape=shape))


class TrainingSamples(QObject):
    """Shows the samples of one run, and those that come.

    Args:
        viewer: Where the layer appears.
        parent: Whose end is its own.
    """

    shown = Signal(object)
    """The layer, each time it has grown."""

    def __init__(self, viewer: Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._folder = PrivateFolder()
        self._frames: _Frames | None = None
        self._worker: FunctionWorker[Volume | None] | None = None
        self._again = False
        self._count = 0
        self.layer: Layer | None = None

    def choose(self, run: Run | None) -> None:
        """Show the samples of another run from now on; the layer of the one before stays as it is."""
        self._count += 1
        self._frames = None if run is None else _Frames(run, Path(self._folder.name) / f"{self._count}.bin")
        self.layer = None

    def refresh(self) -> None:
        """Read new samples in a worker thread."""
        if self._frames is None:
            return
        if self._worker is not None:
            self._again = True
            return
        frames = self._frames
        self._worker = FunctionWorker(frames.read_new)
        self._worker.returned.connect(lambda volume: self._show(frames, volume))
        self._worker.finished.connect(self._on_read)
        self._worker.start()

    def close(self) -> None:
        """End for good. The layer keeps what it shows."""
        if self.layer is not None and self.layer in self._viewer.layers:
            self.layer.data = np.array(self.layer.data)
        self._frames = None
        self._folder.cleanup()

    def _on_read(self) -> None:
        self._worker = None
        if self._again:
            self._again = False
            self.refresh()

    def _show(self, frames: _Frames, volume: Volume | None) -> None:
        if volume is None or frames is not self._frames:
            return
        name = f"Training samples ({frames.run.name})"
        details = {"run": str(frames.run.path), "steps": list(frames.steps)}
        if self.layer is None or self.layer not in self._viewer.layers:
            with selection_kept(self._viewer):
                self.layer = show_trajectory(self._viewer, volume, name, metadata=details)
        else:
            before = self.layer.data.shape[0] - 1
            follows = self._viewer.dims.point[-4] >= before  # a view of the newest sample follows new ones
            self.layer.data = volume.data
            self.layer.metadata = {**self.layer.metadata, **details}
            if follows:
                self._viewer.dims.set_point(-4, float(len(frames.steps) - 1))
        self.shown.emit(self.layer)
