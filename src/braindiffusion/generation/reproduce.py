"""Reproduction of a generated brain: the request that its sidecar records. Needs no torch."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, PositiveInt, ValidationError, field_validator, model_validator

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.files import file_sha256
from braindiffusion.models.card import OwnGuidance
from braindiffusion.models.registry import find_model, generated_anatomy, model_files, read_card, sampled_model
from braindiffusion.runs import GenerateRequest
from braindiffusion.runs.sidecar import load_sidecar

DECISIVE = (
    "model.sha256",
    "model.configuration_sha256",
    "seed",
    "sampler",
    "steps_by_level",
    "eta",
    "guidance",
    "condition",
    "condition_files",
    "anatomy",
    "precision",
    "placement",
)
"""What of a sidecar decides the brain."""
SHAPES_KEPT = {"first_level", "sigma"}
"""Settings of generated anatomy that say what is kept of the sampled map."""


def model_identity(folder: Path) -> dict[str, str]:
    """Name and SHA-256 of a model: of its weights, and of its configuration and guidance, which decide as much.

    Raises:
        BrainDiffusionError: its card cannot be read.
    """
    card = read_card(folder)
    decisive = card.configuration
    if card.guidance != OwnGuidance():
        decisive = {**decisive, "guidance": card.guidance.model_dump(mode="json")}
    if card.fast is not None:
        decisive = {**decisive, "fast": card.fast.model_dump(mode="json")}
    configuration = json.dumps(decisive, sort_keys=True).encode()
    return {
        "name": card.name or folder.name,
        "sha256": _weights_sha256(folder),
        "configuration_sha256": hashlib.sha256(configuration).hexdigest(),
    }


def _weights_sha256(folder: Path) -> str:
    """Return the hash of the file of weights of a model; of several files, that of their hashes."""
    hashes = [file_sha256(file) for file in model_files(folder) if file.suffix != ".json"]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def difference(recorded: Mapping[str, Any], wanted: Mapping[str, Any], names: Sequence[str] = DECISIVE) -> str | None:
    """Return which of these fields differs between a sidecar and a new one, in words; None where none does."""
    wanted = json.loads(json.dumps(wanted))  # tuples become lists, as they are in the file
    for name in names:
        was, wants = _value(recorded, name), _value(wanted, name)
        if was != wants:
            what = name.replace("_", " ").replace(".", "'s ")
            return f"its {what} was {was}, not {wants}"
    return None


def _value(recorded: Mapping[str, Any], name: str) -> object:
    """None where nothing was asked."""
    value: Any = recorded
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value or None


class _Made(BaseModel):
    """What of a sidecar makes its brain again. The file may be damaged: all of it is checked here."""

    request: GenerateRequest
    sample: PositiveInt
    condition: dict[str, Any]
    precision: Literal["float32", "bfloat16"]
    model: dict[str, Any]
    condition_files: dict[str, str]
    guidance: dict[str, Any] | None = None
    anatomy: dict[str, Any] | None = None
    placement: dict[str, Any] | None = None

    @field_validator("request", mode="before")
    @classmethod
    def _fast_is_decided(cls, content: Any) -> Any:
        """Sidecars of earlier versions say nothing of fast sampling where it was off."""
        return {"fast": False, **content} if isinstance(content, dict) else content

    @property
    def anatomy_kind(self) -> Any:
        """Kind of anatomy that the brain has."""
        return (self.anatomy or {}).get("kind", "none")

    @model_validator(mode="after")
    def _valid_request(self) -> "_Made":
        GenerateRequest.model_validate({**self.request.model_dump(), **self.changes})
        if not self.condition_files.keys() <= self.condition.keys():
            raise ValueError("a label map is of no condition")
        return self

    @property
    def changes(self) -> dict[str, Any]:
        """Fields of the request that make this brain alone."""
        vectors = {name: tuple(value) for name, value in self.condition.items() if isinstance(value, list)}
        return {
            "condition": self.condition | vectors,
            "conditions": None,
            "only": (self.sample,),
            "precision": self.precision,
            "anatomy": self.anatomy_kind,
        }


def request_from_sidecar(sidecar: Path, out: Path) -> GenerateRequest:
    """The request that makes the brain of a sidecar again, to the last bit on a machine of the same kind.

    Args:
        sidecar: the JSON file beside a generated volume.
        out: folder of the new volume.

    Raises:
        BrainDiffusionError: it is no such file, or the model or a label map is not the one that it was.
    """
    try:
        made = _Made.model_validate(load_sidecar(sidecar))
    except ValidationError as error:
        msg = f"{sidecar} does not tell enough to make its brain again: it is no sidecar of this version."
        raise BrainDiffusionError(msg) from error
    request, anatomy = made.request, made.anatomy or {}
    models: list[tuple[str, Path, object]] = [
        (request.model, sampled_model(request.model, fast=request.fast), made.model)
    ]
    if request.autoguidance is not None:
        was = (made.guidance or {}).get("autoguidance")
        models.append((request.autoguidance, find_model(request.autoguidance), was))
    if made.anatomy_kind == "generated":
        settings = generated_anatomy(find_model(request.model))
        now = {} if settings is None else settings.model_dump(include=SHAPES_KEPT)
        if settings is None or any(anatomy.get(setting) != now.get(setting) for setting in SHAPES_KEPT):
            raise BrainDiffusionError(f"The model {request.model} makes other region maps than when it made {sidecar}.")
        models.append((settings.model, find_model(settings.model), anatomy.get("model")))
    for name, folder, was in models:
        if model_identity(folder) != was:
            raise BrainDiffusionError(f"The model {name} is not the one that made {sidecar}: it has changed since.")
    for field, sha256 in made.condition_files.items():
        path = Path(str(made.condition[field]))
        if not path.is_file() or file_sha256(path) != sha256:
            raise BrainDiffusionError(f"{sidecar} was made from the label map {path}, which has changed or gone.")
    on_grid = (made.placement or {}).get("grid_sha256")
    if request.grid is not None and (not request.grid.is_file() or file_sha256(request.grid) != on_grid):
        raise BrainDiffusionError(f"{sidecar} was placed on the grid of {request.grid}, which has changed or gone.")
    return request.model_copy(update={**made.changes, "out": out, "overwrite": False, "previews": False})
