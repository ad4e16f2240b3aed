"""The Reproduce button: a menu about the selected layer, or a file."""

from pathlib import Path

from napari.viewer import Viewer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QMenu, QPushButton

from napari_braindiffusion.layers.reproduce import was_generated
from napari_braindiffusion.widgets.dialogs import open_path


class ReproduceButton(QPushButton):
    """Asks for a brain again, or for its settings, and opens its folder.

    Args:
        viewer: Whose selected layer the menu is about.
    """

    layer_requested = Signal()
    """Make the brain of the selected layer again."""
    file_requested = Signal(object)
    """Make the brain of this file again."""
    settings_requested = Signal()
    """Show the settings of the selected layer."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__("Reproduce")
        self.setToolTip("Generate a brain again, to the last bit, from a layer or a saved volume.")
        self._viewer = viewer
        menu = QMenu(self)
        self.layer_action = menu.addAction("Reproduce the selected layer", self.layer_requested.emit)
        self.file_action = menu.addAction("Reproduce from a file …", self._choose_file)
        self.settings_action = menu.addAction("Copy settings from layer", self.settings_requested.emit)
        self.folder_action = menu.addAction("Open the folder of the layer", self._open_folder)
        menu.aboutToShow.connect(self.update_menu)
        self.setMenu(menu)

    def update_menu(self) -> None:
        """Enable what can be done with the selected layer."""
        chosen = self._viewer.layers.selection.active
        for action in (self.layer_action, self.settings_action):
            action.setEnabled(was_generated(chosen))
        self.folder_action.setEnabled(chosen is not None and "path" in chosen.metadata)

    def _choose_file(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(
            self, "A generated brain", filter="Brains and their sidecars (*.nii *.nii.gz *.json)"
        )
        if chosen:
            self.file_requested.emit(Path(chosen))

    def _open_folder(self) -> None:
        open_path(Path(self._viewer.layers.selection.active.metadata["path"]).parent)
