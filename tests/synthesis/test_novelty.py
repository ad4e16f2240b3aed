"""The real brains that synthetic ones are compared with."""

from dataclasses import replace

import numpy as np
import pytest

from braindiffusion.evaluation.groups import RealGroup
from braindiffusion.evaluation.sources import Source
from braindiffusion.synthesis.novelty import EMBEDDING, VOXELS, Reference

GRID = 20 * 26 * 22
"""Low-pass voxels of a brain."""


def test_two_sessions_of_a_person_are_no_two_people() -> None:
    """The distance below which a brain is a copy is half of the smallest one between people."""
    rng = np.random.default_rng(0)

    def group(names: list[str], people: np.ndarray) -> RealGroup:
        rows = people + 0.05 * rng.standard_normal(people.shape)
        sources = [Source(name, lambda: pytest.fail("is not read")) for name in names]
        return RealGroup(sources, rows.astype(np.float16), rows.astype(np.float32))

    training = group([f"sub-{i}" for i in range(10, 14)], rng.standard_normal((4, GRID)))
    people = rng.standard_normal((4, GRID))
    twice = group([f"sub-{i}_ses-{k}" for i in range(4) for k in (1, 2)], people.repeat(2, 0))
    once = RealGroup(twice.sources[::2], twice.vectors[::2], twice.features[::2])
    found, expected = (Reference(training, one, lambda _: people[0], True) for one in (twice, once))
    for space in (VOXELS, EMBEDDING):
        assert found.threshold(space) == pytest.approx(expected.threshold(space), rel=0.01)
    strangers = replace(twice, sources=[replace(one, name=f"p{i}") for i, one in enumerate(twice.sources)])
    assert found.sha256 != replace(found, held_out=strangers).sha256
