"""Looking at brains, one at a time, and keeping little of each."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braindiffusion.cohort.nearest import Neighbours, low_pass, neighbours, views
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.evaluation.bootstrap import of_one
from braindiffusion.evaluation.brain_measures import Portrait
from braindiffusion.evaluation.encoders.encoder import Observer
from braindiffusion.evaluation.metrics.distances import standardised
from braindiffusion.evaluation.metrics.memorization import judge
from braindiffusion.evaluation.sources import Brain, Source
from braindiffusion.regions.table import Labels
from braindiffusion.runs import Event, Progress, Warned
from braindiffusion.runs.reports.evaluation import Figure, Neighbour, Originality

VOXELS = "low-pass voxels"


@dataclass(frozen=True)
class Seen:
    """A brain that was looked at.

    Attributes:
        source: reads it again.
        portrait: what was measured.
        asked: what it was asked to be.
        vector: low-pass voxels, float16, of a real brain; None of a generated one, however many there are.
        near: the real brains next to a generated one.
    """

    source: Source
    portrait: Portrait
    asked: dict[str, Any]
    vector: NDArray[np.float16] | None = None
    near: Neighbours | None = None

    @property
    def known(self) -> dict[str, Any]:
        """What it was asked to be, or what the table says of a real person."""
        subject = self.source.subject
        return self.asked if subject is None else {"age": subject.age, "sex": subject.sex}


@dataclass
class Survey:
    """All brains of an evaluation, as they are looked at.

    Attributes:
        observer: measures them.
        requested: reads the label map that a generated brain was asked to have; None where no model tells the box.
        rng: draws.
        training: real brains that the model learnt from.
        held_out: real brains that it never saw.
        generated: generated ones.
        left_out: brains, and requested label maps, that cannot be read.
    """

    observer: Observer
    requested: Callable[[str], Labels] | None
    rng: np.random.Generator
    training: list[Seen] = field(default_factory=list)
    held_out: list[Seen] = field(default_factory=list)
    generated: list[Seen] = field(default_factory=list)
    left_out: int = 0

    def look(self, name: str, sources: Sequence[Source]) -> Iterator[Event]:
        """Look at one group: `training` and `held_out` before `generated`."""
        group: list[Seen] = getattr(self, name)
        stage = f"{name.replace('_', '-')} brains"
        begun = monotonic()
        yield Progress(stage=stage, step=0, total=len(sources))
        for step, source in enumerate(sources, start=1):
            try:
                brain = replace(source.read(), name=source.name)
                wanted = yield from self._wanted(brain)
                group.append(self._seen(source, brain, wanted, is_real=name != "generated"))
            except BrainDiffusionError as error:
                self.left_out += 1
                yield Warned(message=f"Left out: {error}", subject=source.name)
            left = (monotonic() - begun) / step * (len(sources) - step)
            yield Progress(stage=stage, step=step, total=len(sources), seconds_left=left, message=source.name)

    def _wanted(self, brain: Brain) -> Generator[Event, None, Labels | None]:
        if "regions" not in brain.asked or self.requested is None:
            return None
        try:
            return self.requested(str(brain.asked["regions"]))
        except BrainDiffusionError as error:
            self.left_out += 1
            yield Warned(message=f"Its overlap with the requested label map is left out: {error}", subject=brain.name)
            return None

    def _seen(self, source: Source, brain: Brain, wanted: Labels | None, *, is_real: bool) -> Seen:
        portrait = self.observer.portray(brain, wanted)
        vector = low_pass(brain.voxels, brain.spacing)
        asked = dict(brain.asked)
        if is_real:
            return Seen(source, portrait, asked, vector=vector.astype(np.float16))
        without = int(self.rng.integers(len(self.held_out)))
        near = neighbours(views(vector), *self._vectors, without)
        return Seen(source, portrait, asked, near=near)

    @cached_property
    def _vectors(self) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
        training, held_out = (
            np.array([one.vector for one in group], np.float16) for group in (self.training, self.held_out)
        )
        return training, held_out

    def originality(self, repeats: int) -> Iterator[Originality]:
        """Whether generated brains are copies: by low-pass voxels, mirror images too, and by each kind of features."""
        training, held_out = self._vectors
        people = [
            neighbours(views(one.astype(np.float32)), training, held_out, row) for row, one in enumerate(held_out)
        ]
        made = [one.near for one in self.generated if one.near is not None]
        yield self._judged(VOXELS, made, people, repeats)
        for seer in self.generated[0].portrait.features:
            every = [one.portrait.features[seer] for one in self.training + self.held_out + self.generated]
            count, others = len(self.training), len(self.held_out)
            scaled = standardised(np.array(every, np.float64), np.arange(count))
            training_, held_out_, generated = np.split(scaled, (count, count + others))
            people = [neighbours(one[None], training_, held_out_, row) for row, one in enumerate(held_out_)]
            made = [neighbours(one[None], training_, held_out_, int(self.rng.integers(others))) for one in generated]
            yield self._judged(seer, made, people, repeats)

    def _judged(
        self, space: str, made: Sequence[Neighbours], people: Sequence[Neighbours], repeats: int
    ) -> Originality:
        judged = judge(made, people)
        ours, theirs = (np.array([one.ratio for one in group]) for group in (made, people))
        found = [
            Neighbour(
                generated=seen.source.name,
                training=self.training[near.training].source.name,
                to_training=near.to_training,
                held_out=self.held_out[near.held_out].source.name,
                to_held_out=near.to_held_out,
                ratio=near.ratio,
                copied=near.to_training < judged.threshold,
            )
            for seen, near in zip(self.generated, made, strict=True)
        ]
        medians = [Figure.of(of_one(np.median, each, repeats, self.rng)) for each in (ours, theirs)]
        return Originality(
            space=space,
            p=judged.p,
            ratio=medians[0],
            people=medians[1],
            threshold=judged.threshold,
            ratios=ours.tolist(),
            people_ratios=theirs.tolist(),
            neighbours=sorted(found, key=lambda one: one.ratio),
        )
