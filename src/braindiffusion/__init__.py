"""BrainDiffusion: brains you can make. The engine, without a screen.

Importing this package is cheap: the public names below load on first use, so `--help` and napari start at once and only
what computes pays for torch.

    >>> import braindiffusion
    >>> volume = braindiffusion.load_volume("sub-01_T1w.nii.gz")    # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from braindiffusion.cohort.prepare import prepare
    from braindiffusion.generation.job import generate
    from braindiffusion.model import load_model
    from braindiffusion.training.job import train
    from braindiffusion.volume import Volume, load_volume, save_volume

__version__ = "0.1.0"

_HOMES = {
    "Volume": "braindiffusion.volume",
    "load_volume": "braindiffusion.volume",
    "save_volume": "braindiffusion.volume",
    "load_model": "braindiffusion.model",
    "prepare": "braindiffusion.cohort.prepare",
    "train": "braindiffusion.training.job",
    "generate": "braindiffusion.generation.job",
}

__all__ = [
    "Volume",
    "__version__",
    "generate",
    "load_model",
    "load_volume",
    "prepare",
    "save_volume",
    "train",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for (PEP 562), and keep it."""
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
