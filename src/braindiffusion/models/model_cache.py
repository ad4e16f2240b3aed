"""Models stay in memory from job to job: a warm engine reads each only once, until its files change."""

from functools import lru_cache
from pathlib import Path

import torch

from braindiffusion.devices import keep_free_memory
from braindiffusion.models.generator import Generator
from braindiffusion.models.registry import load_generator, model_files
from braindiffusion.runs.requests.base import Content

CACHED_MODELS = 4
"""The model in use, its distilled one, the one that it is compared with or guided by, and that of its region maps."""


def cached_model(folder: Path, device: torch.device, content: Content = "image") -> Generator:
    """Return the model of a folder on a device, ready to sample; its weights must not be changed.

    Raises:
        BrainDiffusionError: as `load_generator`.
    """
    if device.type == "cpu":
        keep_free_memory()
    generator = _load(folder, content, tuple(_stamp(file) for file in model_files(folder)))
    generator.to(device)
    return generator


def _stamp(file: Path) -> tuple[int, int, int] | None:
    """Return numbers that differ as soon as a file is written again; None where there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


@lru_cache(CACHED_MODELS)
def _load(folder: Path, content: Content, stamps: tuple[tuple[int, int, int] | None, ...]) -> Generator:
    return load_generator(folder, content)


def release(device: torch.device) -> None:
    """Give back the memory that sampling took of a GPU. Models stay."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
