"""What a menu or the palette calls that is neither a dock nor a file."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import napari.viewer

    from napari_braindiffusion.docks.orthoviews import OrthoviewsDock


def generate_brain(viewer: "napari.viewer.Viewer") -> None:
    """File > New Layer > Generate a brain: open the dock that makes one."""
    viewer.window.add_plugin_dock_widget("napari-braindiffusion", "Generate")


def regenerate_brain(viewer: "napari.viewer.Viewer") -> None:
    """The palette: make the brain of the selected layer again, to the last bit."""
    _, dock = viewer.window.add_plugin_dock_widget("napari-braindiffusion", "Generate")
    dock.regenerate()


def linked_planes(viewer: "napari.viewer.Viewer") -> None:
    """Layers > Visualize: the other planes and a rendering beside the canvas, with one cursor."""
    _look(viewer)


def side_by_side(viewer: "napari.viewer.Viewer") -> None:
    """Layers > Visualize: the selected brains beside each other, or all as before."""
    dock = _look(viewer)
    dock.side_by_side(dock.compared is None)


def difference(viewer: "napari.viewer.Viewer") -> None:
    """Layers > Measure: where two brains differ, as a layer."""
    _look(viewer).differ()


def in_3d(viewer: "napari.viewer.Viewer") -> None:
    """Layers > Visualize: the brains rendered, or as planes again. Needs no dock."""
    from napari.utils.notifications import show_error

    from braindiffusion.errors import BrainDiffusionError
    from napari_braindiffusion.orthoviews.rendering import toggle_3d

    try:
        toggle_3d(viewer)
    except BrainDiffusionError as error:
        show_error(str(error))


def _look(viewer: "napari.viewer.Viewer") -> "OrthoviewsDock":
    _, dock = viewer.window.add_plugin_dock_widget("napari-braindiffusion", "Orthoviews")
    return dock


def export_nifti(viewer: "napari.viewer.Viewer") -> None:
    """File > IO Utilities: the selected layers, or the brains of a folder or a run, as NIfTI files with sidecars."""
    from napari_braindiffusion.layers.export import ask_and_export

    ask_and_export(viewer, bids=False)


def export_bids(viewer: "napari.viewer.Viewer") -> None:
    """File > IO Utilities: the same as a BIDS dataset."""
    from napari_braindiffusion.layers.export import ask_and_export

    ask_and_export(viewer, bids=True)


def import_brains(viewer: "napari.viewer.Viewer") -> None:
    """File > IO Utilities: open the dock that looks into a folder of brains."""
    viewer.window.add_plugin_dock_widget("napari-braindiffusion", "Cohort")


def evaluate_brains(viewer: "napari.viewer.Viewer") -> None:
    """Layers > Measure: open the dock that compares generated brains with real ones."""
    viewer.window.add_plugin_dock_widget("napari-braindiffusion", "Evaluate")


def nearest_brain(viewer: "napari.viewer.Viewer") -> None:
    """Layers > Measure: the real brains that are most like the selected layer, beside it."""
    _, dock = viewer.window.add_plugin_dock_widget("napari-braindiffusion", "Evaluate")
    dock.find_nearest()


def browse_volume(viewer: "napari.viewer.Viewer") -> None:
    """Layers > Visualize: the selected brain as a surface that turns."""
    from napari_braindiffusion.engine.browser import open_in_browser

    open_in_browser(viewer, "volume")


def browse_slices(viewer: "napari.viewer.Viewer") -> None:
    """Layers > Visualize: the selected brain in three planes with sliders."""
    from napari_braindiffusion.engine.browser import open_in_browser

    open_in_browser(viewer, "slices")


def browse_regions(viewer: "napari.viewer.Viewer") -> None:
    """Layers > Visualize: the selected brain with its Labels layer."""
    from napari_braindiffusion.engine.browser import open_in_browser

    open_in_browser(viewer, "regions")


def browse_trajectory(viewer: "napari.viewer.Viewer") -> None:
    """Layers > Visualize: the way from noise to brain, of the selected trajectory."""
    from napari_braindiffusion.engine.browser import open_in_browser

    open_in_browser(viewer, "process")


def browse_comparison(viewer: "napari.viewer.Viewer") -> None:
    """Layers > Visualize: two to four brains beside each other, with one slider."""
    from napari_braindiffusion.engine.browser import open_in_browser

    open_in_browser(viewer, "compare")


def show_tour(viewer: "napari.viewer.Viewer") -> None:
    """The guided tour, again."""
    from napari_braindiffusion.tour import begin_tour

    begin_tour(viewer)
