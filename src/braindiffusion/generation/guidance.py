"""Guidance as a request asks for it, around the denoiser of each level."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from braindiffusion.diffusion.denoiser import Denoiser
from braindiffusion.diffusion.guidance import autoguided, guided
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.generation.reproduce import model_identity
from braindiffusion.models.cascade.cascade import Cascade
from braindiffusion.models.model_cache import cached_model
from braindiffusion.models.registry import find_model
from braindiffusion.runs import GenerateRequest
from braindiffusion.runs.requests import label


@dataclass(frozen=True)
class Guidance:
    """What to exaggerate, and how much.

    Attributes:
        scale: 1 does nothing.
        interval: noise levels between which it acts; None is everywhere.
        rescale: share of the changed standard deviation that is given back.
        fields: guide by these alone; None by all.
        weak: guide away from this weaker model instead of from the unasked one.
    """

    scale: float
    interval: tuple[float, float] | None = None
    rescale: float = 0.0
    fields: tuple[str, ...] | None = None
    weak: Cascade | None = None

    def around(self, denoiser: Denoiser, index: int, coarse: Tensor | None, coarse_sigma: Tensor | None) -> Denoiser:
        """The guided denoiser of a level, given the normalised coarse band."""
        if self.weak is None:
            return guided(denoiser, self.scale, self.interval, self.rescale, self.fields)
        weak = self.weak.level(index).denoiser(coarse, coarse_sigma)
        return autoguided(denoiser, weak, self.scale, self.interval)


def guidance_from(
    request: GenerateRequest, cascade: Cascade, *, asked: bool
) -> tuple[Guidance | None, dict[str, Any] | None]:
    """The guidance of a request, and what a sidecar says of it; None where there is none.

    Args:
        request: what is asked for.
        cascade: the model.
        asked: whether there is any condition to guide by.

    Raises:
        BrainDiffusionError: there is nothing to guide by, or the weaker model is another kind of model.
    """
    if request.guidance == 1:
        options = ("guidance_interval", "guidance_rescale", "guidance_fields", "autoguidance")
        for name in options:
            if getattr(request, name):
                msg = f"{label(GenerateRequest, name)} has no effect at guidance scale 1: choose one, such as 2."
                raise BrainDiffusionError(msg, field=name)
        return None, None
    told: dict[str, Any] = {"scale": request.guidance, "interval": request.guidance_interval}
    low, high = request.guidance_interval or (0.0, 1.0)
    if not 0 <= low < high:
        raise BrainDiffusionError(
            f"The guidance interval {low:g} to {high:g} is empty: the lower noise level comes first.",
            "guidance_interval",
        )
    if request.autoguidance is not None:
        if request.guidance_rescale or request.guidance_fields:
            raise BrainDiffusionError("Autoguidance knows no fields and no rescaling: leave these out, or it.")
        folder = find_model(request.autoguidance)
        weak, _ = cached_model(folder, next(cascade.parameters()).device)
        _check_alike(weak, cascade, str(folder))
        told["autoguidance"] = model_identity(folder)
        return Guidance(request.guidance, request.guidance_interval, weak=weak), told
    if not asked:
        raise BrainDiffusionError("Guidance needs a condition to guide by: give one, such as age=63.", "condition")
    fields = request.guidance_fields
    for name in fields or ():
        if name not in cascade.config.condition.names:
            known = ", ".join(cascade.config.condition.names)
            raise BrainDiffusionError(f"Cannot guide by '{name}': the model knows {known}.", "guidance_fields")
    told |= {"rescale": request.guidance_rescale, "fields": fields}
    return Guidance(request.guidance, request.guidance_interval, request.guidance_rescale, fields), told


def _check_alike(weak: Cascade, strong: Cascade, what: str) -> None:
    """Raise where the weaker model does not make the same coefficients from the same conditions."""
    a, b = ({**one.config.model_dump(), "levels": None} for one in (weak, strong))
    constants = a == b and all(torch.equal(x, y) for x, y in zip(weak.buffers(), strong.buffers(), strict=True))
    if not constants:
        msg = f"{what} cannot guide this model: take an earlier checkpoint, or a smaller model, of the same training."
        raise BrainDiffusionError(msg)
