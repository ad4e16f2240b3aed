"""BrainDiffusion: 3D brain MRI from diffusion models. The engine, which runs without a display.

Importing this package is fast: the public names below, and torch, are loaded on first use.

    >>> import braindiffusion
    >>> brain = braindiffusion.load_model("ixi-2mm").sample(seed=0, age=70)    # doctest: +SKIP
    >>> braindiffusion.show(brain)                                             # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from braindiffusion.api import (
        Model,
        anomaly,
        distill,
        edit,
        evaluate,
        generate,
        load_model,
        prepare,
        segment,
        synthesize,
        train,
    )
    from braindiffusion.figures.show import show
    from braindiffusion.synthesis.augmentation import SyntheticDataset
    from braindiffusion.volume import Volume, load_volume, save_volume

__version__ = "0.1.0"

_HOMES = {
    "Volume": "braindiffusion.volume",
    "load_volume": "braindiffusion.volume",
    "save_volume": "braindiffusion.volume",
    "Model": "braindiffusion.api",
    "load_model": "braindiffusion.api",
    "generate": "braindiffusion.api",
    "synthesize": "braindiffusion.api",
    "anomaly": "braindiffusion.api",
    "edit": "braindiffusion.api",
    "prepare": "braindiffusion.api",
    "train": "braindiffusion.api",
    "distill": "braindiffusion.api",
    "evaluate": "braindiffusion.api",
    "segment": "braindiffusion.api",
    "show": "braindiffusion.figures.show",
    "SyntheticDataset": "braindiffusion.synthesis.augmentation",
}

__all__ = [
    "Model",
    "SyntheticDataset",
    "Volume",
    "__version__",
    "anomaly",
    "distill",
    "edit",
    "evaluate",
    "generate",
    "load_model",
    "load_volume",
    "prepare",
    "save_volume",
    "segment",
    "show",
    "synthesize",
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
