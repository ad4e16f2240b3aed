"""Networks of a bundle, built from an allow-list of MONAI's classes, with the weights that fit them."""

import contextlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from braindiffusion.devices import Uninitialized
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.models.monai_bundle.config import AUTOENCODER, NETWORK, SCHEDULERS, weight_files

State = dict[str, Tensor]
INSTALL = "MONAI is not installed, and models of its kind need it: pip install 'napari-braindiffusion[monai]'."


def monai_class(name: str) -> Any:
    """Return a class of MONAI's.

    Raises:
        BrainDiffusionError: MONAI is not installed.
    """
    try:
        from monai.networks import nets, schedulers
    except ImportError as error:
        raise BrainDiffusionError(INSTALL) from error
    if name not in (NETWORK, AUTOENCODER, *SCHEDULERS):
        raise ValueError(name)
    return getattr(schedulers if name in SCHEDULERS else nets, name)


def build(definition: Mapping[str, Any], folder: Path) -> Any:
    """Build an object of MONAI's from its class (`_target_`) and plain arguments.

    Raises:
        BrainDiffusionError: MONAI is missing, or the arguments are not such as the class takes.
    """
    kind = monai_class(definition["_target_"])
    try:
        return kind(**{name: value for name, value in definition.items() if name != "_target_"})
    except (TypeError, ValueError, RuntimeError, IndexError, ZeroDivisionError) as error:
        what = " ".join(str(error).split())[:200]
        raise BrainDiffusionError(
            f"{folder} defines a {definition['_target_']} that cannot be built ({what}): fetch the bundle again."
        ) from error


def load_network(definition: Mapping[str, Any], folder: Path) -> nn.Module:
    """Return a network of a bundle with its weights, in evaluation mode.

    Raises:
        BrainDiffusionError: no file of weights fits it, or one holds more than tensors.
    """
    with torch.device("meta"), Uninitialized():  # no memory is taken before a file is known to fit
        shapes = {name: tensor.shape for name, tensor in build(definition, folder).state_dict().items()}
    files = weight_files(folder)
    states = [state for path in files for state in _states(path)]
    for state in states:
        if {name: tensor.shape for name, tensor in state.items()} == shapes:
            network: nn.Module = build(definition, folder)
            network.load_state_dict(state)
            return _checked(network, folder)
    size = sum(shape.numel() for shape in shapes.values())
    for state in states:
        if sum(one.numel() for one in state.values()) != size:
            continue
        if (earlier := _of_earlier_version(definition, folder, state)) is not None:
            return _checked(earlier, folder)
    raise BrainDiffusionError(
        f"No file of weights in {folder / 'models'} fits the {definition['_target_']} of its "
        "configuration: fetch the bundle again."
    )


def _of_earlier_version(definition: Mapping[str, Any], folder: Path, state: State) -> nn.Module | None:
    """Return the network with weights that MONAI Generative wrote, under other names; None where they do not fit."""
    network: nn.Module = build(definition, folder)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(torch.nan)  # what is not loaded shows
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            network.load_old_state_dict(dict(state))  # type: ignore[operator]
    except (KeyError, RuntimeError, ValueError):
        return None
    return network if all(bool(one.isfinite().all()) for one in network.parameters()) else None


def _states(path: Path) -> Iterator[State]:
    """Yield the state dictionaries of a file: its tensors, or those of each mapping in it."""
    try:
        content = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)  # refuses all but tensors and plain values
        )
    except (OSError, SafetensorError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise BrainDiffusionError(
            f"The weights {path} are damaged ({_short(error)}): fetch the bundle again."
        ) from error
    except Exception as error:  # of pickle, which torch refuses to run
        raise BrainDiffusionError(
            f"The weights {path} hold more than tensors, and are not loaded: save the state_dict alone."
        ) from error
    if not isinstance(content, dict):
        return
    for one in (content, *content.values()):
        if isinstance(one, dict):
            state = {str(name).removeprefix("module."): value for name, value in one.items()}
            if state and all(isinstance(value, Tensor) for value in state.values()):
                yield state


def _checked(network: nn.Module, folder: Path) -> nn.Module:
    if not all(bool(one.isfinite().all()) for one in network.state_dict().values() if one.is_floating_point()):
        raise BrainDiffusionError(
            f"The weights in {folder / 'models'} hold values that are no numbers: fetch the bundle again."
        )
    return network.eval()


def _short(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
