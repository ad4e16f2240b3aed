"""Keyboard shortcuts: the key bindings of the manifest, bound in a viewer. napari 0.9 reads but does not bind them."""

from functools import partial

from napari.viewer import Viewer
from npe2 import PluginManager

from napari_braindiffusion.settings import PLUGIN


def bind_shortcuts(viewer: Viewer) -> None:
    """Bind the key bindings of the manifest in a viewer."""
    manager = PluginManager.instance()
    for binding in manager.get_manifest(PLUGIN).contributions.keybindings or ():
        key = binding.key.replace("Ctrl", "Control")
        viewer.bind_key(key, partial(_run, binding.command), overwrite=True)


def _run(command: str, viewer: Viewer) -> None:
    PluginManager.instance().commands.execute(command, (viewer,))
