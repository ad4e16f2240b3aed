"""What a menu calls that is neither a dock nor a file."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import napari.viewer


def generate_brain(viewer: "napari.viewer.Viewer") -> None:
    """File > New Layer > Generate a brain: open the dock that makes one."""
    viewer.window.add_plugin_dock_widget("napari-braindiffusion", "Generate")
