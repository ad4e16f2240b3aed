"""Layers as files for requests: written once, in a worker thread, and kept so that a request can be repeated.

A layer is kept beside the runs under the hash of what it holds: a run that is repeated, or copied as a command, finds
the brain as it was.
"""

import hashlib
import json
import re
from collections.abc import Callable, Container, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from napari.layers import Image, Layer
from napari.viewer import Viewer

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs.sidecar import read_sidecar, sidecar_path, write_sidecar
from braindiffusion.volume import Volume, save_volume
from napari_braindiffusion.engine.threads import in_background, show_message
from napari_braindiffusion.layers.geometry import layer_to_volume
from napari_braindiffusion.settings import settings

FOLDER = "layers"
"""Folder of the written layers, beside the runs."""
LONGEST_NAME = 150
"""Bytes of a file's name; most file systems take 255, of which temporary names and suffixes need some."""
PROVENANCE, SIDECAR = "provenance", "sidecar"
"""Keys of a layer's metadata: how a generated brain was made; what a JSON file beside any other volume says."""


@dataclass(frozen=True)
class _Outgoing:
    """A layer as it was when the user asked."""

    name: str
    volume: Volume
    sidecar: dict[str, Any]


def save_brain(volume: Volume, path: Path, sidecar: Mapping[str, Any]) -> Path:
    """Write a volume, labels in the smallest type that holds them, and its sidecar if it has provenance.

    Raises:
        BrainDiffusionError: The file cannot be written.
    """
    dtype = None
    if volume.metadata.get("kind") == "labels":
        low, high = int(volume.data.min()), int(volume.data.max())
        # uint32 and 64 bit integers are read by few tools: they come last.
        small = (t for t in (np.uint8, np.int16, np.int32) if np.iinfo(t).min <= low and high <= np.iinfo(t).max)
        dtype = next(small, np.int64)
    save_volume(volume, path, dtype=dtype)
    if sidecar and {**read_sidecar(path), "file": ""} != {**sidecar, "file": ""}:  # the same sidecar stays as it is
        try:
            write_sidecar(path, sidecar)
        except OSError as error:
            msg = f"The sidecar of {path} could not be written ({error.strerror}): free some space and save it again."
            raise BrainDiffusionError(msg) from error
    return path


def file_name(name: str) -> str:
    """Return a name for a file, without a suffix, from that of a layer: as long as any file system takes it."""
    plain = re.sub(r"[^\w.-]+", "_", name).strip("_.")
    return plain.encode()[:LONGEST_NAME].decode(errors="ignore").rstrip("_.") or "brain"


def free_path(folder: Path, name: str, taken: Container[str] = ()) -> Path:
    """Return a `.nii.gz` of a folder that is not there yet and not among `taken`, called as the layer."""
    plain = file_name(name)
    for number in count(1):
        path = folder / f"{plain}{f'-{number}' if number > 1 else ''}.nii.gz"
        if not path.exists() and not sidecar_path(path).exists() and str(path) not in taken:
            break
    return path


def provenance_of(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the provenance in a layer's metadata, for a sidecar; empty without one."""
    return dict(metadata.get(PROVENANCE) or metadata.get(SIDECAR) or {})


def is_brain(layer: Layer | None) -> TypeGuard[Image]:
    """Whether a layer is one brain: a 3D image, of one or of several channels."""
    if not isinstance(layer, Image) or layer.rgb:
        return False
    return layer.ndim == 3 or (layer.ndim == 4 and layer.axis_labels[0] == "channel")


def brains_among(layers: Iterable[Layer]) -> list[Image]:
    """Those that are one brain each."""
    return [layer for layer in layers if is_brain(layer)]


def write_layers(
    viewer: Viewer,
    layers: Sequence[Layer],
    done: Callable[[list[Path]], None],
    failed: Callable[[BrainDiffusionError], None] = show_message,
) -> None:
    """Write layers as they are now, with their provenance, in a worker thread.

    Args:
        viewer: Where they are.
        layers: Image or Labels; those of one name get numbers.
        done: Called in the GUI thread with a file for each layer, in their order.
        failed: Called in its place where one of them cannot be written; by default the reason is shown.

    Raises:
        BrainDiffusionError: a layer cannot become a volume.
    """
    outgoing: list[_Outgoing] = []
    for layer in layers:
        volume = layer_to_volume(layer, viewer.layers)
        outgoing.append(
            _Outgoing(_free(layer.name, {one.name for one in outgoing}), volume, provenance_of(layer.metadata))
        )
    folder = settings().runs_folder / FOLDER
    in_background(_write_all, outgoing, folder, what="Handing over layers", total=1, done=done, failed=failed)


def as_paths(
    viewer: Viewer,
    sources: Sequence[Layer | Path],
    done: Callable[[list[Path]], None],
    failed: Callable[[BrainDiffusionError], None] = show_message,
) -> None:
    """A path for each source: layers are written, as `write_layers` does it; without any, `done` is called at once.

    Raises:
        BrainDiffusionError: a layer cannot become a volume.
    """
    layers = [source for source in sources if isinstance(source, Layer)]

    def fill_in(files: list[Path]) -> None:
        written = iter(files)
        done([next(written) if isinstance(one, Layer) else one.absolute() for one in sources])

    if layers:
        write_layers(viewer, layers, fill_in, failed)
    else:
        fill_in([])


def keep_label_map(volume: Volume) -> Path:
    """Write a painted region map beside the runs, once: a request refers to this file, also when it is repeated later.

    Raises:
        BrainDiffusionError: The file cannot be written.
    """
    labels = volume.data.astype(np.int32)
    digest = hashlib.sha256(labels.tobytes() + volume.affine.tobytes()).hexdigest()[:16]
    path = settings().runs_folder / "label-maps" / f"{digest}.nii.gz"
    if not path.exists():
        save_volume(replace(volume, data=labels), path)
    return path


def _write_all(outgoing: Sequence[_Outgoing], folder: Path) -> Generator[list[Path]]:
    yield [_kept(one, folder) for one in outgoing]


def _kept(one: _Outgoing, folder: Path) -> Path:
    content = hashlib.sha256(np.ascontiguousarray(one.volume.data).data)
    content.update(one.volume.affine.tobytes() + json.dumps(one.sidecar, sort_keys=True).encode())
    path = folder / content.hexdigest()[:16] / f"{one.name}.nii.gz"
    return path if path.exists() else save_brain(one.volume, path, one.sidecar)


def _free(name: str, taken: set[str]) -> str:
    """Return an unused file name made from the name of the layer."""
    plain = file_name(name)
    numbered = (f"{plain}_{number}" for number in range(2, len(taken) + 3))
    return plain if plain not in taken else next(one for one in numbered if one not in taken)
