"""The data set of a level: coefficients of the cohort's brains, whole or in patches.

Every random draw is a function of (seed, level, number of the sample) alone. An interrupted training continues with the
batch that it would have had, a batch can be split over processes, and no worker or queue has a state to be saved.
"""

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor

from braindiffusion.cohort.store import Cohort
from braindiffusion.cohort.transforms import patch_centres
from braindiffusion.diffusion.condition import Condition
from braindiffusion.models.cascade.cascade import Cascade
from braindiffusion.regions import regions_of
from braindiffusion.training.augment import Warp, augment
from braindiffusion.training.subject_condition import subject_condition

CACHE_BYTES = max(2 * 2**30, psutil.virtual_memory().total // 8)
"""Memory for augmented copies, so that each is made once where they fit."""


@dataclass(frozen=True)
class Batch:
    """A batch of samples.

    Attributes:
        first: number of the first sample, counted from the beginning of the training.
        bands: (batch, bands, channels, x, y, z), not normalised, coarse first (where the level has a coarse band).
        origin: (batch, 3) first site of each patch.
        condition: conditions of the brains; maps cover the patch, in voxels.
    """

    first: int
    bands: Tensor
    origin: Tensor
    condition: Condition


@dataclass(frozen=True)
class Brain:
    """One copy of one brain, decomposed for a level.

    Attributes:
        bands: (bands, channels, x, y, z) float32, not normalised.
        inside: (x, y, z), share of each site that is brain.
        condition: its condition, a batch of one.
        centres: (n, 3), sites on which a patch may be centred.
    """

    bands: Tensor
    inside: Tensor
    condition: Condition
    centres: NDArray[np.intp]

    @property
    def bytes(self) -> int:
        """Memory in bytes."""
        return sum(t.nbytes for t in (self.bands, self.inside, *self.condition.values())) + self.centres.nbytes


class PatchDataset:
    """The batches of one level.

    Args:
        cohort: the prepared brains.
        cascade: the model, for its decomposition and patch size.
        level: index of the level.
        subjects: rows of the cohort to draw from.
        copies: number of augmented copies of each brain, deterministic; 0 for the brain as it is.
        seed: seed of all random draws.
        warp: deformations of the copies.
    """

    def __init__(
        self,
        cohort: Cohort,
        cascade: Cascade,
        level: int,
        subjects: list[int],
        copies: int,
        seed: int,
        warp: Warp = Warp(),  # noqa: B008 frozen
    ) -> None:
        self.cohort, self.cascade, self.level = cohort, cascade, level
        self.subjects, self.copies, self.seed, self.warp = subjects, copies, seed, warp
        self.patch = cascade.level(level).config.patch
        self._cache: OrderedDict[tuple[int, int], Brain] = OrderedDict()
        self._cached_bytes = 0
        self._lock = Lock()  # batches are made ahead, in another thread

    def brain(self, subject: int, copy: int = -1) -> Brain:
        """Return the coefficients, mask and condition of one brain.

        Args:
            subject: row of the cohort.
            copy: number of the augmented copy; -1 is the brain as it is.
        """
        key = (subject, copy)
        with self._lock:
            brain = self._cache.get(key)
        if brain is None:
            brain = self._make(subject, copy)  # two threads may make the same copy: the results are equal
        with self._lock:
            if key not in self._cache:
                self._cache[key] = brain
                self._cached_bytes += brain.bytes
            self._cache.move_to_end(key)
            while self._cached_bytes > CACHE_BYTES and len(self._cache) > 1:
                self._cached_bytes -= self._cache.popitem(last=False)[1].bytes
        return brain

    def _make(self, subject: int, copy: int) -> Brain:
        volume = torch.from_numpy(np.asarray(self.cohort.volumes[subject], dtype=np.float32))
        mask = torch.from_numpy(np.asarray(self.cohort.masks[subject], dtype=np.float32))[None]
        config = self.cascade.config
        labels = None
        if self.cohort.labels is not None and {"volumes", "regions"} & set(config.condition.names):
            labels = torch.from_numpy(regions_of(np.asarray(self.cohort.labels[subject])))
        if copy >= 0:
            key = (self.seed, subject, copy)
            volume, mask, labels = augment(volume, mask, labels, config.spacing, key, self.warp)
        halvings = config.halvings(self.level)
        inside = torch.nn.functional.avg_pool3d(mask[None], 2**halvings)[0, 0] if halvings else mask[0]
        bands = self.cascade.decompose(volume[None], self.level)[0].contiguous()
        size = self._size(inside)
        return Brain(
            bands,
            inside,
            subject_condition(config.condition, self.cohort, subject, labels),
            patch_centres(inside, size),
        )

    def _size(self, inside: Tensor) -> tuple[int, int, int]:
        x, y, z = (min(self.patch or n, n) for n in inside.shape)
        return x, y, z

    def batch(self, step: int, size: int, rows: range | None = None) -> Batch:
        """Return the batch of a training step: each sample from another brain, patches centred inside brains.

        Args:
            step: number of the step, from 0.
            size: samples of the whole batch.
            rows: samples to make; None makes all.
        """
        rows = range(size) if rows is None else rows
        bands, origins, conditions = zip(*(self._sample(step * size + row) for row in rows), strict=True)
        condition = {name: torch.cat([c[name] for c in conditions]) for name in conditions[0]}
        return Batch(step * size + rows.start, torch.stack(bands), torch.stack(origins), condition)

    def _sample(self, number: int) -> tuple[Tensor, Tensor, Condition]:
        """Return bands, first site and condition of one sample."""
        epoch, index = divmod(number, len(self.subjects))
        order = np.random.default_rng((self.seed, self.level, epoch, 1)).permutation(len(self.subjects))
        rng = np.random.default_rng((self.seed, self.level, number))
        copy = int(rng.integers(self.copies)) if self.copies else -1
        brain = self.brain(self.subjects[order[index]], copy)
        if self.patch is None:
            return brain.bands, torch.zeros(3), brain.condition
        size = np.array(self._size(brain.inside))
        origin = brain.centres[rng.integers(len(brain.centres))] - size // 2
        edge = 2 ** self.cascade.config.halvings(self.level)
        sites = tuple(slice(o, o + n) for o, n in zip(origin.tolist(), size.tolist(), strict=True))
        voxels = tuple(slice(s.start * edge, s.stop * edge) for s in sites)
        condition = {name: t[(slice(None), *voxels)] if t.ndim == 4 else t for name, t in brain.condition.items()}
        return brain.bands[(slice(None), slice(None), *sites)], torch.from_numpy(origin).float(), condition
