"""Interactive figures of the selected layers in the browser, drawn by an engine with Plotly."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from napari.layers import Image, Labels, Layer
from napari.utils.notifications import show_error, show_info
from napari.viewer import Viewer
from qtpy.QtWidgets import QApplication

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs import Run, VisualizeRequest
from napari_braindiffusion.engine.client import EngineClient
from napari_braindiffusion.layers.files import brains_among, is_brain
from napari_braindiffusion.layers.jobs import Artifacts, LayerJob
from napari_braindiffusion.widgets.dialogs import open_path

FigureName = Literal["volume", "slices", "compare", "process", "regions"]
MAX_COMPARED = 4
"""Largest number of volumes in one comparison."""


def open_in_browser(viewer: Viewer, figure: FigureName) -> LayerJob | None:
    """Draw a figure of the selected layers, and open its page when it is ready.

    Args:
        viewer: Its selected layers are drawn.
        figure: `volume` and `slices` take the active brain; `regions` a brain and its Labels layer; `process` a
            trajectory; `compare` two to four brains.

    Returns:
        The job; None where the selection does not suit, which is shown.
    """
    try:
        layers = _CHOOSE[figure](viewer)
    except BrainDiffusionError as error:
        show_error(str(error))
        return None
    job = LayerJob(viewer, EngineClient.shared(), QApplication.instance())
    EngineClient.shared(job)  # the page comes, also if all docks are closed meanwhile
    job.ended.connect(lambda: job.engine.release(job))
    job.finished.connect(_open_page)
    job.failed.connect(show_error)
    job.ended.connect(job.deleteLater)
    show_info("Drawing the figure; it opens in the browser.")
    job.ask(layers, lambda paths: VisualizeRequest(figure=figure, paths=tuple(paths)))
    return job


def _open_page(run: Run, artifacts: Artifacts) -> None:
    ((event, _),) = artifacts
    open_path(Path(event.path))


def _one_brain(viewer: Viewer) -> list[Layer]:
    chosen = viewer.layers.selection.active
    if not is_brain(chosen):
        raise BrainDiffusionError("Select a layer that is one brain: a 3D image.")
    return [chosen]


def _trajectory(viewer: Viewer) -> list[Layer]:
    chosen = viewer.layers.selection.active
    if not isinstance(chosen, Image) or chosen.ndim != 4:
        raise BrainDiffusionError(
            "Select a denoising trajectory: check 'Save denoising trajectory' in the Generate dock before sampling."
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
        if 2 <= len(chosen) <= MAX_COMPARED:
            return list(chosen)
    raise BrainDiffusionError(f"Select 2 to {MAX_COMPARED} brains to compare: 3D images.")


def _same_box(one: Layer, other: Layer) -> bool:
    return one.data.shape[-3:] == other.data.shape[-3:] and tuple(one.translate[-3:]) == tuple(other.translate[-3:])


_CHOOSE: dict[FigureName, Callable[[Viewer], list[Layer]]] = {
    "volume": _one_brain,
    "slices": _one_brain,
    "regions": _with_regions,
    "process": _trajectory,
    "compare": _several,
}
