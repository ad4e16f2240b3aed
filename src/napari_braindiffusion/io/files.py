"""Readers and writers of the manifest: NIfTI and MGH in, NIfTI out, with sidecars."""

import math
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Layer
from napari.utils.notifications import show_info
from qtpy.QtCore import QTimer

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.example_data import dlmuse_names
from braindiffusion.nifti import READABLE_SUFFIXES
from braindiffusion.runs.sidecar import is_generated, read_sidecar, volume_stem
from braindiffusion.volume import Volume, load_volume, read_header
from napari import current_viewer
from napari_braindiffusion.engine.threads import (
    in_background,
    is_interactive,
    load_for_layers,
    needs_thread,
    show_message,
)
from napari_braindiffusion.layers.display import set_initial_view
from napari_braindiffusion.layers.files import PROVENANCE, SIDECAR, free_path, provenance_of, save_brain
from napari_braindiffusion.layers.geometry import (
    Kind,
    LayerData,
    layer_data_to_volume,
    region_features,
    volume_to_layer_data,
)
from napari_braindiffusion.layers.overlay import offer_overlay
from napari_braindiffusion.layers.region_names import names_beside

Opened = list[LayerData] | list[tuple[None]]
"""The result of a reader: layers, or napari's sign for none."""

# Names of label maps in BIDS (dseg), FreeSurfer (aseg, aparc, ...), DLMUSE, atlases and common habit.
_LABEL_NAME = re.compile(
    r"(dlmuse|dseg|aseg|aparc|wmparc|ribbon|parc(ellation)?([-_.]|$)|schaefer|desikan|destrieux|glasser"
    r"|(^|[-_.])(atlas|labels?|mask|seg(mentation)?|regions?|tissues?)([-_.]|$))",
    re.IGNORECASE,
)
_LABEL_KEYS = ("Atlas", "LabelMap", "Labels")
"""Keys of a BIDS sidecar that only a label map has."""


def get_reader(path: str | Sequence[str]) -> Callable[[str | Sequence[str]], Opened] | None:
    """Answer whether this path (or every one of several) can be read: a function that does, or None."""
    paths = [path] if isinstance(path, str) else list(path)
    if all(str(one).lower().endswith(READABLE_SUFFIXES) for one in paths):
        return read_volumes
    return None


def read_volumes(path: str | Sequence[str]) -> Opened:
    """One layer a file, in millimetres: labels where the file or its name says so, else an image.

    Large files that a user opens in the viewer are read in a worker thread: nothing is returned then, and their layers
    follow one by one. Of several files that a user opens, those that cannot be read are named, and the others open.

    Raises:
        BrainDiffusionError: A script opens a file that cannot be read as a volume; the sentence names it.
    """
    paths = [Path(path)] if isinstance(path, str) else [Path(one) for one in path]
    viewer = current_viewer()
    if viewer is None or not needs_thread(sum(_voxels(one) for one in paths)):
        layers = list(_readable(paths))
        if not layers:
            return [(None,)]
        set_initial_view(viewer)
        if viewer is not None:
            QTimer.singleShot(0, partial(offer_overlay, viewer))  # when the layers are in
        return layers

    def show(layer_data: LayerData) -> None:
        set_initial_view(viewer)
        viewer.add_layer(Layer.create(*layer_data))

    after = partial(offer_overlay, viewer)
    in_background(_read_each, paths, what="Opening", total=len(paths), done=show, after=after)
    return [(None,)]


def read_layer(path: Path) -> LayerData:
    """A file as a layer, with what its sidecar tells: as `provenance` where it was generated, else as `sidecar`.

    Raises:
        BrainDiffusionError: It cannot be read as a volume.
    """
    volume = load_volume(path)
    name = volume_stem(path)
    sidecar = read_sidecar(path)
    known: dict[str, Any] = {"metadata": {PROVENANCE if is_generated(sidecar) else SIDECAR: sidecar} if sidecar else {}}
    if _kind(volume, name, sidecar) == "image":
        return volume_to_layer_data(volume, name, **known)
    names = names_beside(path, name) or (dlmuse_names() if "dlmuse" in name.lower() else None)
    if names is not None:
        known["features"] = region_features(names)
    return volume_to_layer_data(volume, name, "labels", **known)


def write_image(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Save an Image layer as it is now, as `.nii.gz` or `.nii`, with what is known of its origin in a sidecar.

    A large one that a user saves in the viewer is written in a worker thread.

    Raises:
        BrainDiffusionError: The layer is no volume, or the file cannot be written.
    """
    return _write(path, data, attributes, "image")


def write_labels(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Save a Labels layer as it is now, as `.nii.gz` or `.nii`, in the smallest integer type that holds it.

    The file says of itself that it holds labels (NIfTI intent), so it opens as labels again.

    Raises:
        BrainDiffusionError: The layer is no volume, or the file cannot be written.
    """
    return _write(path, data, attributes, "labels")


def write_layers(path: str, layers: Sequence[LayerData]) -> list[str]:
    """Save several Image and Labels layers as they are now, each as a `.nii.gz` of its own.

    `scan.nii.gz` becomes `scan_NAME.nii.gz` for each layer NAME. Files that are there already stay.

    Raises:
        BrainDiffusionError: A layer is no volume, or a file cannot be written.
    """
    written: list[str] = []
    for data, attributes, layer_type in layers:
        kind: Kind = "labels" if layer_type == "labels" else "image"
        own = free_path(Path(path).parent, f"{volume_stem(Path(path))}_{attributes['name']}", written)
        written += _write(str(own), data, attributes, kind)
    return written


def _write(path: str, data: Any, attributes: Mapping[str, Any], layer_type: Kind) -> list[str]:
    viewer = current_viewer()
    volume = layer_data_to_volume(data, attributes, layer_type, viewer.layers if viewer is not None else ())
    sidecar = provenance_of(attributes.get("metadata") or {})
    if not needs_thread(volume.data.size):
        save_brain(volume, Path(path), sidecar)
        return [path]

    def say(saved: Path) -> None:
        show_info(f"Saved {saved.name}.")

    in_background(_save_one, volume, Path(path), sidecar, what="Saving", total=1, done=say)
    return [path]


def _save_one(volume: Volume, path: Path, sidecar: Mapping[str, Any]) -> Generator[Path]:
    yield save_brain(volume, path, sidecar)


def _readable(paths: Sequence[Path]) -> Generator[LayerData]:
    """Yield the files as layers. One that cannot be read raises in a script, and is shown where a user opens it."""
    for path in paths:
        try:
            yield read_layer(path)
        except BrainDiffusionError as error:
            if not is_interactive():
                raise
            show_message(error)


def _read_each(paths: Sequence[Path]) -> Generator[LayerData | BrainDiffusionError]:
    load_for_layers()
    for path in paths:
        try:
            yield read_layer(path)
        except BrainDiffusionError as error:
            yield error


def _voxels(path: Path) -> int:
    """Return the number of voxels; 0 for a file that cannot be read, which is reported when it is opened."""
    try:
        header = read_header(path)
    except BrainDiffusionError:
        return 0
    return math.prod(header.shape) * header.channels


def _kind(volume: Volume, name: str, sidecar: Mapping[str, Any]) -> Kind:
    """Return `labels` for whole numbers where header, name or sidecar says so."""
    labelled = volume.metadata.get("kind") == "labels" or any(key in sidecar for key in _LABEL_KEYS)
    if not labelled and not _LABEL_NAME.search(name):
        return "image"
    whole = volume.data.dtype.kind in "iu" or np.array_equal(volume.data, np.rint(volume.data))
    return "labels" if whole else "image"
