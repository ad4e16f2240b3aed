"""Brains beside each other: one box each, one cursor, one contrast, and the middles of the brains in one place.

A scanner has its own idea of where zero is, so two heads seldom lie at the same millimetres. While they are compared,
each brain but the first is shown where its middle meets that of the first; the layer's metadata say by how much, so a
file that is saved meanwhile says where the brain really is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Labels, Layer
from napari.utils.events import Event
from napari.viewer import Viewer

from braindiffusion.errors import BrainDiffusionError
from napari_braindiffusion.layers.geometry import DISPLAY_TO_WORLD, SHOWN_AWAY, place_of
from napari_braindiffusion.orthoviews.rendering import is_volume_rendered

ALIKE = 2.0
"""Ranges that differ by less than this factor are taken to be in the same unit."""
HIGH = 99.5
"""Percentile of what is above the lowest that counts as the brightest."""
SAMPLE = 64
"""Voxels looked at along each axis: enough for a percentile and a middle, cheap for any volume."""

Range = tuple[float, float]


@dataclass
class _Brain:
    """An image and the labels that lie on its grid."""

    image: Image
    labels: list[Labels] = field(default_factory=list)
    moved: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    added: list[Labels] = field(default_factory=list)
    """Labels that were added on its grid while it was compared, such as a mask to paint: they move with it."""

    @property
    def layers(self) -> list[Layer]:
        return [self.image, *self.labels]


class SideBySide:
    """Shows brains beside each other until it is ended.

    Args:
        viewer: Where they are.
        images: Two or more, the first is the one that the others are laid upon.
        together: Whether the middles of the brains shall meet.
    """

    def __init__(self, viewer: Viewer, images: Sequence[Image], *, together: bool = True) -> None:
        self._viewer = viewer
        grid = viewer.canvas.grid
        self._before = list(viewer.layers), grid.enabled, grid.stride, grid.shape
        self._visible = {layer: layer.visible for layer in viewer.layers}
        self._contrast = {image: tuple(image.contrast_limits) for image in images}
        labels = [layer for layer in viewer.layers if isinstance(layer, Labels) and layer.visible]
        self.brains = _grouped(images, labels)
        self._ranges = common_ranges([image.data for image in images])
        self._same = False
        self._arrange()
        for image in self._contrast:
            image.events.contrast_limits.connect(self._on_contrast)
        self._share_contrast(images[0])
        if together:
            self.align_centers()

    def align_centers(self) -> None:
        """Show each brain where its middle meets that of the first."""
        self._adopt()
        first = middle(self.brains[0].image)
        for brain in self.brains[1:]:
            _move(brain, first - middle(brain.image))
        self._viewer.reset_view()

    def restore_positions(self) -> None:
        """Show each brain at its own millimetres."""
        self._adopt()
        for brain in self.brains:
            _move(brain, -brain.moved)
        self._viewer.reset_view()

    def end(self) -> None:
        """Everything as it was before."""
        viewer, (order, enabled, stride, shape) = self._viewer, self._before
        self._adopt()
        for brain in self.brains:
            _move(brain, -brain.moved)
        for image, limits in self._contrast.items():
            image.events.contrast_limits.disconnect(self._on_contrast)
            image.contrast_limits = limits
        _show(self._visible)
        _put_in_order(viewer, [layer for layer in order if layer in viewer.layers])
        viewer.canvas.grid.update({"enabled": enabled, "stride": stride, "shape": shape})
        viewer.reset_view()

    def _arrange(self) -> None:
        """A box for each: napari fills its boxes from below, with so many layers each."""
        viewer = self._viewer
        sizes = [len(brain.layers) for brain in self.brains]
        if sizes[:-1] != [sizes[0]] * (len(sizes) - 1) or sizes[-1] > sizes[0]:
            for brain in self.brains:  # boxes of unequal size: the labels would slip into the next one
                brain.labels.clear()
        shown = [layer for brain in self.brains for layer in brain.layers]
        _put_in_order(viewer, shown)
        _show({layer: layer in shown for layer in viewer.layers})
        grid = viewer.canvas.grid
        stride = len(self.brains[0].layers)
        shape = (1, len(self.brains)) if len(self.brains) < 4 else (-1, -1)
        grid.update({"stride": stride, "shape": shape, "enabled": True})
        viewer.reset_view()

    def _adopt(self) -> None:
        """Find the labels that were added meanwhile on the grid of a brain."""
        known = [*self._before[0], *(layer for brain in self.brains for layer in brain.added)]
        for layer in self._viewer.layers:
            if isinstance(layer, Labels) and layer not in known:
                owners = [brain for brain in self.brains if _same_grid(brain.image, layer)]
                owner = next((one for one in owners if place_of(layer) in ({}, place_of(one.image))), None)
                if owner is not None:
                    layer.metadata = {**layer.metadata, **place_of(owner.image)}
                    owner.added.append(layer)

    def _on_contrast(self, event: Event) -> None:
        if not self._same:
            self._share_contrast(event.source)

    def _share_contrast(self, leader: Image) -> None:
        """Set the contrast limits of the other images to the same share of their range."""
        self._same = True
        low, high = self._ranges[self._place(leader)]
        shares = [(limit - low) / (high - low) for limit in leader.contrast_limits]
        for image in self._contrast:
            if image is not leader:
                low, high = self._ranges[self._place(image)]
                image.contrast_limits = [low + share * (high - low) for share in shares]
        self._same = False

    @property
    def is_whole(self) -> bool:
        """Whether all that it compares is still there."""
        return all(layer in self._viewer.layers for brain in self.brains for layer in brain.layers)

    def _place(self, image: Image) -> int:
        return list(self._contrast).index(image)


def chosen(viewer: Viewer) -> list[Image]:
    """The images that are meant: those selected if there are two, else all visible ones; the lowest first.

    Raises:
        BrainDiffusionError: there are fewer than two.
    """
    images = [
        layer
        for layer in viewer.layers
        if is_volume_rendered(layer) and layer.ndim in (3, 4) and not layer.multiscale and not layer.rgb
    ]
    selected = [image for image in images if image in viewer.layers.selection]
    found = selected if len(selected) > 1 else [image for image in images if image.visible]
    if len(found) < 2:
        raise BrainDiffusionError("Select two brains in the layer list (Ctrl+click) to compare them.")
    return found


def common_ranges(arrays: Sequence[Any]) -> list[Range]:
    """Darkest and brightest of each brain; the same for all where they are in the same unit."""
    ranges = [_range(_thinned(array)) for array in arrays]
    low, high = ranges[0]
    sizes = [top - bottom for bottom, top in ranges]
    alike = max(sizes) < ALIKE * min(sizes) and all(abs(bottom - low) < min(sizes) / ALIKE for bottom, _ in ranges)
    return [(low, high)] * len(ranges) if alike else ranges


def middle(image: Image) -> npt.NDArray[np.float64]:
    """(3,): centre of mass of the brain as it is shown, in millimetres."""
    data = _thinned(image.data)
    weight = data - data.min()
    if not weight.any():
        weight = np.ones_like(weight)
    steps = [max(1, size // SAMPLE) for size in image.data.shape[-3:]]
    centre = [
        float(np.average(np.arange(size) * step, weights=weight.sum(axis=tuple({0, 1, 2} - {axis}))))
        for axis, (size, step) in enumerate(zip(weight.shape, steps, strict=True))
    ]
    return np.array(image.data_to_world((0,) * (image.ndim - 3) + tuple(centre))[-3:])


def _thinned(data: Any) -> npt.NDArray[np.float32]:
    """(x, y, z): few voxels of a volume; of several, the last."""
    volume = data
    while len(volume.shape) > 3:
        volume = volume[-1]
    thin = np.asarray(volume[tuple(slice(None, None, max(1, size // SAMPLE)) for size in volume.shape)], np.float32)
    known = np.isfinite(thin)
    return thin if known.all() else np.where(known, thin, thin[known].min() if known.any() else 0)


def _range(data: npt.NDArray[np.float32]) -> Range:
    low = float(data.min())
    above = data[data > low]
    high = float(np.percentile(above, HIGH)) if above.size else low
    return low, high if high > low else low + 1.0


def _grouped(images: Sequence[Image], labels: Sequence[Labels]) -> list[_Brain]:
    """Each image with the labels on its grid."""
    brains = [_Brain(image) for image in images]
    for layer in labels:
        owner = next((brain for brain in brains if _same_grid(brain.image, layer)), None)
        if owner is not None:
            owner.labels.append(layer)
    return sorted(brains, key=lambda brain: -len(brain.layers))


def _same_grid(one: Layer, other: Layer) -> bool:
    return (
        one.data.shape == other.data.shape
        and np.allclose(one.scale, other.scale)
        and np.allclose(one.translate, other.translate)
        and np.allclose(one.affine.affine_matrix, other.affine.affine_matrix)
    )


def _move(brain: _Brain, by: npt.NDArray[np.float64]) -> None:
    """Show a brain elsewhere; its metadata lead from there to its true place."""
    brain.moved = brain.moved + by
    back = np.eye(4)
    back[:3, 3] = -by
    for layer in (*brain.layers, *brain.added):
        own = np.linalg.solve(layer.affine.affine_matrix[-4:-1, -4:-1], by)  # the affine comes after it
        layer.translate = (*layer.translate[:-3], *(layer.translate[-3:] + own))
        metadata = dict(layer.metadata)
        if DISPLAY_TO_WORLD in metadata:
            metadata[DISPLAY_TO_WORLD] = (np.asarray(metadata[DISPLAY_TO_WORLD]) @ back).tolist()
        else:
            away = np.asarray(metadata.pop(SHOWN_AWAY, (0.0, 0.0, 0.0))) + by
            if not np.allclose(away, 0):
                metadata[SHOWN_AWAY] = away.tolist()
        layer.metadata = metadata


def _show(wanted: Mapping[Layer, bool]) -> None:
    """Napari slices a layer again at each assignment, even of the same value, so only changes are assigned."""
    for layer, visible in wanted.items():
        if layer.visible != visible:
            layer.visible = visible


def _put_in_order(viewer: Viewer, wanted: Sequence[Layer]) -> None:
    """These layers lowest in the list, in this order."""
    for place, layer in enumerate(wanted):
        now = viewer.layers.index(layer)
        if now != place:
            viewer.layers.move(now, place)
