"""Measure all brains of an evaluation, one at a time."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from time import monotonic
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from braindiffusion.cohort.nearest import Neighbours, low_pass, neighbours, neighbours_of_people, rows_of_person, views
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.evaluation.bootstrap import of_one
from braindiffusion.evaluation.brain_measures import BrainMeasures
from braindiffusion.evaluation.metrics.distances import standardised
from braindiffusion.evaluation.metrics.memorization import memorization_test
from braindiffusion.evaluation.sources import Brain, Source
from braindiffusion.regions.table import Labels
from braindiffusion.runs import Event, Progress, Warned
from braindiffusion.runs.durations import seconds_left
from braindiffusion.runs.reports.evaluation import Estimate, Memorization, Neighbour

VOXELS = "low-pass voxels"


class Measurer(Protocol):
    """Measures brains: `BrainMeasurer`, or `CachedMeasurer`."""

    def measure(self, brain: Brain, requested: Labels | None = None, /) -> BrainMeasures:
        """Measure a brain that may have been generated from a label map."""


@dataclass(frozen=True)
class MeasuredBrain:
    """A measured brain.

    Attributes:
        source: the brain, to be read again.
        measures: its measures.
        asked: conditions that it was generated with.
        vector: low-pass voxels, float16, of a real brain; None of a generated one, however many there are.
        near: the real brains nearest to a generated one.
    """

    source: Source
    measures: BrainMeasures
    asked: dict[str, Any]
    vector: NDArray[np.float16] | None = None
    near: Neighbours | None = None

    @property
    def known(self) -> dict[str, Any]:
        """Conditions of a generated brain, or age and sex of a real person."""
        subject = self.source.subject
        return self.asked if subject is None else {"age": subject.age, "sex": subject.sex}


@dataclass
class MeasuredGroups:
    """The measured brains of an evaluation.

    Attributes:
        measurer: measures a brain.
        requested: reads the label map that a brain was generated from; None without a model.
        rng: random generator.
        training: real brains that the model learnt from.
        held_out: real brains that it never saw.
        generated: generated ones.
        left_out: brains, and requested label maps, that cannot be read.
    """

    measurer: Measurer
    requested: Callable[[str], Labels] | None
    rng: np.random.Generator
    training: list[MeasuredBrain] = field(default_factory=list)
    held_out: list[MeasuredBrain] = field(default_factory=list)
    generated: list[MeasuredBrain] = field(default_factory=list)
    left_out: int = 0

    def measure_all(self, name: str, sources: Sequence[Source]) -> Iterator[Event]:
        """Measure one group: `training` and `held_out` before `generated`."""
        group: list[MeasuredBrain] = getattr(self, name)
        stage = f"{name.replace('_', '-')} brains"
        begun = monotonic()
        yield Progress(stage=stage, step=0, total=len(sources))
        for step, source in enumerate(sources, start=1):
            try:
                brain = replace(source.read(), name=source.name)
                wanted = yield from self._requested(brain)
                group.append(self._measured(source, brain, wanted, is_real=name != "generated"))
            except BrainDiffusionError as error:
                self.left_out += 1
                yield Warned(message=f"Left out: {error}", subject=source.name)
            left = seconds_left(begun, step, len(sources))
            yield Progress(stage=stage, step=step, total=len(sources), seconds_left=left, message=source.name)

    def _requested(self, brain: Brain) -> Generator[Event, None, Labels | None]:
        if "regions" not in brain.asked or self.requested is None:
            return None
        try:
            return self.requested(str(brain.asked["regions"]))
        except BrainDiffusionError as error:
            self.left_out += 1
            yield Warned(message=f"Its overlap with the requested label map is left out: {error}", subject=brain.name)
            return None

    def _measured(self, source: Source, brain: Brain, wanted: Labels | None, *, is_real: bool) -> MeasuredBrain:
        measures = self.measurer.measure(brain, wanted)
        vector = low_pass(brain.voxels, brain.spacing)
        asked = dict(brain.asked)
        if is_real:
            return MeasuredBrain(source, measures, asked, vector=vector.astype(np.float16))
        near = neighbours(views(vector), *self._vectors, self._chance())
        return MeasuredBrain(source, measures, asked, near=near)

    def _chance(self) -> NDArray[np.intp]:
        """Return the rows of a held-out person drawn by chance."""
        return rows_of_person(self._people, int(self.rng.integers(len(self.held_out))))

    @cached_property
    def _people(self) -> list[str]:
        return [one.source.person for one in self.held_out]

    @cached_property
    def _vectors(self) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
        training, held_out = (
            np.array([one.vector for one in group], np.float16) for group in (self.training, self.held_out)
        )
        return training, held_out

    def memorization(self, repeats: int) -> Iterator[Memorization]:
        """Test for copies of training brains by low-pass voxels (mirror images too) and by each encoder's features."""
        training, held_out = self._vectors
        people = neighbours_of_people(training, held_out, self._people, views)
        made = [one.near for one in self.generated if one.near is not None]
        yield self._tested(VOXELS, made, people, repeats)
        for encoder in self.generated[0].measures.features:
            every = [one.measures.features[encoder] for one in self.training + self.held_out + self.generated]
            count, others = len(self.training), len(self.held_out)
            scaled = standardised(np.array(every, np.float64), np.arange(count), one_unit=True)
            training_, held_out_, generated = np.split(scaled, (count, count + others))
            people = neighbours_of_people(training_, held_out_, self._people, np.atleast_2d)
            made = [neighbours(one[None], training_, held_out_, self._chance()) for one in generated]
            yield self._tested(encoder, made, people, repeats)

    def _tested(
        self, space: str, made: Sequence[Neighbours], people: Sequence[Neighbours], repeats: int
    ) -> Memorization:
        test = memorization_test(made, people)
        ours, theirs = (np.array([one.ratio for one in group]) for group in (made, people))
        found = [
            Neighbour(
                generated=seen.source.name,
                training=self.training[near.training].source.name,
                to_training=near.to_training,
                held_out=self.held_out[near.held_out].source.name,
                to_held_out=near.to_held_out,
                ratio=near.ratio,
                copied=near.to_training < test.threshold,
            )
            for seen, near in zip(self.generated, made, strict=True)
        ]
        medians = [Estimate.from_interval(of_one(np.median, each, repeats, self.rng)) for each in (ours, theirs)]
        return Memorization(
            space=space,
            p=test.p,
            ratio=medians[0],
            real_baseline=medians[1],
            threshold=test.threshold,
            ratios=ours.tolist(),
            real_baseline_ratios=theirs.tolist(),
            neighbours=sorted(found, key=lambda one: one.ratio),
        )
