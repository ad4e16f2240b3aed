"""Packaged models and models of the user: found by name or path, their cards, their kinds. Needs no torch.

A model folder holds `model.json` (card and configuration) and `model.safetensors`. Packaged ones are the folders in
`pretrained`.
"""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.models.card import CASCADE_KIND, GeneratedAnatomy, ModelCard
from braindiffusion.models.monai_bundle.config import INFERENCE, METADATA, is_bundle, read_bundle, weight_files
from braindiffusion.runs.folder import Run, default_runs_dir
from braindiffusion.runs.requests.base import Content
from braindiffusion.untrusted import cell, read_json

if TYPE_CHECKING:
    from braindiffusion.models.generator import Generator

DEFAULT_MODEL = "ixi-2mm"
DEFAULT_SEGMENTATION_MODEL = "ixi-2mm-regions"
SEGMENTATION_KIND = "segmentation"
"""`kind` in the card of a segmentation model."""
KINDS = {
    CASCADE_KIND: "braindiffusion.models.cascade.generator:load_generator",
    "monai-bundle": "braindiffusion.models.monai_bundle.generator:load_bundle",
}
"""Kinds of generators: module and function that reads a model folder as a `Generator`. A new kind adds its line."""
CARD, WEIGHTS = "model.json", "model.safetensors"
ANATOMY = "anatomy.npz"
"""The file of a model folder that holds region maps of training subjects; a model may have none."""
NORMATIVE = "normative.json"
"""The file of a model folder that holds the spread of its residual in healthy people; a model may have none."""
_HOME = Path(__file__).parent / "pretrained"


@dataclass(frozen=True)
class PretrainedModel:
    """A model that comes with the package.

    Attributes:
        name: the name that requests take.
        path: its folder.
        card: its training, its figures and its configuration.
    """

    name: str
    path: Path
    card: ModelCard


def list_models() -> list[PretrainedModel]:
    """Return the packaged models that generate images of brains: the default one first, then by name.

    Raises:
        BrainDiffusionError: the `model.json` of a packaged model is damaged.
    """
    helpers = list_helper_models()
    return [one for one in _packaged() if one.card.kind != SEGMENTATION_KIND and one not in helpers]


def list_helper_models() -> list[PretrainedModel]:
    """Return the packaged models that others use: those of region maps, and distilled ones, by name.

    Raises:
        BrainDiffusionError: as `list_models`.
    """
    return [one for one in _packaged() if one.card.content == "regions" or one.card.distilled]


def list_segmentation_models() -> list[PretrainedModel]:
    """Return the packaged segmentation models, by name.

    Raises:
        BrainDiffusionError: as `list_models`.
    """
    return [model for model in _packaged() if model.card.kind == SEGMENTATION_KIND]


def _packaged() -> list[PretrainedModel]:
    folders = [file.parent for file in _HOME.glob(f"*/{CARD}")]
    folders.sort(key=lambda folder: (folder.name != DEFAULT_MODEL, folder.name))
    return [PretrainedModel(folder.name, folder, read_card(folder)) for folder in folders]


def anatomy_folder(folder: Path) -> Path | None:
    """Return the folder with a model's region maps: its own, or that of its other model; None where there are none.

    Raises:
        BrainDiffusionError: the card is damaged, or the other model is missing.
    """
    if (folder / ANATOMY).is_file():
        return folder
    there = other_model(folder)
    return None if there is None else anatomy_folder(there)


def other_model(folder: Path) -> Path | None:
    """Return the folder of the model that a model takes some of its weights from; None where it has all of its own.

    Raises:
        BrainDiffusionError: the card is damaged, the other model is missing, or a model would be its own other model.
    """
    chain: list[Path] = [folder]
    while (name := (card := read_card(chain[-1])).coarser_model or card.distilled_from) is not None:
        if (there := find_model(name)) in chain:
            raise BrainDiffusionError(f"The model {folder} takes weights from itself: fetch or train it again.")
        chain.append(there)
    return chain[1] if len(chain) > 1 else None


def has_distilled(name_or_path: str) -> bool:
    """Return whether a distilled model can take the place of a model.

    Raises:
        BrainDiffusionError: as `find_model`.
    """
    settings = read_card(find_model(name_or_path)).fast
    return settings is not None and settings.model is not None


def sampled_model(name_or_path: str, *, fast: bool | None) -> Path:
    """Return the folder of the model that brains are sampled from: of fast ones, it may be a distilled model.

    Raises:
        BrainDiffusionError: as `find_model`; or fast sampling is asked of a model that has none.
    """
    folder = find_model(name_or_path)
    if not fast:
        return folder
    settings = read_card(folder).fast
    if settings is None:
        msg = f"The model {name_or_path} has no fast settings: choose the number of sampling steps instead."
        raise BrainDiffusionError(msg, "fast")
    return folder if settings.model is None else find_model(settings.model)


