"""A cohort as layers: volumes of a folder one by one; the prepared ones all in one, with a slider for the subject."""

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.utils.notifications import show_error
from napari.viewer import Viewer
from qtpy.QtCore import QObject, Qt, Signal

from braindiffusion.cohort.describe import Description
from braindiffusion.cohort.store import Cohort, Subject
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.volume import load_volume
from napari_braindiffusion.engine.threads import load_for_layers
from napari_braindiffusion.layers.canvas_text import CanvasText
from napari_braindiffusion.layers.display import set_axial_view
from napari_braindiffusion.layers.geometry import LayerData, region_features, volume_to_layer_data
from napari_braindiffusion.layers.lazy import ChunkReader, LazyVolumes
from napari_braindiffusion.layers.region_names import names_of_labels

AXES = ("subject", "x", "y", "z")
COHORT = "cohort"
"""Key of a layer's metadata: path of the prepared cohort that it shows."""


def read_subjects(descriptions: Sequence[Description]) -> Generator[LayerData | BrainDiffusionError]:
    """Volumes of a folder as layers, each followed by its labels; or what is wrong with a file. For `in_background`."""
    load_for_layers()
    for one in descriptions:
        try:
            yield volume_to_layer_data(load_volume(one.path), f"{one.subject} {one.modality or ''}".rstrip())
            if one.labels is not None:
                labels = volume_to_layer_data(load_volume(one.labels), f"{one.subject} regions", "labels", opacity=0.4)
                names = names_of_labels(np.unique(labels[0]))
                if names is not None:
                    labels[1]["features"] = region_features(names)
                yield labels
        except BrainDiffusionError as error:
            yield error


def open_cohort(path: Path) -> Generator[tuple[Cohort, dict[int, str] | None]]:
    """Yield a preprocessed cohort and the names of its regions, None where its labels are unknown. For `in_background`.

    Raises:
        BrainDiffusionError: there is none, or it is empty.
    """
    load_for_layers()
    cohort = Cohort.open(path)
    if not cohort.subjects:
        raise BrainDiffusionError(f"{path} holds no volumes yet: prepare them first.")
    labels = cohort.labels
    yield cohort, names_of_labels(np.unique(np.asarray(labels[0]))) if labels is not None else None


def show_cohort(viewer: Viewer, cohort: Cohort, regions: Mapping[int, str] | None = None) -> list[Layer]:
    """Show a prepared cohort: an image layer for each channel, (subject, x, y, z), and a labels layer if it has labels.

    Volumes are read as they are looked at, in a thread. Their boxes lie over each other, the middle at 0 mm.

    Args:
        viewer: Where to.
        cohort: Has one volume at least.
        regions: Names of the labels.

    Returns:
        The layers, the labels last.
    """
    return list(_Shown(viewer, cohort, regions).layers)


def in_words(subject: Subject, number: int, count: int) -> str:
    """A subject as a person reads it."""
    age = "" if subject.age is None else f"{subject.age:.1f} years"
    words = [subject.id, age, subject.sex or "", subject.site or "", f"{number + 1} of {count}"]
    return " · ".join(word for word in words if word)


class _Shown(QObject):
    """Lives as long as the layers do: their data know the readers, and those whom to tell."""

    _late = Signal(object)
    """A chunk came that was shown blank: its reader. (From the reading thread to the GUI thread.)"""

    _damaged = Signal(str)
    """A chunk is lost or damaged: a sentence."""

    def __init__(self, viewer: Viewer, cohort: Cohort, regions: Mapping[int, str] | None) -> None:
        super().__init__()
        self._viewer = viewer
        self._subjects = cohort.subjects
        self._text = CanvasText(viewer)
        self._damage: set[str] = set()
        first = not viewer.layers
        self.layers = self._make(cohort, regions)
        self._late.connect(self._refresh, Qt.ConnectionType.QueuedConnection)
        self._damaged.connect(self._show_damage, Qt.ConnectionType.QueuedConnection)
        for layer in self.layers:
            viewer.add_layer(layer)
            layer.events.visible.connect(self._tell)
        if first:
            set_axial_view(viewer)
            viewer.dims.set_point(0, 0)
        viewer.dims.axis_labels = (*viewer.dims.axis_labels[:-4], *AXES)
        self._events = (viewer.dims.events.point, viewer.layers.selection.events.active)
        for event in self._events:
            event.connect(self._tell)
        viewer.layers.events.removed.connect(self._on_removed)
        self._tell()

    def _make(self, cohort: Cohort, regions: Mapping[int, str] | None) -> list[Layer]:
        spacing = cohort.preprocessing.spacing
        grid = cohort.volumes.shape[-3:]
        place: dict[str, Any] = {
            "scale": (1, spacing, spacing, spacing),
            "translate": (0, *(-spacing * (n - 1) / 2 for n in grid)),
            "units": ("pixel", "mm", "mm", "mm"),
            "axis_labels": AXES,
            "metadata": {COHORT: str(cohort.path), "subjects": [subject.id for subject in cohort.subjects]},
        }
        name = cohort.path.stem
        volumes = self._reader(cohort.volumes)
        channels = cohort.preprocessing.channels if cohort.volumes.shape[1] > 1 else ("",)
        layers: list[Layer] = [
            Image(
                LazyVolumes(volumes, number, blank=-1),
                name=f"{name} {channel}".rstrip(),
                contrast_limits=(-1, 1),
                colormap="gray",
                **place,
            )
            for number, channel in enumerate(channels)
        ]
        if cohort.labels is not None:
            data = LazyVolumes(self._reader(cohort.labels))
            labels = Labels(data, name=f"{name} regions", opacity=0.4, **place)
            if regions is not None:
                labels.features = region_features(regions)
            labels.editable = False  # a prepared cohort is only read
            layers.append(labels)
        return layers

    def _reader(self, array: Any) -> ChunkReader:
        reader = ChunkReader(array, lambda _: self._late.emit(reader), self._damaged.emit)
        return reader

    def _show_damage(self, message: str) -> None:
        """Show once that a chunk is lost or damaged: it stays blank, which must not pass for an empty brain."""
        if message not in self._damage:
            self._damage.add(message)
            show_error(message)

    def _refresh(self, reader: ChunkReader) -> None:
        for layer in self.layers:
            if layer.data.reader is reader:
                layer.refresh(extent=False)

    def _tell(self, event: object = None) -> None:
        active = self._viewer.layers.selection.active
        seen = any(layer.visible for layer in self.layers) and (active is None or active in self.layers)
        if seen and self._viewer.dims.ndim > 3:  # the last layer that is 4D takes the slider with it
            number = min(max(round(self._viewer.dims.point[-4]), 0), len(self._subjects) - 1)
            self._text.write(in_words(self._subjects[number], number, len(self._subjects)))
        else:
            self._text.clear()

    def _on_removed(self, event: Any) -> None:
        if event.value not in self.layers:
            return
        layer = event.value
        self.layers.remove(layer)
        layer.events.visible.disconnect(self._tell)
        if not any(other.data.reader is layer.data.reader for other in self.layers):
            layer.data.reader.close()
        if not self.layers:
            for emitter in self._events:
                emitter.disconnect(self._tell)
            self._viewer.layers.events.removed.disconnect(self._on_removed)
            self._text.clear()
