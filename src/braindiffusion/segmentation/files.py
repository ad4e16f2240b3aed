"""Files of a segmentation model: a model folder whose card has `"kind": "segmentation"`."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from braindiffusion.devices import Uninitialized
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.files import replacing, write_whole
from braindiffusion.models.cascade.files import check_finite
from braindiffusion.models.registry import (
    CARD,
    DEFAULT_SEGMENTATION_MODEL,
    SEGMENTATION_KIND,
    WEIGHTS,
    find_model,
    read_card,
)
from braindiffusion.segmentation.calibration import Calibration, uncalibrated
from braindiffusion.segmentation.model import SegmentationModel
from braindiffusion.segmentation.network import SegmentationConfig, SegmentationNet


def load_segmentation_model(name_or_path: str | Path = DEFAULT_SEGMENTATION_MODEL) -> SegmentationModel:
    """Load a packaged model by its name, or a model folder or a training run by its path.

    Raises:
        BrainDiffusionError: there is no such model, it is damaged, or it is a generator.
    """
    folder = find_model(name_or_path)
    card = read_card(folder)
    if card.kind != SEGMENTATION_KIND:
        raise BrainDiffusionError(
            f"{folder} is a generator: choose a segmentation model such as {DEFAULT_SEGMENTATION_MODEL}."
        )
    try:
        config = SegmentationConfig.model_validate(card.configuration)
        _check_shapes(config, folder)
        net = SegmentationNet(config)
        tensors = load_file(folder / WEIGHTS)
        constants = {name[12:]: tensors.pop(name).numpy() for name in list(tensors) if name.startswith("calibration.")}
        calibration = Calibration(**constants)
        net.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except (SafetensorError, OSError, TypeError, ValueError, RuntimeError) as error:
        what = str(error).splitlines()[0]
        msg = f"The segmentation model {folder} is damaged, or of another version ({what}): fetch it again."
        raise BrainDiffusionError(msg) from error
    check_finite(net.state_dict(), folder)
    net.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return SegmentationModel(net.eval(), calibration, card.to_json())


def _check_shapes(config: SegmentationConfig, folder: Path) -> None:
    """Raise ValueError where the weights are not those of a card, before memory is taken for either."""
    with torch.device("meta"), Uninitialized():
        expected = {name: list(tensor.shape) for name, tensor in SegmentationNet(config).state_dict().items()}
    for name, constant in asdict(uncalibrated(config.features)).items():
        expected[f"calibration.{name}"] = list(np.shape(constant))
    with safe_open(folder / WEIGHTS, "pt") as file:
        found = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 it is no dict
    if found != expected:
        raise ValueError("the weights are not those of its card")


def save_segmentation_model(model: SegmentationModel, folder: Path, *, dtype: torch.dtype = torch.float32) -> None:
    """Write a model folder; each file is complete or absent.

    Args:
        model: the model. Its card is written to `model.json`, with kind and configuration.
        folder: created if absent.
        dtype: type of the network's weights in the file; the calibration stays float64.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: t.detach().cpu().contiguous().to(dtype) for name, t in model.net.state_dict().items()}
    for name, constant in asdict(model.calibration).items():
        tensors[f"calibration.{name}"] = torch.from_numpy(np.array(constant, np.float64))
    with replacing(folder / WEIGHTS) as part:
        save_file(tensors, part)
        part.chmod(0o644)  # safetensors writes files that only the user can read
    card = {**model.card, "kind": SEGMENTATION_KIND, "configuration": model.net.config.model_dump(mode="json")}
    write_whole(folder / CARD, json.dumps(card, indent=2) + "\n")
