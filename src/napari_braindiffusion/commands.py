"""Commands of menus, palette and keyboard that open a dock or act on layers."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import napari.viewer

    from napari_braindiffusion.io.figures import FigureName


def generate_brain(viewer: "napari.viewer.Viewer") -> None:
    """Open the Generate dock (File > New Layer)."""
    from napari_braindiffusion.docks.open import open_dock

    open_dock(viewer, "Generate")


def regenerate_brain(viewer: "napari.viewer.Viewer") -> None:
    """Generate the brain of the selected layer again, bit for bit."""
    from napari_braindiffusion.docks.open import open_dock

    open_dock(viewer, "Generate").regenerate()


def linked_planes(viewer: "napari.viewer.Viewer") -> None:
    """Open the Orthoviews dock (Layers > Visualize)."""
    from napari_braindiffusion.docks.open import open_dock

    open_dock(viewer, "Orthoviews")


def side_by_side(viewer: "napari.viewer.Viewer") -> None:
    """Show the selected brains side by side, or end that view (Layers > Visualize)."""
    from napari_braindiffusion.docks.open import open_dock

    dock = open_dock(viewer, "Orthoviews")
    dock.side_by_side(dock.compared is None)


def difference(viewer: "napari.viewer.Viewer") -> None:
    """Show the difference of two brains as a layer (Layers > Measure)."""
    from napari_braindiffusion.docks.open import open_dock

    open_dock(viewer, "Orthoviews").differ()


def in_3d(viewer: "napari.viewer.Viewer") -> None:
    """Render the brains in 3D, or return to planes (Layers > Visualize)."""
    from napari.utils.notifications import show_error

    from braindiffusion.errors import BrainDiffusionError
    from napari_braindiffusion.orthoviews.rendering import toggle_3d

    try:
        toggle_3d(viewer)
    except BrainDiffusionError as error:
        show_error(str(error))


def export_nifti(viewer: "napari.viewer.Viewer") -> None:
    """Export layers, or the brains of a folder or run, as NIfTI files with sidecars (File > IO Utilities)."""
    from napari_braindiffusion.io.export import ask_and_export

    ask_and_export(viewer, bids=False)


def export_bids(viewer: "napari.viewer.Viewer") -> None:
    """Export the same as a BIDS dataset (File > IO Utilities)."""
    from napari_braindiffusion.io.export import ask_and_export

    ask_and_export(viewer, bids=True)


def import_brains(viewer: "napari.viewer.Viewer") -> None:
    """Open the Cohort dock (File > IO Utilities)."""
    from napari_braindiffusion.docks.open import open_dock

    open_dock(viewer, "Cohort")


def evaluate_brains(viewer: "napari.viewer.Viewer") -> None:
    """Open the Evaluate dock (Layers > Measure)."""
    from napari_braindiffusion.docks.open import open_dock

    open_dock(viewer, "Evaluate")


def nearest_brain(viewer: "napari.viewer.Viewer") -> None:
    """Show the real brains nearest to the selected layer (Layers > Measure)."""
    from napari_braindiffusion.docks.open import open_dock

    open_dock(viewer, "Evaluate").find_nearest()


def _browse(figure: "FigureName", viewer: "napari.viewer.Viewer") -> None:
    from napari_braindiffusion.io.figures import open_in_browser

    open_in_browser(viewer, figure)


def browse_volume(viewer: "napari.viewer.Viewer") -> None:
    """Show the selected brain as a surface in the browser (Layers > Visualize)."""
    _browse("volume", viewer)


def browse_slices(viewer: "napari.viewer.Viewer") -> None:
    """Show the selected brain in three planes with sliders in the browser (Layers > Visualize)."""
    _browse("slices", viewer)


def browse_regions(viewer: "napari.viewer.Viewer") -> None:
    """Show the selected brain with its Labels layer in the browser (Layers > Visualize)."""
    _browse("regions", viewer)


def browse_trajectory(viewer: "napari.viewer.Viewer") -> None:
    """Show the selected denoising trajectory in the browser (Layers > Visualize)."""
    _browse("process", viewer)


def browse_comparison(viewer: "napari.viewer.Viewer") -> None:
    """Compare two to four brains in the browser (Layers > Visualize)."""
    _browse("compare", viewer)


def segment_layer(viewer: "napari.viewer.Viewer") -> None:
    """Segment the selected image into regions, with a table of their volumes (Layers > Segment)."""
    from napari_braindiffusion.docks.open import open_dock

    open_dock(viewer, "Region volumes").segment()


def region_volumes(viewer: "napari.viewer.Viewer") -> None:
    """Show the region volumes of the selected Labels layer (Layers > Measure)."""
    from napari.layers import Labels

    from napari_braindiffusion.docks.open import open_dock

    dock = open_dock(viewer, "Region volumes")
    if isinstance(viewer.layers.selection.active, Labels):
        dock.measure()


def overlay_layers(viewer: "napari.viewer.Viewer") -> None:
    """Resample oblique layers to RAS axes, so that all layers overlay (Layers > Transform)."""
    from napari_braindiffusion.layers.overlay import overlay

    overlay(viewer)


def show_tour(viewer: "napari.viewer.Viewer") -> None:
    """Start the guided tour."""
    from napari_braindiffusion.tour import begin_tour

    begin_tour(viewer)
