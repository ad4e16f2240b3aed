"""Open the docks: one of each kind, as tabs of one area, whoever asks for it (menu, palette, tour or script)."""

from typing import TYPE_CHECKING, Literal, overload

from napari.viewer import Viewer

from napari_braindiffusion.docks.base import Dock
from napari_braindiffusion.settings import PLUGIN

if TYPE_CHECKING:
    from napari_braindiffusion.docks.cohort import CohortDock
    from napari_braindiffusion.docks.evaluate import EvaluateDock
    from napari_braindiffusion.docks.generate import GenerateDock
    from napari_braindiffusion.docks.orthoviews import OrthoviewsDock
    from napari_braindiffusion.docks.region_volumes import RegionVolumesDock
    from napari_braindiffusion.docks.train import TrainDock


@overload
def open_dock(viewer: Viewer, name: Literal["Cohort"]) -> "CohortDock": ...
@overload
def open_dock(viewer: Viewer, name: Literal["Train"]) -> "TrainDock": ...
@overload
def open_dock(viewer: Viewer, name: Literal["Generate"]) -> "GenerateDock": ...
@overload
def open_dock(viewer: Viewer, name: Literal["Evaluate"]) -> "EvaluateDock": ...
@overload
def open_dock(viewer: Viewer, name: Literal["Orthoviews"]) -> "OrthoviewsDock": ...
@overload
def open_dock(viewer: Viewer, name: Literal["Region volumes"]) -> "RegionVolumesDock": ...
@overload
def open_dock(viewer: Viewer, name: str) -> Dock: ...


def open_dock(viewer: Viewer, name: str) -> Dock:
    """Return the dock of a kind, shown in front; it is added as a tab where it is not open yet.

    Args:
        viewer: Its window holds the docks.
        name: Display name of the widget in the manifest, such as `Generate`.
    """
    for widget in viewer.window.dock_widgets.values():
        if isinstance(widget, Dock) and widget.name == name and not widget.has_ended:
            widget.bring_to_front()
            return widget
    dock: Dock = viewer.window.add_plugin_dock_widget(PLUGIN, name, tabify=True)[1]
    return dock
