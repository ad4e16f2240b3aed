"""Memorization: a test whether generated brains are copies of training brains.

It compares the ratio of two distances of every brain: to its nearest training brain over to its nearest held-out brain.
A model that generates new people has the ratios of new people: those of held-out brains, each compared with the
training brains and with the other held-out ones. A model that copies has smaller ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import mannwhitneyu

from braindiffusion.cohort.nearest import Neighbours

SUSPICIOUS = 0.5
"""Share of the smallest distance between two real people below which a brain counts as a copy."""


@dataclass(frozen=True)
class MemorizationTest:
    """Result of the memorization test.

    Attributes:
        p: p value of the two-sided Mann-Whitney test, ratios of the brains against those of held-out people.
        threshold: distance to a training brain below which a brain is called a copy.
    """

    p: float
    threshold: float


def memorization_test(brains: Sequence[Neighbours], people: Sequence[Neighbours]) -> MemorizationTest:
    """Compare generated brains with held-out people."""
    ours, theirs = (np.array([one.ratio for one in group]) for group in (brains, people))
    smallest = min(min(one.to_training, one.to_held_out) for one in people)
    return MemorizationTest(float(mannwhitneyu(ours, theirs, alternative="two-sided").pvalue), SUSPICIOUS * smallest)
