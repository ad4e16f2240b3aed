"""Layers as files that a request can name: written in a worker thread, once, and found again next year.

A layer is kept beside the runs under the hash of what it holds: a run that is repeated, or copied as a command, finds
the brain as it was.
"""

import hashlib
import json
import re
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.viewer import Viewer

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.volume import Volume
from napari_braindiffusion.engine.threads import in_background
from napari_braindiffusion.io.files import provenance_of, save_brain
from napari_braindiffusion.layers.geometry import layer_to_volume
from napari_braindiffusion.settings import settings

FOLDER = "layers"


@dataclass(frozen=True)
class _Outgoing:
    """A layer as it was when the user asked."""

    name: str
    volume: Volume
    told: dict[str, Any]


def is_brain(layer: Layer | None) -> TypeGuard[Image]:
    """Whether a layer is one brain: a 3D image, of one or of several channels."""
    if not isinstance(layer, Image) or layer.rgb:
        return False
    return layer.ndim == 3 or (layer.ndim == 4 and layer.axis_labels[0] == "channel")


def brains_among(layers: Iterable[Layer]) -> list[Image]:
    """Those that are one brain each."""
    return [layer for layer in layers if is_brain(layer)]


def write_layers(viewer: Viewer, layers: Sequence[Layer], done: Callable[[list[Path] | None], None]) -> None:
    """Write layers as they are now, with their provenance, in a worker thread.

    Args:
        viewer: Where they are.
        layers: Image or Labels; those of one name get numbers.
        done: Called in the GUI thread with a file for each layer, in their order; with None where one of them cannot
            be written, which is told.

    Raises:
        BrainDiffusionError: a layer cannot become a volume.
    """
    outgoing: list[_Outgoing] = []
    for layer in layers:
        volume = layer_to_volume(layer, viewer.layers)
        if isinstance(layer, Labels):  # somebody may paint on
            volume = replace(volume, data=volume.data.copy())
        outgoing.append(
            _Outgoing(_free(layer.name, {one.name for one in outgoing}), volume, provenance_of(layer.metadata))
        )
    folder = settings().runs_folder / FOLDER
    in_background(_write_all, outgoing, folder, what="Handing over layers", total=1, done=done)


def as_paths(viewer: Viewer, sources: Sequence[Layer | Path], done: Callable[[list[Path] | None], None]) -> None:
    """A path for each source: layers are written, as `write_layers` does it; without any, `done` is called at once.

    Raises:
        BrainDiffusionError: a layer cannot become a volume.
    """
    layers = [source for source in sources if isinstance(source, Layer)]

    def fill_in(files: list[Path] | None) -> None:
        written = iter(files or ())
        done(
            None if files is None else [next(written) if isinstance(one, Layer) else one.absolute() for one in sources]
        )

    if layers:
        write_layers(viewer, layers, fill_in)
    else:
        fill_in([])


def _write_all(outgoing: Sequence[_Outgoing], folder: Path) -> Generator[list[Path] | BrainDiffusionError | None]:
    try:
        yield [_kept(one, folder) for one in outgoing]
    except BrainDiffusionError as error:
        yield error
        yield None


def _kept(one: _Outgoing, folder: Path) -> Path:
    content = hashlib.sha256(np.ascontiguousarray(one.volume.data).data)
    content.update(one.volume.affine.tobytes() + json.dumps(one.told, sort_keys=True).encode())
    path = folder / content.hexdigest()[:16] / f"{one.name}.nii.gz"
    return path if path.exists() else save_brain(one.volume, path, one.told)


def _free(name: str, taken: set[str]) -> str:
    """A file name that nobody has, called as the layer."""
    plain = re.sub(r"[^\w.-]+", "_", name).strip("_.") or "brain"
    numbered = (f"{plain}_{number}" for number in range(2, len(taken) + 3))
    return plain if plain not in taken else next(one for one in numbered if one not in taken)
