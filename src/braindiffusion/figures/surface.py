"""Isosurfaces of a brain or of a region."""

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
from scipy import ndimage
from skimage.measure import marching_cubes

from braindiffusion.figures.grey import Grey, Grid

LIGHT = {
    "lighting": {"ambient": 0.3, "diffuse": 0.6, "specular": 0.05, "roughness": 0.8, "fresnel": 0.05},
    "lightposition": {"x": -30_000, "y": 80_000, "z": 80_000},  # beside the camera: gyri cast shades
}
CORTEX = 0.35
"""Intensity of the isosurface of a brain, unless another is given."""


def brain_surface(grey: Grey, longest: int, level: float = CORTEX, **style: object) -> go.Mesh3d:
    """Return the isosurface of an intensity: the cortex of a skull-stripped brain, the skin of a whole head.

    Args:
        grey: the volume.
        longest: voxels of the longest side; more are averaged down.
        level: intensity of the surface, at most half of the largest of the volume.
        style: more fields of the trace.
    """
    small = grey.averaged(longest)
    # A level above what a dim volume reaches would cut nothing.
    level = min(level, float(small.data.max()) / 2)
    return _mesh(small.data, level, small, {"color": "#d8c4b6", "hoverinfo": "skip"} | style)


def region_surface(mask: npt.NDArray[np.bool_], grey: Grey, longest: int, **style: object) -> go.Mesh3d:
    """Return the surface of one region, smoothed slightly to hide its voxels.

    Args:
        mask: (x, y, z), on the grid of `grey`; not empty.
        grey: grid that it lies on.
        longest: voxels of the longest side of the whole grid; of a finer one the triangles are made larger.
        style: more fields of the trace.
    """
    (box,) = ndimage.find_objects(mask.astype(np.uint8))
    step = -(-max(grey.data.shape) // longest)
    margin = 2 * step
    soft = ndimage.gaussian_filter(np.pad(mask[box].astype(np.float32), margin), 0.7 * step)
    x, y, z = (
        (axis[side.start] + spacing * np.arange(-margin, length - margin)).astype(np.float32)
        for axis, side, spacing, length in zip(grey.axes, box, grey.spacing, soft.shape, strict=True)
    )
    # A region one voxel thick is softened below a half.
    return _mesh(soft, min(0.5, float(soft.max()) / 2), Grey(soft, (x, y, z), grey.box), style, step)


def _mesh(data: Grid, level: float, where: Grey, style: dict[str, object], step: int = 1) -> go.Mesh3d:
    # Air around it closes the surface where the brain touches the edge of its box.
    vertices, faces, _, _ = marching_cubes(np.pad(data, 1), level, step_size=step)
    first = np.asarray([axis[0] for axis in where.axes])
    x, y, z = ((vertices - 1) * where.spacing + first).astype(np.float32).T
    i, j, k = faces.astype(np.uint16 if len(vertices) <= 1 << 16 else np.uint32).T  # half the page's size
    return go.Mesh3d(x=x, y=y, z=z, i=i, j=j, k=k, **LIGHT, **style)
