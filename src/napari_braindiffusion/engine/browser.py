"""Figures of the selected layers that turn and explain themselves in the browser: Plotly, drawn by an engine."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from napari.layers import Image, Labels, Layer
from napari.utils.notifications import show_error, show_info
from napari.viewer import Viewer
from qtpy.QtCore import QObject, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QApplication

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs import Run, VisualizeRequest
from napari_braindiffusion.engine.layer_jobs import LayerJobs, Made
from napari_braindiffusion.layers.files import brains_among, is_brain

FigureName = Literal["volume", "slices", "compare", "process", "regions"]
MOST = 4
"""Brains beside each other."""


def open_in_browser(viewer: Viewer, figure: FigureName) -> "Drawing | None":
    """Draw a figure of the selected layers, and open its page as soon as it is there.

    Args:
        viewer: Whose layers are selected.
        figure: `volume` and `slices` take the active brain; `regions` a brain and its Labels layer; `process` a
            trajectory; `compare` two to four brains.

    Returns:
        The drawing on its way; None where the selection does not suit, which is told.
    """
    try:
        layers = _CHOOSE[figure](viewer)
    except BrainDiffusionError as error:
        show_error(str(error))
        return None
    return Drawing(viewer, figure, layers)


class Drawing(QObject):
    """One page on its way, with an engine process of its own that ends with it.

    Args:
        viewer: Where the layers are.
        figure: As `open_in_browser`.
        layers: In the order of the request's paths.
    """

    def __init__(self, viewer: Viewer, figure: FigureName, layers: Sequence[Layer]) -> None:
        super().__init__(QApplication.instance())
        self.page: Path | None = None
        self.jobs = LayerJobs(viewer, "figures", self)
        self.jobs.finished.connect(self._on_finished)
        self.jobs.failed.connect(self._on_failed)
        self.jobs.cancelled.connect(self._end)
        show_info("Drawing. The figure opens in the browser.")
        self.jobs.ask(layers, lambda paths: VisualizeRequest(figure=figure, paths=tuple(paths)))

    def _on_finished(self, run: Run, made: Made) -> None:
        ((event, _),) = made
        self.page = Path(event.path)
        QDesktopServices.openUrl(QUrl.fromLocalFile(event.path))
        self._end()

    def _on_failed(self, message: str) -> None:
        show_error(message)
        self._end()

    def _end(self) -> None:
        self.jobs.close()
        self.deleteLater()


def _one_brain(viewer: Viewer) -> list[Layer]:
    chosen = viewer.layers.selection.active
    if not is_brain(chosen):
        raise BrainDiffusionError("Select a layer that is one brain: a 3D image.")
    return [chosen]


def _trajectory(viewer: Viewer) -> list[Layer]:
    chosen = viewer.layers.selection.active
    if not isinstance(chosen, Image) or chosen.ndim != 4:
        raise BrainDiffusionError(
            "Select a layer that shows how a brain came into being: tick 'Keep the way from noise to brain' in the "
            "Generate dock."
        )
    return [chosen]


def _with_regions(viewer: Viewer) -> list[Layer]:
    """The selected brain with the selected label map; where no map is selected, with the first one that fits on it."""
    selected = [layer for layer in viewer.layers if layer in viewer.layers.selection]
    maps = [layer for layer in selected if isinstance(layer, Labels)]
    brains = brains_among(selected) or [
        layer for layer in brains_among(viewer.layers) if maps and _same_box(layer, maps[0])
    ]
    if brains and not maps:
        maps = [layer for layer in viewer.layers if isinstance(layer, Labels) and _same_box(layer, brains[0])]
    if not brains or not maps:
        raise BrainDiffusionError("Select a brain and the Labels layer of its regions.")
    return [brains[0], maps[0]]


def _several(viewer: Viewer) -> list[Layer]:
    """The selected brains; where fewer than two are selected, those that are visible."""
    for layers in (viewer.layers.selection, [layer for layer in viewer.layers if layer.visible]):
        chosen = brains_among(layer for layer in viewer.layers if layer in layers)
        if 2 <= len(chosen) <= MOST:
            return list(chosen)
    raise BrainDiffusionError(f"Select two to {MOST} brains to compare: 3D images.")


def _same_box(one: Layer, other: Layer) -> bool:
    return one.data.shape[-3:] == other.data.shape[-3:] and tuple(one.translate[-3:]) == tuple(other.translate[-3:])


_CHOOSE: dict[FigureName, Callable[[Viewer], list[Layer]]] = {
    "volume": _one_brain,
    "slices": _one_brain,
    "regions": _with_regions,
    "process": _trajectory,
    "compare": _several,
}
