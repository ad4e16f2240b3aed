"""What a menu or the palette calls that is neither a dock nor a file."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import napari.viewer


def generate_brain(viewer: "napari.viewer.Viewer") -> None:
    """File > New Layer > Generate a brain: open the dock that makes one."""
    viewer.window.add_plugin_dock_widget("napari-braindiffusion", "Generate")


def regenerate_brain(viewer: "napari.viewer.Viewer") -> None:
    """The palette: make the brain of the selected layer again, to the last bit."""
    _, dock = viewer.window.add_plugin_dock_widget("napari-braindiffusion", "Generate")
    dock.regenerate()


def export_nifti(viewer: "napari.viewer.Viewer") -> None:
    """File > IO Utilities: the selected layers, or the brains of a folder or a run, as NIfTI files with sidecars."""
    from napari_braindiffusion.exporting import ask_and_export

    ask_and_export(viewer, bids=False)


def export_bids(viewer: "napari.viewer.Viewer") -> None:
    """File > IO Utilities: the same as a BIDS dataset."""
    from napari_braindiffusion.exporting import ask_and_export

    ask_and_export(viewer, bids=True)


def import_brains(viewer: "napari.viewer.Viewer") -> None:
    """File > IO Utilities: open the dock that looks into a folder of brains."""
    viewer.window.add_plugin_dock_widget("napari-braindiffusion", "Cohort")


def show_tour(viewer: "napari.viewer.Viewer") -> None:
    """The guided tour, again."""
    from napari_braindiffusion.tour import begin_tour

    begin_tour(viewer)
