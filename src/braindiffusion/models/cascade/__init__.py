"""The network: wavelet, U-Net, attention, cascade; load and save."""

from pathlib import Path

from braindiffusion.models.card import ModelCard
from braindiffusion.models.cascade.cascade import Cascade
from braindiffusion.models.cascade.files import load_cascade, save_model
from braindiffusion.models.registry import find_model, read_card

__all__ = ["Cascade", "load_cascade", "load_model", "read_card", "save_model"]


def load_model(name_or_path: str | Path) -> tuple[Cascade, ModelCard]:
    """A packaged model by name, or a model folder, checkpoint or training run by path.

    Returns:
        the model (float32, evaluation mode, on the CPU) and its card.

    Raises:
        BrainDiffusionError: there is no such model, or its files are damaged.
    """
    return load_cascade(find_model(name_or_path))
