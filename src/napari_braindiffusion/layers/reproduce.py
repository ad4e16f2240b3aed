"""From a layer back to the request that made it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari.layers import Layer
from pydantic import ValidationError

from braindiffusion.cohort.vectors.table import ROW
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.files import write_whole
from braindiffusion.runs import GenerateRequest, RegenerateRequest
from braindiffusion.runs.sidecar import sidecar_path
from napari_braindiffusion.layers.files import PROVENANCE
from napari_braindiffusion.settings import settings


def was_generated(layer: Layer | None) -> bool:
    """Return whether a layer has the provenance of a generated brain."""
    return layer is not None and bool(layer.metadata.get(PROVENANCE))


def reproduce_layer(layer: Layer | None) -> RegenerateRequest:
    """The request that makes the brain of a layer again.

    Its provenance is kept beside the runs, under its own hash, since a request refers to a file, also when repeated.

    Raises:
        BrainDiffusionError: the layer does not tell where it comes from, or the runs folder cannot be written.
    """
    content = json.dumps(_provenance(layer), indent=2).encode()
    path = settings().runs_folder / "sidecars" / f"{hashlib.sha256(content).hexdigest()[:16]}.json"
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, content)
        except OSError as error:
            msg = f"{path} could not be written ({error.strerror}): choose another runs folder in napari's preferences"
            raise BrainDiffusionError(f"{msg} (BrainDiffusion).") from error
    return RegenerateRequest(like=path, previews=True)


def reproduce_file(path: Path) -> RegenerateRequest:
    """The same for a saved volume, or for its sidecar.

    Raises:
        BrainDiffusionError: there is no sidecar.
    """
    sidecar = path if path.suffix == ".json" else sidecar_path(path)
    if not sidecar.is_file():
        msg = f"{path.name} has no sidecar ({sidecar.name}) beside it, which would tell how it was made."
        raise BrainDiffusionError(msg)
    return RegenerateRequest(like=sidecar, previews=True)


def generation_settings(layer: Layer | None) -> GenerateRequest:
    """Return the request that generated the brain of a layer, for that brain alone.

    Raises:
        BrainDiffusionError: the layer does not tell where it comes from, or not enough.
    """
    provenance = _provenance(layer)
    try:
        request = GenerateRequest.model_validate(provenance["request"])
        asked = provenance.get("condition_asked", request.condition)
        alone = {"seed": int(provenance["seed"]), "num_samples": 1, "only": None, "condition": asked}
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        raise BrainDiffusionError("The layer's provenance does not tell with which settings it was made.") from error
    return request.model_copy(update=alone)


def layer_name(provenance: Mapping[str, Any], kind: str = "volume") -> str:
    """Return a layer name that says what was asked, such as `age 75, seed 0`; empty where the provenance lacks it.

    Args:
        provenance: Provenance of one sample.
        kind: `trajectory` is named as such.
    """
    if "request" not in provenance or "seed" not in provenance:
        return ""
    words = []
    for name, value in (provenance.get("condition_asked") or {}).items():
        if name in (provenance.get("condition_defaults") or ()):
            continue
        if isinstance(value, Mapping):
            words += [f"{entry} {_number(amount)}" for entry, amount in value.items()]
        elif isinstance(value, list | tuple):
            words.append(f"{name} of {len(value)} numbers")
        elif isinstance(value, str) and ROW in value:  # a row of a table
            words.append(f"{name} {value.rpartition(ROW)[2]}")
        elif isinstance(value, str) and Path(value).suffix:  # a file
            words.append(f"{name} map")
        else:
            words.append(f"{name} {_number(value)}")
    words.append(f"seed {provenance['seed']}")
    return ", ".join(words) + (" (trajectory)" if kind == "trajectory" else "")


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _provenance(layer: Layer | None) -> dict[str, Any]:
    if layer is None or not was_generated(layer):
        name = "Select a layer" if layer is None else f"The layer '{layer.name}' does not tell where it comes from"
        msg = f"{name}: choose a generated brain, or a saved one with the JSON file beside it."
        raise BrainDiffusionError(msg)
    return dict(layer.metadata[PROVENANCE])
