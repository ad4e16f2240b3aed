"""Where two brains differ, as a layer over them: red where the first is brighter, blue where the second is."""

from collections.abc import Sequence
from pathlib import Path

from napari.layers import Image, Layer
from napari.utils import Colormap
from napari.utils.notifications import show_error
from napari.viewer import Viewer
from qtpy.QtCore import QObject, Signal

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs import ArtifactWritten, DifferenceRequest
from braindiffusion.runs.sidecar import read_sidecar
from braindiffusion.volume import Volume
from napari_braindiffusion.engine.client import EngineClient, JobHandle
from napari_braindiffusion.layers.display import show_volume
from napari_braindiffusion.layers.files import is_brain, write_layers
from napari_braindiffusion.orthoviews.rendering import DIFFERENCE

COLORS = Colormap(
    [[0.10, 0.25, 1.0, 1.0], [0.45, 0.65, 1.0, 0.5], [1.0, 1.0, 1.0, 0.0], [1.0, 0.6, 0.4, 0.5], [0.9, 0.1, 0.05, 1.0]],
    name="difference",
    display_name="difference",
)
"""Blue, clear where nothing differs so that the brain below is seen, red."""


class Differing(QObject):
    """Has an engine take one brain from another, and shows what is left.

    Args:
        viewer: Where the brains are.
        parent: Whose end is its own.
    """

    shown = Signal(object)
    """The layer."""
    ended = Signal()
    """Whatever became of it."""

    def __init__(self, viewer: Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._closed = False
        self.engine = EngineClient("look", parent=self)
        self.job: JobHandle | None = None

    def begin(self, images: Sequence[Image], *, together: bool) -> None:
        """Take the second of two images from the first. `ended` follows.

        Args:
            images: Two brains; the layers are written by a worker thread.
            together: Compare what is at the same distance from the middles of the brains, not at the same millimetres.

        Raises:
            BrainDiffusionError: they are not two brains.
        """
        if len(images) != 2 or not all(is_brain(image) for image in images):
            raise BrainDiffusionError("Select two brains, single volumes both, to see where they differ.")
        first, second = images
        name = f"{first.name} - {second.name}"
        write_layers(self._viewer, images, lambda paths: self._submit(paths, name, together))

    def close(self) -> None:
        """End the engine, and what it does."""
        self._closed = True
        if self.job is not None:
            self.job.leave()
        self.engine.close()

    def _submit(self, paths: list[Path] | None, name: str, together: bool) -> None:
        if self._closed:
            return
        if paths is None:
            self.ended.emit()
            return
        request = DifferenceRequest(first=paths[0], second=paths[1], align="centre" if together else "world")
        try:
            self.job = self.engine.submit(request)
        except BrainDiffusionError as error:
            show_error(str(error))
            self.ended.emit()
            return
        self.job.artifact.connect(lambda event, volume: self._show(event, volume, name))
        self.job.failed.connect(show_error)
        self.job.ended.connect(self._end)

    def _show(self, event: ArtifactWritten, volume: Volume | None, name: str) -> None:
        if volume is None:
            return
        told = read_sidecar(Path(event.path))
        layer: Layer = show_volume(self._viewer, volume, f"{name} ({told['unit']})", metadata={DIFFERENCE: told})
        layer.contrast_limits_range = layer.contrast_limits = (-told["limit"], told["limit"])
        layer.colormap = COLORS
        layer.blending = "translucent_no_depth"
        self.shown.emit(layer)

    def _end(self) -> None:
        self.job = None
        self.ended.emit()
