"""Model files: a folder with `model.json` (card, configuration) and `model.safetensors`. Nothing is ever unpickled."""

import json
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from braindiffusion.devices import Uninitialized
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.files import replacing, write_whole
from braindiffusion.models.card import ModelCard
from braindiffusion.models.cascade.cascade import Cascade
from braindiffusion.models.cascade.config import CascadeConfig
from braindiffusion.models.registry import CARD, WEIGHTS, find_model, other_model, read_card


def save_model(cascade: Cascade, folder: Path, card: dict[str, Any], *, dtype: torch.dtype = torch.float32) -> None:
    """Write a model folder; each file is whole or absent.

    Args:
        cascade: the model.
        folder: made if absent.
        card: everything that a user should know; `configuration` is added. Where it names a `coarser_model`, only the
            finest level is written; where it names the model that it was `distilled_from`, only what differs.
        dtype: of the weights in the file; the normalising constants stay float32.
    """
    folder.mkdir(parents=True, exist_ok=True)
    constants = {name for name, _ in cascade.named_buffers()}
    own = _own_names(cascade, card)
    tensors = {
        name: tensor.detach().cpu().contiguous().to(torch.float32 if name in constants else dtype)
        for name, tensor in cascade.state_dict().items()
        if name in own
    }
    with replacing(folder / WEIGHTS) as part:
        save_file(tensors, part)
        part.chmod(0o644)  # safetensors' own files are for their writer only
    text = json.dumps({**card, "configuration": cascade.config.model_dump(mode="json")}, indent=2)
    write_whole(folder / CARD, text + "\n")


def read_configuration(folder: Path) -> CascadeConfig:
    """Return the configuration of the model of a folder.

    Raises:
        BrainDiffusionError: its card is missing, damaged, or of another version.
    """
    try:
        return CascadeConfig.model_validate(read_card(folder).configuration)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "configuration"
        msg = f"The model card {folder / CARD} does not describe a model of this version ({where}: {first['msg']})."
        raise BrainDiffusionError(msg) from error


def load_cascade(folder: Path) -> tuple[Cascade, ModelCard]:
    """Read a model folder.

    Returns:
        the model (float32, evaluation mode, on the CPU) and its card.

    Raises:
        BrainDiffusionError: a file is missing, damaged, or of another model.
    """
    card, config = read_card(folder), read_configuration(folder)
    other = f"The weights {folder / WEIGHTS} belong to another model than the card beside them."
    try:
        with safe_open(folder / WEIGHTS, "pt") as file:
            shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 it is no dict
        with torch.device("meta"), Uninitialized():  # no memory is taken before the card is known to fit the weights
            whole = {name: list(tensor.shape) for name, tensor in Cascade(config).state_dict().items()}
        known = _known(folder, card, config, whole.keys() - shapes.keys())
        if shapes != {name: shape for name, shape in whole.items() if name not in known}:
            raise BrainDiffusionError(other)
        tensors = load_file(folder / WEIGHTS)
    except FileNotFoundError as error:
        raise BrainDiffusionError(f"{folder} is no model: it has no {WEIGHTS}.") from error
    except (SafetensorError, OSError) as error:
        msg = f"The weights {folder / WEIGHTS} are damaged ({error}): copy the model again."
        raise BrainDiffusionError(msg) from error
    except (RuntimeError, ValueError) as error:  # the card asks for a network that cannot be built
        raise BrainDiffusionError(other) from error
    with Uninitialized():
        cascade = Cascade(config)
    cascade.load_state_dict(known | {name: tensor.float() for name, tensor in tensors.items()})
    check_finite(tensors, folder)
    return cascade.eval(), card


def _finest(config: CascadeConfig) -> str:
    """Return the prefix of the tensors of the finest level."""
    return f"levels.{config.number_of_levels - 1}."


def _own_names(cascade: Cascade, card: dict[str, Any]) -> set[str]:
    """Return the names of the tensors that a model does not take from its other model."""
    tensors = cascade.state_dict()
    if card.get("coarser_model") is not None:
        return {name for name in tensors if name.startswith(_finest(cascade.config))}
    if card.get("distilled_from") is None:
        return set(tensors)
    first = load_cascade(find_model(card["distilled_from"]))[0].state_dict()
    return {name for name, tensor in tensors.items() if not torch.equal(tensor.cpu(), first[name])}


def _known(folder: Path, card: ModelCard, config: CascadeConfig, lacking: Set[str]) -> dict[str, Tensor]:
    """Return the tensors that a model takes from its other model.

    Args:
        folder: the model.
        card: its card.
        config: its configuration.
        lacking: names of the tensors that its own file lacks.

    Raises:
        BrainDiffusionError: the other model is missing, or fits it no longer.
    """
    other_model(folder)  # says so where a model would be its own
    if card.coarser_model is not None:
        cascade = Cascade(config)
        cascade.load_coarser(_coarser(folder, card.coarser_model, config))
        return {name: t for name, t in cascade.state_dict().items() if not name.startswith(_finest(config))}
    if card.distilled_from is None or not lacking:
        return {}
    first = load_cascade(find_model(card.distilled_from))[0].state_dict()
    if not lacking <= first.keys():
        msg = f"{folder} was distilled from another model than the present {card.distilled_from}"
        raise BrainDiffusionError(f"{msg}: install the {card.distilled_from} that it came with.")
    return {name: first[name] for name in lacking}


def _coarser(folder: Path, name: str, config: CascadeConfig) -> Cascade:
    """Read the model whose levels come before the finest one.

    Raises:
        BrainDiffusionError: it is missing, or no model at twice the voxel size with the same levels and conditions.
    """
    its = read_configuration(found := find_model(name))
    expected = config.model_copy(
        update={
            "shape": tuple(n // 2 for n in config.shape),
            "spacing": 2 * config.spacing,
            "depth": config.depth - 1,
            "levels": config.levels[:-1],
        }
    )
    if its != expected:
        msg = f"{folder} refines another model than the present {name}: install the {name} that it came with."
        raise BrainDiffusionError(msg)
    return load_cascade(found)[0]


def check_finite(tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Check that the weights of a model are numbers.

    Raises:
        BrainDiffusionError: one is no number, or infinite.
    """
    if spoilt := [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]:
        msg = f"The weights {folder / WEIGHTS} hold values that are no numbers or infinite ({spoilt[0]})"
        raise BrainDiffusionError(f"{msg}: the model is damaged or its training diverged; fetch or train it again.")
