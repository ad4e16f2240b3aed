"""Keyboard shortcuts: the key bindings of the manifest, bound in a viewer. napari 0.9 reads but does not bind them."""

from collections.abc import Callable

from napari.viewer import Viewer
from npe2 import PluginManager

from napari_braindiffusion.settings import PLUGIN


def bind_shortcuts(viewer: Viewer) -> None:
    """Bind the key bindings of the manifest in a viewer."""
    manager = PluginManager.instance()
    for binding in manager.get_manifest(PLUGIN).contributions.keybindings or ():
        key = binding.key.replace("Ctrl", "Control")
        viewer.bind_key(key, _runner(binding.command), overwrite=True)


def _runner(command: str) -> Callable[[Viewer], None]:
    """Return a function, since napari asks what is bound to a key for its `__name__`."""

    def run(viewer: Viewer) -> None:
        PluginManager.instance().commands.execute(command, (viewer,))

    return run
