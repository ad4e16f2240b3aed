"""Who is compared: real brains that the model learnt from, real ones that it never saw, and generated ones."""

from dataclasses import dataclass, replace
from typing import Any

from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.cohort.split import split
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.evaluation.sets import Source, find_brains, preprocessing_of
from braindiffusion.pretrained import find_model, is_packaged, read_card
from braindiffusion.runs.requests import EvaluateRequest

FEWEST = 3
"""Brains that a group needs before any figure means anything."""
HELD_OUT_SHARE = 5
"""Without a model's card, one real brain of so many counts as held out."""


@dataclass(frozen=True)
class Sides:
    """The three groups of an evaluation.

    Attributes:
        training: real brains that the model learnt from.
        held_out: real brains that it never saw.
        generated: generated brains.
        preprocessing: of the box that all are brought into.
        card: of the model, which tells the split; empty where none does.
    """

    training: list[Source]
    held_out: list[Source]
    generated: list[Source]
    preprocessing: Preprocessing
    card: dict[str, Any]

    @property
    def model(self) -> str:
        """Name of the model; empty where none is known."""
        return str(self.card.get("name", ""))

    @property
    def every(self) -> list[Source]:
        """All of them, generated ones last: the order of a table of features without names."""
        return self.training + self.held_out + self.generated


def choose_sides(request: EvaluateRequest) -> Sides:
    """Find the brains of a request and tell training from held-out ones.

    Raises:
        BrainDiffusionError: brains are missing, none of the real ones is known to the model's card, or a group is too
            small.
    """
    card = _card(request.model)
    preprocessing = preprocessing_of(request.real, card)
    generated = find_brains(request.generated, preprocessing)
    if card is None:
        made_by = {source.model for source in generated}
        if len(made_by) == 1 and is_packaged(name := made_by.pop()):
            card = _card(name)
            preprocessing = preprocessing_of(request.real, card)
            generated = find_brains(request.generated, preprocessing)
    real = find_brains(request.real, preprocessing, request.labels)
    told = (card or {}).get("split") or {}
    learnt, kept = told.get("train"), set(told.get("validation", ()))
    if learnt is None:
        learnt, held_out_names = split([one.name for one in real], len(real) // HELD_OUT_SHARE)
        kept = set(held_out_names)
    training = [one for one in real if one.name in set(learnt)]
    held_out = [one for one in real if one.name in kept] or [one for one in real if one.name not in set(learnt)]
    if card is not None and not training:
        msg = (
            f"None of the {len(real)} real brains is among those that {card.get('name', 'the model')} learnt from: "
            "give its own cohort, where subjects have the names of the model's card."
        )
        raise BrainDiffusionError(msg)
    for what, group in (("training", training), ("held-out", held_out), ("generated", generated)):
        if len(group) < FEWEST:
            raise BrainDiffusionError(f"There are {len(group)} {what} brains, and {FEWEST} are the fewest that tell.")
    taken = {one.name for one in real}
    generated = [_made(one, taken) for one in generated]
    return Sides(training, held_out, generated, preprocessing, card or {})


def _card(model: str | None) -> dict[str, Any] | None:
    return None if model is None else read_card(find_model(model))


def _made(source: Source, taken: set[str]) -> Source:
    """A generated brain: it is nobody, and a real brain of its name keeps the name."""
    if source.name not in taken:
        return replace(source, subject=None)
    return replace(source, subject=None, name=f"{source.name} (generated)", twin=source.name)
