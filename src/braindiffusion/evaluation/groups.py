"""The three groups of an evaluation: training brains, held-out brains and generated brains."""

from collections.abc import Callable, Generator, Sequence, Sized
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from braindiffusion.cohort.nearest import low_pass
from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.cohort.store import split
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.evaluation.sources import Brain, Source, find_brains, preprocessing_of
from braindiffusion.models.card import ModelCard
from braindiffusion.models.registry import find_model, is_packaged, read_card
from braindiffusion.runs import Event, Progress, Warned
from braindiffusion.runs.requests import EvaluateRequest

FEWEST = 3
"""Brains, or people, that each group needs for an evaluation to run. Targets need more, see `evaluation.targets`."""
HELD_OUT_SHARE = 5
"""Without a model's card, one person of so many counts as held out."""


@dataclass(frozen=True)
class Groups:
    """The three groups of an evaluation.

    Attributes:
        training: real brains that the model learnt from.
        held_out: real brains that it never saw.
        generated: generated brains.
        preprocessing: preprocessing of all brains.
        card: card of the model, which has the split; None without a model.
    """

    training: list[Source]
    held_out: list[Source]
    generated: list[Source]
    preprocessing: Preprocessing
    card: ModelCard | None

    @property
    def model(self) -> str:
        """Name of the model; empty where none is known."""
        return (self.card.name or "") if self.card else ""

    @property
    def every(self) -> list[Source]:
        """All brains, generated ones last: the order of a table of features without names."""
        return self.training + self.held_out + self.generated


def choose_groups(request: EvaluateRequest) -> Groups:
    """Find the brains of a request and divide the real ones into training and held-out brains.

    Raises:
        BrainDiffusionError: brains are missing, none of the real ones is known to the model's card, or a group is too
            small.
    """
    groups = choose_real_groups(request.real, request.labels, request.model, asked_by=request.generated)
    generated = find_brains(request.generated, groups.preprocessing)
    _enough("generated brains", generated)
    taken = {one.name for one in groups.every}
    return replace(groups, generated=[_made(one, taken) for one in generated])


def choose_real_groups(
    real: tuple[Path, ...], labels: Path | None, model: str | None, asked_by: tuple[Path, ...] = ()
) -> Groups:
    """Find real brains and divide them into training and held-out brains.

    Args:
        real: where they are.
        labels: folder of region label maps of the volumes among them.
        model: model whose card has the split; None takes the packaged model that made all of `asked_by`, if one did.
        asked_by: where the generated brains are.

    Raises:
        BrainDiffusionError: as `choose_groups`.
    """
    card = _card(model)
    preprocessing = preprocessing_of(real, card)
    if card is None and asked_by:
        made_by = {source.model for source in find_brains(asked_by, preprocessing)}
        if len(made_by) == 1 and is_packaged(name := made_by.pop()):
            card = _card(name)
            preprocessing = preprocessing_of(real, card)
    found = find_brains(real, preprocessing, labels)
    if card is None or card.split.train is None:
        people = {one.person for one in found}
        learnt = set(split(people, len(people) // HELD_OUT_SHARE)[0])
        training, held_out = [one for one in found if one.person in learnt], []
    else:
        training = [one for one in found if one.name in set(card.split.train)]
        held_out = [one for one in found if one.name in set(card.split.validation)]
        learnt = {one.person for one in training}
    held_out = held_out or [one for one in found if one.person not in learnt]
    if card is not None and not training:
        msg = (
            f"None of the real brains is among those that {card.name or 'the model'} was trained on: "
            "give its own cohort, where subjects have the names of the model's card."
        )
        raise BrainDiffusionError(msg)
    _enough("training people", {one.person for one in training})
    _enough("held-out people", {one.person for one in held_out})
    return Groups(training, held_out, [], preprocessing, card)


@dataclass(frozen=True)
class RealGroup:
    """Real brains that could be read.

    Attributes:
        sources: where they are.
        vectors: low-pass voxels, (N, D).
        features: features of an encoder, (N, F); (N, 0) without one.
    """

    sources: list[Source]
    vectors: NDArray[np.float16]
    features: NDArray[np.float32]

    @property
    def people(self) -> list[str]:
        """The person of each brain."""
        return [source.person for source in self.sources]


def read_group(
    name: str, sources: Sequence[Source], encode: Callable[[Brain], NDArray[np.float32]] | None = None
) -> Generator[Event, None, RealGroup]:
    """Read a group of real brains, one at a time, and keep what brains are compared by.

    Args:
        name: of the group: `training`, `held-out`.
        sources: its brains.
        encode: returns features of a brain, (F,).

    Raises:
        BrainDiffusionError: too few can be read.
    """
    kept, vectors, features = [], [], []
    stage = f"{name} brains"
    yield Progress(stage=stage, step=0, total=len(sources))
    for step, source in enumerate(sources, start=1):
        try:
            brain = source.read()
            vectors.append(low_pass(brain.voxels, brain.spacing).astype(np.float16))
            features.append(np.empty(0, np.float32) if encode is None else encode(brain))
            kept.append(source)
        except BrainDiffusionError as error:
            yield Warned(message=f"Left out: {error}", subject=source.name)
        yield Progress(stage=stage, step=step, total=len(sources), message=source.name)
    if len(kept) < FEWEST:
        raise BrainDiffusionError(f"Of the {stage}, fewer than {FEWEST} can be read.")
    return RealGroup(kept, np.array(vectors), np.array(features, np.float32))


def _enough(what: str, group: Sized) -> None:
    if len(group) < FEWEST:
        raise BrainDiffusionError(f"Too few {what} ({len(group)}): at least {FEWEST} are needed, so give more.")


def _card(model: str | None) -> ModelCard | None:
    return None if model is None else read_card(find_model(model))


def _made(source: Source, taken: set[str]) -> Source:
    """Return a generated brain: without a subject, renamed where a real brain has its name."""
    if source.name not in taken:
        return replace(source, subject=None)
    return replace(source, subject=None, name=f"{source.name} (generated)", counterpart=source.name)
