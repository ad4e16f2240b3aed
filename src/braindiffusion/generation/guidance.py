"""Guidance of a request, as a hook around the denoiser of each level."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from braindiffusion.diffusion.denoiser import Denoiser
from braindiffusion.diffusion.guidance import autoguided, guided
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.generation.reproduce import model_identity
from braindiffusion.models.generator import EditableGenerator, Generator, LevelContext
from braindiffusion.models.model_cache import cached_model
from braindiffusion.models.registry import find_model
from braindiffusion.runs import GenerateRequest
from braindiffusion.runs.requests import label


@dataclass(frozen=True)
class Guidance:
    """A hook that extrapolates the conditional estimate away from a weaker one.

    Attributes:
        scale: 1 does nothing.
        interval: noise levels between which it acts; None is everywhere.
        rescale: share of the changed standard deviation that is given back.
        fields: guide by these alone; None by all.
        weak: guide away from this weaker model instead of from the unconditional estimate.
        levels: levels to guide, from the coarsest; None is all.
    """

    scale: float
    interval: tuple[float, float] | None = None
    rescale: float = 0.0
    fields: tuple[str, ...] | None = None
    weak: EditableGenerator | None = None
    levels: int | None = None

    def __call__(self, context: LevelContext, denoiser: Denoiser) -> Denoiser:
        """Return the guided denoiser of a level."""
        if self.levels is not None and context.level >= self.levels:
            return denoiser
        if self.weak is None:
            return guided(denoiser, self.scale, self.interval, self.rescale, self.fields)
        return autoguided(denoiser, self.weak.denoiser(context), self.scale, self.interval)


def guidance_from(
    request: GenerateRequest, generator: Generator, *, asked: Collection[str]
) -> tuple[Guidance | None, dict[str, Any] | None]:
    """Return the guidance of a request, and its record for sidecars; None where there is none.

    Args:
        request: the request.
        generator: the model.
        asked: names of the conditions that any sample has.

    Raises:
        BrainDiffusionError: there is nothing to guide by, or the weaker model is another kind of model.
    """
    scale, fields, levels = request.guidance, request.guidance_fields, None
    if generator.card.distilled and (scale, request.autoguidance, request.guidance_interval) != (None, None, None):
        msg = f"The model {generator.card.name} was distilled with its guidance: leave the guidance as it is."
        raise BrainDiffusionError(msg, "guidance")
    if scale is None:
        own = generator.card.guidance
        if request.fast and generator.card.fast is not None:
            own = generator.card.fast.guidance
        fields, levels = fields or own.fields, own.levels
        # Only an explicit scale complains where there is nothing to guide by.
        scale = own.scale if (asked if fields is None else set(asked) & set(fields)) else 1.0
    if scale == 1:
        options = ("guidance_interval", "guidance_rescale", "guidance_fields", "autoguidance")
        for name in options:
            if getattr(request, name):
                msg = f"{label(GenerateRequest, name)} has no effect at guidance scale 1: choose one, such as 2."
                raise BrainDiffusionError(msg, field=name)
        return None, None
    record: dict[str, Any] = {"scale": scale, "interval": request.guidance_interval}
    low, high = request.guidance_interval or (0.0, 1.0)
    if not 0 <= low < high:
        raise BrainDiffusionError(
            f"The guidance interval {low:g} to {high:g} is empty: the lower noise level comes first.",
            "guidance_interval",
        )
    if request.autoguidance is not None:
        if request.guidance_rescale or request.guidance_fields:
            raise BrainDiffusionError(
                "Autoguidance takes neither guided conditions nor rescaling: leave out these, or it."
            )
        folder = find_model(request.autoguidance)
        weak = cached_model(folder, generator.device)
        if not (isinstance(weak, EditableGenerator) and weak.generates_as(generator)):
            what = "take an earlier checkpoint, or a smaller model, of the same training"
            raise BrainDiffusionError(f"{folder} cannot guide this model: {what}.")
        record["autoguidance"] = model_identity(folder)
        return Guidance(scale, request.guidance_interval, weak=weak), record
    if not asked:
        raise BrainDiffusionError("Guidance needs a condition to guide by: give one, such as age=63.", "condition")
    for name in fields or ():
        if name not in generator.conditions.names:
            known = ", ".join(generator.conditions.names)
            raise BrainDiffusionError(f"Cannot guide by '{name}': the model knows {known}.", "guidance_fields")
    record |= {"rescale": request.guidance_rescale, "fields": fields}
    if levels is not None:
        record["levels"] = levels
    return Guidance(scale, request.guidance_interval, request.guidance_rescale, fields, levels=levels), record
