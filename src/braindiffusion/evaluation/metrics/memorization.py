"""Is a generated brain a copy of a training brain?

For every brain, the distance to its nearest training brain over the distance to its nearest held-out brain. A model
that makes new people has the ratios of new people: those of held-out brains, each compared with the training brains
and with the other held-out ones. A model that copies has smaller ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import mannwhitneyu

from braindiffusion.cohort.nearest import Neighbours

SUSPICIOUS = 0.5
"""Nearer to a training brain than this share of the smallest distance between two real people is called a copy."""


@dataclass(frozen=True)
class Judgement:
    """Whether brains are as new as real people.

    Attributes:
        p: of the two-sided Mann-Whitney test, ratios of the brains against those of held-out people.
        threshold: distance to a training brain below which a brain is called a copy.
    """

    p: float
    threshold: float


def judge(brains: Sequence[Neighbours], people: Sequence[Neighbours]) -> Judgement:
    """Compare generated brains with held-out people."""
    ours, theirs = (np.array([one.ratio for one in group]) for group in (brains, people))
    smallest = min(min(one.to_training, one.to_held_out) for one in people)
    return Judgement(float(mannwhitneyu(ours, theirs, alternative="two-sided").pvalue), SUSPICIOUS * smallest)
