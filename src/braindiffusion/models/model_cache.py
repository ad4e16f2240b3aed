"""Models stay in memory from job to job: a warm engine reads each only once, until its files change."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from braindiffusion.models.cascade import Cascade, load_cascade
from braindiffusion.models.registry import CARD, WEIGHTS

REMEMBERED = 2
"""Models: the one in use, and the one that it is compared with or guided by."""


def cached_model(folder: Path, device: torch.device) -> tuple[Cascade, dict[str, Any]]:
    """The model of a folder, ready to sample on a device; its weights must be left as they are.

    Args:
        folder: a model folder.
        device: where to.

    Returns:
        the model (float32, evaluation mode, channels last) and its card.

    Raises:
        BrainDiffusionError: as `load_cascade`.
    """
    cascade, card = _load(folder, tuple(_stamp(folder / name) for name in (CARD, WEIGHTS)))
    cascade.to(device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return cascade, card


def _stamp(file: Path) -> tuple[int, int, int] | None:
    """What is another as soon as a file is written, or replaced, again. None where there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


@lru_cache(REMEMBERED)
def _load(folder: Path, stamps: tuple[tuple[int, int, int] | None, ...]) -> tuple[Cascade, dict[str, Any]]:
    return load_cascade(folder)


def release(device: torch.device) -> None:
    """Give back what sampling took of a GPU's memory, for whoever else wants it. Models stay."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
