"""Pictures of brains in three planes, for the page."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from braindiffusion.evaluation.measure import MeasuredGroups
from braindiffusion.evaluation.report.page import Gallery, Picture
from braindiffusion.runs.reports.evaluation import Memorization

BESIDE, WORST = 6, 4
"""Rows of pictures: pairs of generated and real brains, and the worst brains."""

Pixels = NDArray[np.uint8]


def three_planes(voxels: NDArray[np.float32]) -> Pixels:
    """Return axial, coronal and sagittal slices through the middle, side by side; left is left.

    Args:
        voxels: (x, y, z) in [0, 1].

    Returns:
        (rows, columns), 0 to 255.
    """
    x, y, z = (n // 2 for n in voxels.shape)
    planes = [voxels[:, :, z], voxels[:, y, :], voxels[x, :, :]]
    upright = [np.flip(plane.T, 0) for plane in planes]
    tallest = max(len(plane) for plane in upright)
    padded = [
        np.pad(plane, ((room := (tallest - len(plane)) // 2, tallest - len(plane) - room), (0, 0))) for plane in upright
    ]
    return np.asarray(np.clip(np.concatenate(padded, axis=1) * 255, 0, 255), np.uint8)


def data_uri(pixels: Pixels) -> str:
    """Return a picture as an address that holds it (PNG, 8 bits of grey)."""
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, "PNG")
    return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()


def galleries(spaces: Sequence[Memorization], measured_groups: MeasuredGroups) -> list[Gallery]:
    """Return pictures of generated and real brains, of those nearest to training brains, and of the worst.

    Args:
        spaces: results of the memorization test in each feature space; the first one chooses.
        measured_groups: the measured brains.
    """
    sources = {
        one.source.name: one.source
        for group in (measured_groups.training, measured_groups.held_out, measured_groups.generated)
        for one in group
    }

    def picture(name: str, caption: str) -> Picture:
        return Picture(f"{caption}: {name}", data_uri(three_planes(sources[name].read().voxels)))

    both = zip(measured_groups.generated[:BESIDE], measured_groups.held_out[:BESIDE], strict=False)
    found = [
        Gallery(
            "Generated (left) and real, held out (right)",
            [[picture(a.source.name, "generated"), picture(b.source.name, "real")] for a, b in both],
        )
    ]
    for space in spaces:
        rows = [
            [
                picture(near.generated, f"ratio {near.ratio:.2f}{', a copy' if near.copied else ''}"),
                picture(near.training, f"nearest training brain, {near.to_training:.3g}"),
                picture(near.held_out, f"nearest held-out brain, {near.to_held_out:.3g}"),
            ]
            for near in space.neighbours[:WORST]
        ]
        found.append(Gallery(f"Nearest to a training brain ({space.space})", rows))
    odd = sorted(spaces[0].neighbours, key=lambda near: -min(near.to_training, near.to_held_out))[:WORST]
    rows = [[picture(near.generated, "generated"), picture(near.training, "nearest training brain")] for near in odd]
    found.append(Gallery(f"Worst brains: least similar to any real one ({spaces[0].space})", rows))
    return found
