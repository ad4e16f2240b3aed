"""Open the docks (from the menu, the command palette, the tour or a script): one of each kind, as tabs of one area."""

from typing import Any

from napari.viewer import Viewer

from napari_braindiffusion.docks.base import Dock
from napari_braindiffusion.settings import PLUGIN


def open_dock(viewer: Viewer, name: str) -> Any:
    """Return the dock of a kind, shown in front; it is added as a tab where it is not open yet.

    Args:
        viewer: Its window holds the docks.
        name: Display name of the widget in the manifest, such as `Generate`.
    """
    for widget in viewer.window.dock_widgets.values():
        if isinstance(widget, Dock) and widget.name == name and not widget.has_ended:
            widget.bring_to_front()
            return widget
    return viewer.window.add_plugin_dock_widget(PLUGIN, name, tabify=True)[1]
