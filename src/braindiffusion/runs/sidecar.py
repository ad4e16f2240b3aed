"""The JSON file beside a volume: found, read, written. Engine, command line and plugin share it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from braindiffusion.files import write_whole
from braindiffusion.nifti import READABLE_SUFFIXES


def volume_stem(path: Path) -> str:
    """A file's name without what only says that it is a volume."""
    suffix = next((s for s in READABLE_SUFFIXES if path.name.lower().endswith(s)), "")
    return path.name[: len(path.name) - len(suffix)]


def sidecar_path(volume: Path) -> Path:
    """Where the sidecar of a volume is. A trajectory shares that of the brain it ends in."""
    return volume.with_name(f"{volume_stem(volume).removesuffix('_trajectory')}.json")


def read_sidecar(volume: Path) -> dict[str, Any]:
    """What the sidecar of a volume tells; empty where there is none, or none that is a JSON object.

    Args:
        volume: The volume, not its sidecar.
    """
    try:
        told = json.loads(sidecar_path(volume).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def write_sidecar(volume: Path, told: Mapping[str, Any]) -> Path:
    """Write the sidecar of a volume, which it names.

    Raises:
        OSError: The disk is full or the folder may not be written to.
    """
    path = sidecar_path(volume)
    write_whole(path, json.dumps({**told, "file": volume.name}, indent=2) + "\n")
    return path


def is_generated(told: Mapping[str, Any]) -> bool:
    """Whether a sidecar says that its volume was made by a model."""
    return told.get("synthetic") is True
