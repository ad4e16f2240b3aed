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
from braindiffusion.diffusion.condition import Condition
from braindiffusion.model.cascade import Cascade
from braindiffusion.regions import group
from braindiffusion.training.augment import augment
from braindiffusion.training.conditions import tell

CACHE_BYTES = 2 * 2**30


@dataclass(frozen=True)
class Batch:
    """Coefficients to learn.

    Attributes:
        bands: (batch, bands, channels, x, y, z), not normalised, coarse first (where the level has a coarse band).
        origin: (batch, 3) first site of each patch.
        condition: what is known of the brains; maps cover the patch, in voxels.
    """

    bands: Tensor
    origin: Tensor
    condition: Condition


@dataclass(frozen=True)
class Brain:
    """One version of one brain, as a level sees it.

    Attributes:
        bands: (bands, channels, x, y, z) float32, not normalised.
        inside: (x, y, z), the share of each site that is brain.
        condition: what is known of it, a batch of one.
    """

    bands: Tensor
    inside: Tensor
    condition: Condition

    @property
    def bytes(self) -> int:
        """Of memory."""
        return sum(t.nbytes for t in (self.bands, self.inside, *self.condition.values()))


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
        self._cache: OrderedDict[tuple[int, int], Brain] = OrderedDict()
        self._cached_bytes = 0

    def whole(self, subject: int, variant: int = -1) -> Brain:
        """One brain's coefficients, where the brain is, and what is known of it.

        Args:
            subject: row of the cohort.
            variant: augmented version; -1 is the brain as it is.
        """
        key = (subject, variant)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        volume = torch.from_numpy(np.asarray(self.cohort.volumes[subject], dtype=np.float32))
        mask = torch.from_numpy(np.asarray(self.cohort.masks[subject], dtype=np.float32))[None]
        schema = self.cascade.config.condition
        labels = None
        if self.cohort.labels is not None and {"volumes", "regions"} & set(schema.names):
            labels = torch.from_numpy(group(np.asarray(self.cohort.labels[subject])))
        if variant >= 0:
            key_ = (self.seed, subject, variant)
            volume, mask, labels = augment(volume, mask, labels, self.cascade.config.spacing, key_)
        halvings = self.cascade.config.halvings(self.level)
        inside = torch.nn.functional.avg_pool3d(mask[None], 2**halvings)[0, 0] if halvings else mask[0]
        bands = self.cascade.take_apart(volume[None], self.level)[0].contiguous()
        value = Brain(bands, inside, tell(schema, self.cohort, subject, labels))
        self._cache[key] = value
        self._cached_bytes += value.bytes
        while self._cached_bytes > CACHE_BYTES and len(self._cache) > 1:
            _, old = self._cache.popitem(last=False)
            self._cached_bytes -= old.bytes
        return value

    def batch(self, step: int, size: int) -> Batch:
        """The batch of a training step: each sample from another brain, patches centred inside brains."""
        rng = np.random.default_rng((self.seed, self.level, step))
        patches = []
        for position in range(step * size, (step + 1) * size):
            epoch, index = divmod(position, len(self.subjects))
            order = np.random.default_rng((self.seed, self.level, epoch, 1)).permutation(len(self.subjects))
            variant = int(rng.integers(self.variants)) if self.variants else -1
            brain = self.whole(self.subjects[order[index]], variant)
            patches.append(self._patch(brain, int(rng.integers(2**62))))
        bands, origins, conditions = zip(*patches, strict=True)
        condition = {name: torch.cat([c[name] for c in conditions]) for name in conditions[0]}
        return Batch(torch.stack(bands), torch.stack(origins), condition)

    def _patch(self, brain: Brain, seed: int) -> tuple[Tensor, Tensor, Condition]:
        if self.patch is None:
            return brain.bands, torch.zeros(3), brain.condition
        size = tuple(min(self.patch, n) for n in brain.inside.shape)
        inside = (brain.inside > 0).float()
        patch, origin = draw_patch(brain.bands.flatten(0, 1), inside, size, seed)  # type: ignore[arg-type]
        edge = 2 ** self.cascade.config.halvings(self.level)
        box = tuple(slice(int(o) * edge, (int(o) + n) * edge) for o, n in zip(origin, size, strict=True))
        condition = {name: t[(slice(None), *box)] if t.ndim == 4 else t for name, t in brain.condition.items()}
        return patch.unflatten(0, brain.bands.shape[:2]), origin, condition
