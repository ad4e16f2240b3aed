"""Brains in three planes, as pictures inside a page."""

import base64
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from braindiffusion.evaluation.measure import MeasuredGroups
from braindiffusion.evaluation.report.page import Gallery, Picture
from braindiffusion.runs.reports.evaluation import Memorization

BESIDE, WORST = 6, 4
"""Rows of pictures: of generated beside real brains, and of the worst."""

Pixels = NDArray[np.uint8]


def three_planes(voxels: NDArray[np.float32]) -> Pixels:
    """Axial, coronal and sagittal slices through the middle, side by side; left is left.

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
    """A picture as an address that holds it (PNG, 8 bits of grey)."""
    rows, columns = pixels.shape
    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    lines = np.pad(pixels, ((0, 0), (1, 0))).tobytes()  # each line begins with its filter: none
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return "data:image/png;base64," + base64.b64encode(png).decode()


def galleries(spaces: Sequence[Memorization], measured_groups: MeasuredGroups) -> list[Gallery]:
    """Generated beside real brains; those nearest to a training brain; those least like any real one.

    Args:
        spaces: the rulers of memorization; the first one chooses.
        measured_groups: reads brains again.
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
    found.append(Gallery(f"The worst: least like any real brain ({spaces[0].space})", rows))
    return found
