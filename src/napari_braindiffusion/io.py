"""What the manifest calls to open and to save: NIfTI and MGH in, NIfTI out."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from braindiffusion.nifti import READABLE_SUFFIXES
from braindiffusion.samples import region_names
from braindiffusion.volume import Volume, load_volume, save_volume
from napari_braindiffusion.first_look import look_upright_at_first
from napari_braindiffusion.layers import Kind, LayerData, layer_data_to_volume, region_features, volume_to_layer_data

# Names that say "regions" in BIDS (dseg), FreeSurfer (aseg, aparc, ...), DLMUSE and common habit.
_LABEL_NAME = re.compile(r"(dlmuse|dseg|aseg|aparc|wmparc|ribbon|(^|[-_.])(labels?|mask|seg)([-_.]|$))", re.IGNORECASE)


def get_reader(path: str | Sequence[str]) -> Callable[[str | Sequence[str]], list[LayerData]] | None:
    """Answer whether this path (or every one of several) can be read: a function that does, or None."""
    paths = [path] if isinstance(path, str) else list(path)
    if all(str(one).lower().endswith(READABLE_SUFFIXES) for one in paths):
        return read_volumes
    return None


def read_volumes(path: str | Sequence[str]) -> list[LayerData]:
    """One layer a file, in millimetres: labels where the file or its name says so, else an image.

    Raises:
        BrainDiffusionError: A file cannot be read as a volume; the sentence names it.
    """
    paths = [path] if isinstance(path, str) else path
    layers = [_read(Path(one)) for one in paths]
    look_upright_at_first()
    return layers


def write_image(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Save an Image layer as it is now, as `.nii.gz` or `.nii`.

    Raises:
        BrainDiffusionError: The layer is no volume, or the file cannot be written.
    """
    save_volume(layer_data_to_volume(data, attributes, "image", _viewer_layers()), path)
    return [path]


def write_labels(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Save a Labels layer as it is now, as `.nii.gz` or `.nii`, in the smallest integer type that holds it.

    The file says of itself that it holds labels (NIfTI intent), so it opens as labels again.

    Raises:
        BrainDiffusionError: The layer is no volume, or the file cannot be written.
    """
    import numpy as np

    volume = layer_data_to_volume(data, attributes, "labels", _viewer_layers())
    highest, lowest = int(volume.data.max()), int(volume.data.min())
    # uint32 and 64 bit integers are read by few tools: they come last.
    fitting = (t for t in (np.uint8, np.int16, np.int32) if np.iinfo(t).min <= lowest and highest <= np.iinfo(t).max)
    save_volume(volume, path, dtype=next(fitting, np.int64))
    return [path]


def stem(path: Path) -> str:
    """A file's name without what only says that it is a volume."""
    name = path.name
    suffix = next((s for s in READABLE_SUFFIXES if name.lower().endswith(s)), "")
    return name[: len(name) - len(suffix)]


def _viewer_layers() -> Sequence[Any]:
    """The layers beside the one that is saved."""
    from napari import current_viewer

    viewer = current_viewer()
    return list(viewer.layers) if viewer is not None else []


def _read(path: Path) -> LayerData:
    volume = load_volume(path)
    name = stem(path)
    if _kind(volume, name) == "image":
        return volume_to_layer_data(volume, name)
    # DLMUSE's values have the same meaning everywhere.
    named = {"features": region_features(region_names())} if "dlmuse" in name.lower() else {}
    return volume_to_layer_data(volume, name, "labels", **named)


def _kind(volume: Volume, name: str) -> Kind:
    if volume.data.dtype.kind not in "iu":
        return "image"
    return "labels" if volume.metadata.get("kind") == "labels" or _LABEL_NAME.search(name) else "image"
