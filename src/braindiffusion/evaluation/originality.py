"""Is a generated brain a copy of a training brain?

For every brain, the distance to its nearest training brain over the distance to its nearest held-out brain. A model
that makes new people has the ratios of new people: those of held-out brains, each compared with the training brains
and with the other held-out ones. A model that copies has smaller ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu

SUSPICIOUS = 0.5
"""Nearer to a training brain than this share of the smallest distance between two real people is called a copy."""
BLOCK = 256  # rows that are compared at a time: memory stays bounded

Vectors = NDArray[np.floating]


@dataclass(frozen=True)
class Neighbours:
    """The real brains next to a brain.

    Attributes:
        training: row of the nearest training brain.
        to_training: its distance.
        held_out: row of the nearest held-out brain.
        to_held_out: its distance.
    """

    training: int
    to_training: float
    held_out: int
    to_held_out: float

    @property
    def ratio(self) -> float:
        """Distance to the nearest training brain over that to the nearest held-out one."""
        return self.to_training / self.to_held_out if self.to_held_out else np.inf


def nearest(views: Vectors, gallery: Vectors, without: int | None = None) -> tuple[int, float]:
    """The row of the gallery that is nearest to any of the views of a brain, and its distance.

    Args:
        views: (V, D): the brain, and its mirror image.
        gallery: (N, D).
        without: a row that does not count.
    """
    distances = np.empty(len(gallery))
    for start in range(0, len(gallery), BLOCK):
        rows = np.asarray(gallery[start : start + BLOCK], np.float32)
        distances[start : start + BLOCK] = np.min([np.linalg.norm(rows - view, axis=1) for view in views], axis=0)
    if without is not None:
        distances[without] = np.inf
    row = int(distances.argmin())
    return row, float(distances[row])


def neighbours(views: Vectors, training: Vectors, held_out: Vectors, without: int) -> Neighbours:
    """The neighbours of a brain.

    Args:
        views: (V, D).
        training: (T, D).
        held_out: (H, D).
        without: row of `held_out` that does not count: a held-out brain's own row, and for a generated brain one that
            was drawn by chance, so that all choose among equally many.
    """
    return Neighbours(*nearest(views, training), *nearest(views, held_out, without))


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
