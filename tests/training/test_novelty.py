"""A copy of a training brain is told while the model learns; a new person is not called one."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from braindiffusion.cohort.store import Cohort, Subject
from braindiffusion.training.novelty import Novelty

TRAINING, HELD_OUT = [0, 1, 2], [3, 4, 5]


@pytest.fixture(scope="module")
def novelty(cohort: Cohort) -> Novelty:
    return Novelty(cohort, TRAINING, HELD_OUT)


def brain(cohort: Cohort, row: int) -> np.ndarray:
    return np.asarray(cohort.volumes[row, 0], np.float32)


def test_copies_are_far_below_one_and_new_people_around_it(cohort: Cohort, novelty: Novelty) -> None:
    copies = [novelty.of(brain(cohort, row)) for row in TRAINING]
    assert max(copies) < 0.05
    assert novelty.of(np.ascontiguousarray(brain(cohort, 0)[::-1])) < 0.5
    mixed = (brain(cohort, 0) + brain(cohort, 3)) / 2
    assert 0.4 < novelty.of(mixed) < 2.5


def test_without_held_out_people_or_without_a_brain_nothing_is_told(cohort: Cohort, novelty: Novelty) -> None:
    assert Novelty(cohort, TRAINING, [3]).of(brain(cohort, 0)) is None
    assert novelty.of(np.full(cohort.volumes.shape[2:], -1, np.float32)) is None


def test_another_session_of_a_held_out_person_is_nobody_else(cohort: Cohort) -> None:
    volumes = np.asarray(cohort.volumes[:])
    volumes[4] = volumes[3] + np.float16(0.01) * (volumes[3] > 0)
    people = [Subject(id=name) for name in ("a", "b", "c", "d_ses-1", "d_ses-2", "e")]
    twice: Any = SimpleNamespace(volumes=volumes, preprocessing=cohort.preprocessing, subjects=people)
    assert Novelty(twice, TRAINING, [3, 4]).of(brain(cohort, 0)) is None
    mixed = (brain(cohort, 0) + brain(cohort, 3)) / 2
    once = Novelty(twice, TRAINING, [3, 5]).of(mixed)
    assert Novelty(twice, TRAINING, HELD_OUT).of(mixed) == pytest.approx(once, rel=0.5)


def test_fine_volumes_are_averaged_first(cohort: Cohort, novelty: Novelty, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("braindiffusion.training.novelty.FINE_MM", 16.0)
    assert Novelty(cohort, TRAINING, HELD_OUT).of(brain(cohort, 1)) < 0.05