def generated_anatomy(folder: Path) -> GeneratedAnatomy | None:
    """Return how a model, or its other model, has its region maps generated; None where it has not.

    Raises:
        BrainDiffusionError: as `anatomy_folder`.
    """
    there = anatomy_folder(folder)
    return None if there is None else read_card(there).generated_anatomy


def read_card(folder: Path) -> ModelCard:
    """Return the card of a model folder.

    Raises:
        BrainDiffusionError: there is none, or it cannot be read.
    """
    file = folder / CARD
    if is_bundle(folder):
        return ModelCard.model_validate(read_bundle(folder))
    try:
        return ModelCard.model_validate(read_json(file))
    except FileNotFoundError as error:
        msg = f"{folder} is no model: it has no {CARD}."
        raise BrainDiffusionError(msg) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        what = f"{where}: {first['msg']}" if where else first["msg"]
        msg = f"The model card {file} does not describe a model ({cell(what)}): copy or install the model again."
        raise BrainDiffusionError(msg) from error
    except (OSError, ValueError) as error:
        msg = f"The model card {file} cannot be read ({error}): copy or install the model again."
        raise BrainDiffusionError(msg) from error


def load_generator(folder: Path, content: Content = "image") -> "Generator":
    """Read a model that generates brains, on the CPU.

    Args:
        folder: see `find_model`.
        content: what it must generate.

    Raises:
        BrainDiffusionError: its kind is not known, it generates something else, or a file is missing, damaged, or of
            another model.
    """
    card = read_card(folder)
    kind = card.kind
    if kind not in KINDS:
        known = ", ".join(sorted(KINDS))
        raise BrainDiffusionError(f"{folder} holds a model of the kind {kind}, which does not generate: use {known}.")
    if card.content != content:
        there, wanted = ("region maps", "images") if content == "image" else ("images", "region maps")
        raise BrainDiffusionError(f"The model {folder} generates {there}, not {wanted}: choose another one.")
    module, function = KINDS[kind].split(":")
    generator: Generator = getattr(import_module(module), function)(folder)
    return generator


def find_model(name_or_path: str | Path) -> Path:
    """Return the folder of a model.

    Args:
        name_or_path: name of a packaged model; path of a model folder (a checkpoint is one) or of a folder of
            checkpoints; or path or name of a training run, of which the best checkpoint is taken.

    Returns:
        a folder with `model.json` and `model.safetensors`, or a MONAI bundle, absolute.

    Raises:
        BrainDiffusionError: there is no such model, or half of it is missing.
    """
    if is_packaged(str(name_or_path)):
        return _whole(_HOME / name_or_path)
    path = Path(name_or_path).expanduser().absolute()
    if not path.exists() and len(Path(name_or_path).parts) == 1:
        path = named if (named := default_runs_dir() / name_or_path).is_dir() else path
    for folder in (path, path / "best", path / "checkpoints" / "best"):
        if (folder / CARD).is_file() or (folder / WEIGHTS).is_file():
            return _whole(folder)
        if is_bundle(folder):
            return folder
    names = ", ".join(model.name for model in list_models()) or "none"
    if path.exists():
        if (path / "run.json").is_file():
            msg = f"The run {path} has no checkpoint yet; let it train longer."
        else:
            msg = f"{path} is no model: neither it nor its checkpoints/best holds a model.json."
    else:
        msg = f"There is no model {str(name_or_path)!r}: no such folder or run, and the packaged models are: {names}."
    raise BrainDiffusionError(msg)


def has_model(run: Run) -> bool:
    """Return whether a training has written a model, which `find_model` then finds."""
    return (run.checkpoints / "best" / CARD).is_file()


def model_files(folder: Path) -> tuple[Path, ...]:
    """Return the files of a model: what describes it first, its weights last; then those of its other model.

    Raises:
        BrainDiffusionError: as `other_model`.
    """
    if is_bundle(folder):
        return (folder / INFERENCE, folder / METADATA, *weight_files(folder))
    other = other_model(folder)
    return folder / CARD, folder / WEIGHTS, *(() if other is None else model_files(other))


def is_packaged(name: str) -> bool:
    """Return whether this is a packaged model's name. (`./name` never is: it is a path.)"""
    return any(name == file.parent.name for file in _HOME.glob(f"*/{CARD}"))


def _whole(folder: Path) -> Path:
    for name in (CARD, WEIGHTS):
        if not (folder / name).is_file():
            msg = f"The model {folder} is not whole: its {name} is missing; fetch or train it again."
            raise BrainDiffusionError(msg)
    return folder
