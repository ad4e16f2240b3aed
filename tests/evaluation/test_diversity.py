"""Pairs of brains, and the spread of their likeness."""

from collections.abc import Callable

import numpy as np
import pytest

from braindiffusion.evaluation.metrics import similarity
from braindiffusion.evaluation.metrics.diversity import Pairs, diversity, draw_pairs, measure_pairs, paired_similarity
from braindiffusion.evaluation.sources import Source


@pytest.fixture
def source(make_brain: Callable) -> Callable[..., Source]:
    return lambda seed, counterpart="": Source(f"p{seed}", lambda: make_brain(seed), counterpart=counterpart)


@pytest.mark.parametrize(("count", "wanted", "expected"), [(5, 100, 10), (9, 20, 20), (500, 30, 30)])
def test_pairs_are_of_different_brains_and_come_once(count: int, wanted: int, expected: int) -> None:
    pairs = draw_pairs([str(i) for i in range(count)], wanted, np.random.default_rng(0))
    assert pairs.shape == (expected, 2)
    assert (pairs[:, 0] != pairs[:, 1]).all()
    assert len({tuple(sorted(pair)) for pair in pairs.tolist()}) == expected
    assert pairs.max() < count


@pytest.mark.parametrize(("people", "wanted", "expected"), [("aabbcc", 100, 12), ("a" * 98 + "bc", 1000, 197)])
def test_two_sessions_of_a_person_are_no_pair(people: str, wanted: int, expected: int) -> None:
    pairs = draw_pairs(list(people), wanted, np.random.default_rng(0))
    assert len(pairs) == expected
    assert all(people[i] != people[j] for i, j in pairs)


def test_the_mean_is_drawn_anew_over_brains_and_not_over_pairs() -> None:
    """One odd brain is in half of the pairs: its coming or not decides, so the mean is less sure than pairs make it."""
    rows = draw_pairs(list("abcd"), 10, np.random.default_rng(0))
    values = np.where((rows == 0).any(1), 0.0, 1.0)
    mean, again = Pairs(rows, values).mean(400, np.random.default_rng(1))
    assert mean == pytest.approx(0.5)
    assert again.std() > 1.2 * values.std() / np.sqrt(len(values))


def test_the_row_is_the_difference_of_the_means() -> None:
    rng = np.random.default_rng(2)
    rows = draw_pairs(list("abcdefgh"), 28, rng)
    pairs = {name: Pairs(rows, value + rng.normal(0, 0.01, 28)) for name, value in
             (("generated", 0.8), ("held_out", 0.7), ("training", 0.71))}  # fmt: skip
    row = diversity(pairs, 100, rng)
    assert row.generated.value == pytest.approx(pairs["generated"].values.mean() - pairs["held_out"].values.mean())
    assert row.generated.low > 0.08
    assert row.real_baseline is not None
    assert row.real_baseline.value == pytest.approx(0.01, abs=0.01)
    assert (row.brains, row.held_out) == (8, 8)


def exhaust(steps):  # type: ignore[no-untyped-def]
    """The value that a generator returns, and how often it told of its progress."""
    told = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value, told
        told += 1


def test_pairs_are_measured_with_ms_ssim(source: Callable, make_brain: Callable) -> None:
    groups = {name: [source(seed) for seed in seeds] for name, seeds in
              (("generated", (0, 1)), ("held_out", (2, 3)), ("training", (4, 5)))}  # fmt: skip
    found, told = exhaust(measure_pairs(groups, 5, np.random.default_rng(0)))
    assert told == 3
    assert found["held_out"].values[0] == pytest.approx(similarity.ms_ssim(make_brain(2).voxels, make_brain(3).voxels))


def test_brains_of_one_name_are_compared_with_each_other(source: Callable, make_brain: Callable) -> None:
    made = [source(1, counterpart="p2"), source(5, counterpart="nobody")]
    rows, told = exhaust(paired_similarity(made, {"p2": source(2)}, 10, np.random.default_rng(0)))
    assert told == 1
    psnr, ssim, _ = rows
    assert psnr.generated.value == pytest.approx(similarity.psnr(make_brain(1).voxels, make_brain(2).voxels))
    assert ssim.generated.value == pytest.approx(similarity.ssim(make_brain(1).voxels, make_brain(2).voxels))
    assert exhaust(paired_similarity(made, {}, 10, np.random.default_rng(0)))[0] == []
