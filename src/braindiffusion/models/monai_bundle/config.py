"""The configuration of a MONAI bundle, read as data: nothing of it is evaluated or imported. Needs no torch.

`configs/inference.json` defines the networks and the scheduler by `_target_` and keyword arguments. An expression
(`$...`) in one of them is refused, and those elsewhere are ignored; a reference (`@name`) to a plain value is followed.
`configs/metadata.json` tells the shape and the range of intensities.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from braindiffusion.conditions import (
    QUANTILES,
    CategoryField,
    ConditionSchema,
    Numbers,
    ScalarField,
    VectorField,
)
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.untrusted import cell, read_json

INFERENCE, METADATA = Path("configs", "inference.json"), Path("configs", "metadata.json")
WEIGHTS = ("*.safetensors", "*.pt", "*.pth")
NETWORK, AUTOENCODER = "DiffusionModelUNet", "AutoencoderKL"
SCHEDULERS = {"DDIMScheduler": ("ddim", 50), "DDPMScheduler": ("ddpm", 1000), "RFlowScheduler": ("euler_flow", 30)}
"""Schedulers of MONAI: our sampler, and its steps where the bundle does not tell."""
ALLOWED = (NETWORK, AUTOENCODER, *SCHEDULERS)
MOST = 16_384
"""Largest width or number of blocks of a network."""
COUNTS = {"out_channels", "cross_attention_dim", "num_class_embeds", "num_train_timesteps"}
"""Arguments that are read here; those of the network alone are MONAI's to check."""
MOST_NAMED = 16
"""Conditions that get a field each; more are the entries of one vector."""
DEEPEST = 8


def is_bundle(folder: Path) -> bool:
    """Return whether a folder has the configuration of a bundle."""
    return (folder / INFERENCE).is_file() and (folder / METADATA).is_file()


def weight_files(folder: Path) -> list[Path]:
    """Return the files of weights of a bundle."""
    return sorted(path for pattern in WEIGHTS for path in (folder / "models").glob(pattern))


