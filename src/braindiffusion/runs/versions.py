"""Versions: of the software that made something, asked without importing it, and of the files that are written."""

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from braindiffusion import __version__
from braindiffusion.errors import BrainDiffusionError

FORMAT_VERSION = 3
"""Version of `run.json` and of sidecars. 1, which is not written down: before errors told the field that they are about
and runs their format. 2: with other names of jobs and fields, see `with_present_names`."""
EARLIER_JOBS = {"read": "segment", "train-reader": "train-segmentation"}


def check_format(content: object, file: Path) -> None:
    """Refuse a file that a newer version of this software has written.

    Args:
        content: The contents of the file, as JSON is read. Without a `format_version` it is of version 1.
        file: The file.

    Raises:
        BrainDiffusionError: its format is newer.
    """
    found = content.get("format_version", 1) if isinstance(content, dict) else 1
    if isinstance(found, int) and found > FORMAT_VERSION:
        msg = f"{file} has format version {found}, and this version of BrainDiffusion reads {FORMAT_VERSION} at most"
        raise BrainDiffusionError(f"{msg}: update BrainDiffusion.")


def with_present_names(content: object) -> object:
    """Return the contents of a `run.json` with the present names of jobs and fields."""
    if not isinstance(content, dict) or not isinstance(request := content.get("request"), dict):
        return content
    job = request.get("job")
    renamed = {"segmentation_model" if job == "evaluate" and name == "reader" else name: value for name, value in
               request.items()}  # fmt: skip
    return content | {"request": renamed | ({"job": EARLIER_JOBS[job]} if job in EARLIER_JOBS else {})}


def package_version(name: str) -> str | None:
    """The installed version of a package, None where it is not installed. Imports nothing."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def in_words(found: Mapping[str, str | None]) -> str:
    """Return versions as text.

    Examples:
        >>> in_words({"braindiffusion": "0.1.0", "torch": None})
        'braindiffusion 0.1.0, torch missing'
    """
    return ", ".join(f"{name} {version or 'missing'}" for name, version in found.items())


def versions() -> dict[str, str | None]:
    """Versions that a result may depend on."""
    return {
        "braindiffusion": __version__,
        "torch": package_version("torch"),
        "torchio": package_version("torchio"),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
