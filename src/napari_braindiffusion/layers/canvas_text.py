"""The line of text in a canvas, which cohorts, trajectories and sweeps share."""

from napari.viewer import Viewer


class CanvasText:
    """Writes into the line, and takes away only what it wrote itself.

    Args:
        viewer: Whose canvas it is.
    """

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._written = ""

    def write(self, text: str) -> None:
        """Show this text in place of any other."""
        overlay = self._viewer.canvas.overlays.text
        overlay.text = self._written = text
        overlay.position = "bottom_left"  # at the right its first letters are cut off
        overlay.visible = True

    def clear(self) -> None:
        """Hide the text, unless another one was written since."""
        overlay = self._viewer.canvas.overlays.text
        if self._written and overlay.text == self._written:
            overlay.visible = False
        self._written = ""
