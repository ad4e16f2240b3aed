"""Copies must be found, and new people must not be called copies."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.ndimage import shift

from braindiffusion.cohort.nearest import Neighbours, low_pass, neighbours
from braindiffusion.evaluation.encoders.encoder import BrainMeasurer
from braindiffusion.evaluation.measure import MeasuredGroups
from braindiffusion.evaluation.metrics.memorization import memorization_test
from braindiffusion.evaluation.sources import Brain, Source
from braindiffusion.runs.reports.evaluation import Memorization

TRAINING, HELD_OUT, NEW = range(12), range(12, 20), range(100, 106)


def source(name: str, voxels: np.ndarray) -> Source:
    return Source(name, lambda: Brain(name, np.asarray(voxels, np.float32), None, 8.0))


@pytest.fixture(scope="module")
def found(make_brain: Callable) -> Memorization:
    """Six new people and five copies of training brains, each disguised in another way."""
    rng = np.random.default_rng(0)
    originals = [make_brain(i).voxels for i in TRAINING]
    copies = {
        "exact": originals[0],
        "noisy": np.clip(originals[1] + rng.normal(0, 0.05, originals[1].shape), 0, 1) * (originals[1] > 0),
        "shifted": shift(originals[2], (1, 0.5, -1), order=1),
        "mirrored": originals[3][::-1],
        "darker": 0.7 * originals[4],
    }
    measured_groups = MeasuredGroups(BrainMeasurer(), None, np.random.default_rng(0))
    groups = {
        "training": [source(f"train {i}", voxels) for i, voxels in enumerate(originals)],
        "held_out": [source(f"held out {i}", make_brain(i).voxels) for i in HELD_OUT],
        "generated": [source(f"new {i}", make_brain(i).voxels) for i in NEW]
        + [source(name, voxels) for name, voxels in copies.items()],
    }
    for name, sources in groups.items():
        for _ in measured_groups.measure_all(name, sources):
            pass
    (by_voxels,) = measured_groups.memorization(100)
    return by_voxels


@pytest.mark.parametrize(
    ("disguise", "original"), [("exact", 0), ("noisy", 1), ("shifted", 2), ("mirrored", 3), ("darker", 4)]
)
def test_a_planted_copy_is_found_with_its_original(found: Memorization, disguise: str, original: int) -> None:
    (one,) = (near for near in found.neighbours if near.generated == disguise)
    assert one.training == f"train {original}"
    assert one.copied
    assert one.ratio < 0.5


def test_new_people_are_no_copies_and_copies_come_first(found: Memorization) -> None:
    assert not any(near.copied for near in found.neighbours if near.generated.startswith("new"))
    assert {near.generated for near in found.neighbours[:5]} == {"exact", "noisy", "shifted", "mirrored", "darker"}
    assert found.p < 0.5
    assert found.ratio.low < found.ratio.value


def test_people_who_were_scanned_twice_hide_no_copy(make_brain: Callable, found: Memorization) -> None:
    """Two scans of one person are no two people, who are far from each other."""
    rng = np.random.default_rng(3)

    def scanned(seed: int, noise: float = 0.01) -> np.ndarray:
        voxels = make_brain(seed).voxels
        return np.clip(voxels + rng.normal(0, noise, voxels.shape) * (voxels > 0), 0, 1)

    twice = [(seed, session) for seed in HELD_OUT for session in (1, 2)]
    measured_groups = MeasuredGroups(BrainMeasurer(encoders={"mine": features}), None, np.random.default_rng(0))
    groups = {
        "training": [source(f"train {i}", make_brain(i).voxels) for i in TRAINING],
        "held_out": [source(f"sub-{seed}_ses-{session}", scanned(seed)) for seed, session in twice],
        "generated": [source(f"new {i}", make_brain(i).voxels) for i in NEW] + [source("copy", scanned(1, 0.05))],
    }
    for name, sources in groups.items():
        for _ in measured_groups.measure_all(name, sources):
            pass
    by_voxels, by_features = measured_groups.memorization(100)
    assert by_voxels.threshold == pytest.approx(found.threshold, rel=0.1)
    assert by_voxels.real_baseline.value == pytest.approx(found.real_baseline.value, rel=0.1)
    for one in (by_voxels, by_features):
        assert [near.generated for near in one.neighbours if near.copied] == ["copy"]


def features(brain: Brain) -> np.ndarray:
    return low_pass(brain.voxels, brain.spacing)


def simulated(rng: np.random.Generator, copied: int = 0) -> float:
    """The test's p for 30 people in 6 dimensions, of whom some are near to one of 60 training people."""
    training, held_out, made = (rng.normal(size=(n, 6)) for n in (60, 20, 30))
    made[:copied] = training[:copied] + 0.2 * rng.normal(size=(copied, 6))
    people = [neighbours(one[None], training, held_out, row) for row, one in enumerate(held_out)]
    brains = [neighbours(one[None], training, held_out, int(rng.integers(20))) for one in made]
    return memorization_test(brains, people).p


def test_new_people_are_rarely_doubted() -> None:
    """Under the null, p is below 0.05 about as often as it says."""
    rng = np.random.default_rng(0)
    p = np.array([simulated(rng) for _ in range(150)])
    assert 0.01 <= (p < 0.05).mean() <= 0.12
    assert 0.35 <= np.median(p) <= 0.65


def test_a_model_that_copies_half_the_time_is_caught() -> None:
    rng = np.random.default_rng(1)
    assert np.mean([simulated(rng, copied=15) < 0.05 for _ in range(30)]) >= 0.8


def test_a_model_that_avoids_training_people_is_no_sample_of_the_population_either() -> None:
    """The test is two-sided: brains far from all training people are told too."""
    people = [Neighbours(0, 1.0 + 0.01 * i, 0, 1.0) for i in range(20)]
    assert memorization_test([Neighbours(0, 2.0, 0, 1.0)] * 20, people).p < 1e-3