def read_bundle(folder: Path) -> dict[str, Any]:
    """Return the card of a bundle, as plain data: see `braindiffusion.models.card`.

    Raises:
        BrainDiffusionError: a file cannot be read, or defines another model than a 3D (latent) diffusion model.
    """
    inference, metadata = _read(folder / INFERENCE), _read(folder / METADATA)
    found = _definitions(inference, folder / INFERENCE)
    for name in (NETWORK, "scheduler"):
        if name not in found:
            raise BrainDiffusionError(
                f"{folder / INFERENCE} defines no {name} of MONAI's: only bundles of a DiffusionModelUNet, with an "
                f"AutoencoderKL where it works on latents, and one of {', '.join(SCHEDULERS)} can be loaded."
            )
    network, autoencoder, scheduler = found[NETWORK], found.get(AUTOENCODER), found["scheduler"]
    if any(one.get("spatial_dims") != 3 for one in (network, autoencoder) if one is not None):
        raise BrainDiffusionError(f"{folder / INFERENCE} is a model of slices: only models of 3D volumes can be used.")
    output = _output(metadata, folder / METADATA)
    for definition in (network, autoencoder or {}, scheduler):
        for name in COUNTS & definition.keys():
            if not isinstance(count := definition[name] or 0, int) or not 0 <= count <= MOST:
                raise BrainDiffusionError(
                    f"{folder / INFERENCE} sets {name} to {cell(count)[:60]}, which is no number."
                )
    schema, defaults = _conditions(network, inference, metadata)
    channels = (autoencoder or network).get("out_channels", 1)
    sampler, steps = SCHEDULERS[scheduler["_target_"]]
    steps = _steps(inference) or min(steps, scheduler.get("num_train_timesteps") or 1000)
    scale = inference.get("scale_factor", 1.0)
    return {
        "kind": "monai-bundle",
        "name": cell(folder.name),
        "summary": cell(metadata.get("task", "")),
        "description": cell(metadata.get("description", "")),
        "data": cell(metadata.get("data_source", "")),
        "intended_use": cell(metadata.get("intended_use", "")),
        "evaluation": metadata.get("eval_metrics") if isinstance(metadata.get("eval_metrics"), dict) else {},
        "configuration": {
            "condition": schema.model_dump(mode="json"),
            "defaults": defaults,
            "shape": list(output["shape"]),
            "spacing": output["spacing"],
            "channels": channels,
            "value_range": output["value_range"],
            "network": network,
            "autoencoder": autoencoder,
            "scheduler": scheduler,
            "scale_factor": scale if isinstance(scale, int | float) and scale else 1.0,
            "sampling": {"steps": [steps], "sampler": [sampler], "levels": [1], "guidance": [1.0]},
        },
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise BrainDiffusionError(f"{path} cannot be read ({error}): fetch the bundle again.") from error
    if not isinstance(content, dict):
        raise BrainDiffusionError(f"{path} is no configuration of a bundle: fetch the bundle again.")
    return content


def _definitions(config: Mapping[str, Any], path: Path) -> dict[str, dict[str, Any]]:
    """Return the arguments of the network, the autoencoder and the scheduler, each with its class as `_target_`."""
    found: dict[str, dict[str, Any]] = {}
    for name, definition in config.items():
        if not isinstance(definition, dict) or not isinstance(target := definition.get("_target_"), str):
            continue
        kind = target.rpartition(".")[2]
        if kind not in ALLOWED or not (target == kind or target.startswith("monai.networks.")):
            if ".networks." in target or kind in ALLOWED:
                raise BrainDiffusionError(
                    f"{path} uses {cell(target)}, which is not loaded: only {', '.join(ALLOWED)} of monai.networks are."
                )
            continue  # savers, samplers: they are never run
        key = "scheduler" if kind in SCHEDULERS else kind
        if key in found:
            raise BrainDiffusionError(f"{path} defines two of {kind}, and only one can be used.")
        arguments = {one: value for one, value in definition.items() if not one.startswith("_")}
        found[key] = {
            one: _plain(value, config, f"{name}.{one}", path) for one, value in arguments.items()
        } | {"_target_": kind}  # fmt: skip
    return found


def _plain(value: Any, config: Mapping[str, Any], where: str, path: Path, depth: int = 0) -> Any:
    """Return a value without references.

    Raises:
        BrainDiffusionError: it is an expression, or no plain value.
    """
    if isinstance(value, str) and value.startswith("@") and depth < DEEPEST:
        found: Any = config
        for part in re.split(r"::|#", value[1:]):
            found = found.get(part) if isinstance(found, dict) else None
        return _plain(found, config, where, path, depth + 1)
    if isinstance(value, str) and value[:1] in ("$", "%", "@"):
        raise BrainDiffusionError(
            f"{path} sets {cell(where)} by the expression {cell(value)[:60]}, which is not evaluated: write the value."
        )
    if isinstance(value, list) and depth < DEEPEST:
        return [_plain(one, config, where, path, depth + 1) for one in value]
    if isinstance(value, dict | list) or (isinstance(value, int) and abs(value) > MOST):
        raise BrainDiffusionError(f"{path} sets {cell(where)} to what no network takes: correct it.")
    return value


def _output(metadata: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return shape, spacing and range of intensities of the volumes."""
    outputs = _of(_of(metadata, "network_data_format"), "outputs")
    output = next((one for one in outputs.values() if isinstance(one, dict)), {})
    shape = output.get("spatial_shape")
    if not (isinstance(shape, list) and len(shape) == 3 and all(isinstance(n, int) and 0 < n <= 2048 for n in shape)):
        raise BrainDiffusionError(f"{path} does not tell the spatial_shape of the output, three numbers: add it.")
    spacing = output.get("spacing", metadata.get("spacing", 1.0))
    spacings = spacing if isinstance(spacing, list) else [spacing]
    if not all(isinstance(one, int | float) and one > 0 for one in spacings) or len(set(spacings)) != 1:
        raise BrainDiffusionError(f"{path} has the voxel size {cell(spacing)}: only equal sides, in mm, can be used.")
    limits = output.get("value_range", [0, 1])
    if not (_numbers(limits) and len(limits) == 2 and limits[0] < limits[1]):
        raise BrainDiffusionError(f"{path} has the value_range {cell(limits)}, which are no two rising numbers.")
    return {"shape": shape, "spacing": float(spacings[0]), "value_range": [float(one) for one in limits]}


def _conditions(
    network: Mapping[str, Any], inference: Mapping[str, Any], metadata: Mapping[str, Any]
) -> tuple[ConditionSchema, dict[str, float]]:
    """Return the conditions of the network, and what is taken for those that are left out."""
    fields: list[ScalarField | VectorField | CategoryField] = []
    defaults: dict[str, float] = {}
    count = (network.get("cross_attention_dim") or 0) if network.get("with_conditioning") else 0
    if count:
        names, given, limits = _names(count, inference, metadata)
        low, high = limits
        seen = Numbers(
            mean=(low + high) / 2,
            std=(high - low) / 12**0.5,
            quantiles=tuple(float(x) for x in np.interp(QUANTILES, (0, 100), limits)),
        )
        if count <= MOST_NAMED:
            fields += [ScalarField(name=name, seen=seen, dropout=0) for name in names]
            defaults = {name: given.get(name, seen.mean) for name in names}
        else:
            fields.append(VectorField(name="context", entries=tuple(names), seen=(seen,) * count, dropout=0))
            defaults = {"context": seen.mean}
    if classes := network.get("num_class_embeds"):
        fields.append(CategoryField(name="class", values=tuple(map(str, range(classes))), dropout=0))
    return ConditionSchema(fields=tuple(fields)), defaults


def _names(
    count: int, inference: Mapping[str, Any], metadata: Mapping[str, Any]
) -> tuple[list[str], dict[str, float], tuple[float, float]]:
    """Return names, defaults and range of the conditions: as `conditioning` lists them, or as the metadata do."""
    limits = (0.0, 1.0)
    named: list[str] = []
    for one in _of(_of(metadata, "network_data_format"), "inputs").values():
        channels = _of(one, "channel_def") if isinstance(one, dict) else {}
        if len(channels) == count:
            named = [re.sub(r"\W+", "_", str(name)).strip("_").lower() for name in channels.values()]
            bounds = one.get("value_range")
            if _numbers(bounds) and len(bounds) == 2 and bounds[0] < bounds[1]:
                limits = (float(bounds[0]), float(bounds[1]))
    listed = [name for name in re.findall(r"@(\w+)", str(inference.get("conditioning", "")))
              if isinstance(inference.get(name), int | float)]  # fmt: skip
    names = listed if len(listed) == count else named
    if len(set(names)) < count or not all(names):
        names = [f"condition_{n:03d}" for n in range(1, count + 1)]
    return names, {name: float(inference[name]) for name in names if name in listed}, limits


def _steps(inference: Mapping[str, Any]) -> int | None:
    """Return the sampling steps that a bundle tells, as a number or within a call of `set_timesteps`."""
    steps = inference.get("num_inference_steps")
    if not isinstance(steps, int):
        written = (re.search(r"num_inference_steps=(\d{1,4})\b", text) for text in _texts(inference))
        steps = next((int(match[1]) for match in written if match), None)
    return steps if steps and steps > 0 else None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)


def _of(value: Any, name: str) -> dict[str, Any]:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, int | float) for one in value)
