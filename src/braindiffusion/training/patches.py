"""What a level learns from: normalised coefficients of the cohort's brains, whole or in patches.

Every draw is a function of (seed, level, step) alone: an interrupted training goes on with the very batch that it would
have had, and no worker or queue has a state to be saved.
"""

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from braindiffusion.cohort.store import Cohort
from braindiffusion.cohort.transforms import draw_patch
from braindiffusion.model.cascade import Cascade
from braindiffusion.training.augment import augment

CACHE_BYTES = 2 * 2**30


@dataclass(frozen=True)
class Batch:
    """Coefficients to learn.

    Attributes:
        bands: (batch, bands, channels, x, y, z), not normalised, coarse first (where the level has a coarse band).
        origin: (batch, 3) first site of each patch.
    """

    bands: Tensor
    origin: Tensor


class Patches:
    """Serves one level's batches.

    Args:
        cohort: the prepared brains.
        cascade: for its transforms.
        level: the level's index.
        subjects: rows of the cohort to draw from.
        variants: how many augmented versions of each brain (deterministic, so that they can be remembered); 0 for none.
        seed: of all draws.
    """

    def __init__(self, cohort: Cohort, cascade: Cascade, level: int, subjects: list[int], variants: int, seed: int):
        self.cohort, self.cascade, self.level = cohort, cascade, level
        self.subjects, self.variants, self.seed = subjects, variants, seed
        self.patch = cascade.level(level).config.patch
        self._cache: OrderedDict[tuple[int, int], tuple[Tensor, Tensor]] = OrderedDict()
        self._cached_bytes = 0

    def whole(self, subject: int, variant: int = -1) -> tuple[Tensor, Tensor]:
        """One brain's coefficients and where the brain is.

        Args:
            subject: row of the cohort.
            variant: augmented version; -1 is the brain as it is.

        Returns:
            (bands, channels, x, y, z) float32 and (x, y, z) the share of each site that is brain.
        """
        key = (subject, variant)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        volume = torch.from_numpy(np.asarray(self.cohort.volumes[subject], dtype=np.float32))
        mask = torch.from_numpy(np.asarray(self.cohort.masks[subject], dtype=np.float32))[None]
        if variant >= 0:
            volume, mask = augment(volume, mask, self.cascade.config.spacing, (self.seed, subject, variant))
        halvings = self.cascade.config.halvings(self.level)
        inside = torch.nn.functional.avg_pool3d(mask[None], 2**halvings)[0, 0] if halvings else mask[0]
        value = self.cascade.take_apart(volume[None], self.level)[0].contiguous(), inside
        self._cache[key] = value
        self._cached_bytes += sum(t.numel() * 4 for t in value)
        while self._cached_bytes > CACHE_BYTES and len(self._cache) > 1:
            _, old = self._cache.popitem(last=False)
            self._cached_bytes -= sum(t.numel() * 4 for t in old)
        return value

    def batch(self, step: int, size: int) -> Batch:
        """The batch of a training step: each sample from another brain, patches centred inside brains."""
        rng = np.random.default_rng((self.seed, self.level, step))
        bands, origins = [], []
        for position in range(step * size, (step + 1) * size):
            epoch, index = divmod(position, len(self.subjects))
            order = np.random.default_rng((self.seed, self.level, epoch, 1)).permutation(len(self.subjects))
            variant = int(rng.integers(self.variants)) if self.variants else -1
            one, inside = self.whole(self.subjects[order[index]], variant)
            one, origin = self._patch(one, inside, int(rng.integers(2**62)))
            bands.append(one)
            origins.append(origin)
        return Batch(torch.stack(bands), torch.stack(origins))

    def _patch(self, bands: Tensor, inside: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        if self.patch is None:
            return bands, torch.zeros(3)
        x, y, z = (min(self.patch, n) for n in inside.shape)
        patch, origin = draw_patch(bands.flatten(0, 1), (inside > 0).float(), (x, y, z), seed)
        return patch.unflatten(0, bands.shape[:2]), origin
