"""Regions of a brain: coloured on its slices and as 3D surfaces, with name and volume under the pointer."""

from colorsys import hls_to_rgb

import numpy as np
import plotly.graph_objects as go

from braindiffusion.cohort.qc.labels import regions_in
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.figures.grey import Grey
from braindiffusion.figures.page import BUTTONS, style
from braindiffusion.figures.planes import ACROSS_AND_UP, PLANES, Row, lay_out, middles, trace_number
from braindiffusion.figures.slice_views import add_sliders
from braindiffusion.figures.surface import region_surface
from braindiffusion.regions import REGIONS, volumes_ml
from braindiffusion.volume import Volume

OPACITY = 0.55

FRAME_BYTES = 4_000_000
"""Bytes of all slices together; the surfaces need room on the page, too."""

SHAPE_SIDE = 96
"""Voxels of the longest side of the grid of the surfaces."""

_CORTEX = ("frontal", "parietal", "temporal", "occipital", "cingulate", "insular")
# A film over everything else, and what lies under all of the cortex: shapes that would hide, or be hidden.
_NO_SHAPE = ("sulcal csf", "left cerebral white matter", "right cerebral white matter")


def region_overlay(volume: Volume, labels: Volume, *, title: str = "", channel: int = 0) -> go.Figure:
    """Show the regions of a brain.

    Args:
        volume: The brain.
        labels: Its label map on the same grid: regions of `braindiffusion.regions`, DLMUSE or FreeSurfer.
        title: title of the figure.
        channel: channel of the volume that is shown.

    Returns:
        The figure: a shape for each region that is there and can be seen, called by its name; traces `sagittal
        overlay`, ... whose `meta` says what each value is called, for the page's pointer; the slices and frames of
        `slice_views`.

    Raises:
        BrainDiffusionError: the label map does not lie on the volume, has no region, or has values of no region.
    """
    if labels.shape != volume.shape or not np.allclose(labels.affine, volume.affine, atol=1e-3):
        msg = "The label map does not lie on the grid of the volume: resample it first."
        raise BrainDiffusionError(msg)
    try:
        regions = regions_in(labels)
    except BrainDiffusionError as error:
        raise BrainDiffusionError(f"The regions cannot be shown: {str(error).rstrip('.')}.") from error
    if not regions.any():
        msg = "The regions cannot be shown: the label map holds background only."
        raise BrainDiffusionError(msg)
    row = Row(Grey.of(volume, channel))
    regions_there = [region for region in REGIONS[1:] if (regions == region.index).any()]
    volumes = volumes_ml(regions, volume.spacing)
    texts = {region.index: f"{region.name}: {volumes[region.index]:.1f} ml" for region in regions_there}

    shown = regions[row.grey.box]
    figure = lay_out([row], scenes=True)
    for axis, (across, up) in enumerate(ACROSS_AND_UP):
        below = figure.data[trace_number(figure, f"{PLANES[axis]} 0")]
        figure.add_trace(
            go.Heatmap(
                x=row.grey.axes[across],
                y=row.grey.axes[up],
                z=row.plane(shown, axis, middles([row])[axis]),
                zmin=-0.5,
                zmax=len(REGIONS) - 0.5,
                colorscale=_colorscale(),
                showscale=False,
                opacity=OPACITY,
                name=f"{PLANES[axis]} overlay",
                meta={"names": [texts.get(region.index, "") for region in REGIONS]},
                hoverinfo="none",
                xaxis=below.xaxis,
                yaxis=below.yaxis,
            )
        )
    for region in regions_there:
        mask = shown == region.index
        if region.name not in _NO_SHAPE and mask.any():
            hull = region_surface(
                mask,
                row.grey,
                SHAPE_SIDE,
                name=region.name,
                color=region_colour(region.index),
                hovertemplate=f"{texts[region.index]}<extra></extra>",
            )
            figure.add_trace(hull, row=1, col=1)
    add_sliders(figure, [row], shown, most=FRAME_BYTES)
    _add_buttons(figure)
    style(figure, title)
    return figure


def region_colour(index: int) -> str:
    """Return the colour of a region, the same in every figure and on both sides of the brain."""
    tissue = REGIONS[index].tissue
    alike = list(dict.fromkeys(_sideless(region.name) for region in REGIONS if region.tissue == tissue))
    place = alike.index(_sideless(REGIONS[index].name))
    match tissue:
        case "csf":
            hue, lightness, saturation = 0.55 + 0.04 * place, 0.42, 0.6
        case "white":
            hue, lightness, saturation = 0.1 + 0.2 * place, 0.82, 0.3
        case _:  # steps of the golden ratio keep neighbours in the table far apart on the colour wheel
            hue, lightness, saturation = place * 0.618034 % 1, (0.5, 0.6, 0.7)[place % 3], 0.6
    red, green, blue = hls_to_rgb(hue, lightness, saturation)
    return f"rgb({red * 255:.0f}, {green * 255:.0f}, {blue * 255:.0f})"


def _sideless(name: str) -> str:
    return name.replace("left ", "").replace("right ", "")


def _add_buttons(figure: go.Figure) -> None:
    """Add buttons that show all surfaces, or the subcortical ones."""
    shapes = [number for number, trace in enumerate(figure.data) if trace.type == "mesh3d"]
    within = [not any(word in figure.data[number].name for word in _CORTEX) for number in shapes]
    buttons = [
        {"label": label, "method": "restyle", "args": [{"visible": visible}, shapes]}
        for label, visible in (("All regions", [True] * len(shapes)), ("Subcortical", within))
    ]
    place = {"x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom"}
    figure.update_layout(updatemenus=[{"buttons": buttons, **place, **BUTTONS}])


def _colorscale() -> list[tuple[float, str]]:
    """Return one flat colour for each region; none for background."""
    colours = ["rgba(0, 0, 0, 0)"] + [region_colour(region.index) for region in REGIONS[1:]]
    edges = np.linspace(0, 1, len(colours) + 1)
    return [(float(edge), colour) for i, colour in enumerate(colours) for edge in edges[i : i + 2]]
