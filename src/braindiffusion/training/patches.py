"""The data set of a level: coefficients of the cohort's brains, whole or in patches.

Every random draw is a function of (seed, level, number of the sample) alone. An interrupted training continues with the
batch that it would have had, a batch can be split over processes, and no worker or queue has a state to be saved.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from braindiffusion.cohort.standardise import BACKGROUND
from braindiffusion.cohort.store import Cohort
from braindiffusion.conditions import MapField
from braindiffusion.devices import return_free_memory
from braindiffusion.diffusion.condition import Condition
from braindiffusion.models.cascade.cascade import Cascade
from braindiffusion.regions import regions_of
from braindiffusion.regions.codes import encode
from braindiffusion.regions.sulci import relative_intensity, thin_sulci, with_thin_sulci
from braindiffusion.training.augment import Copy, Warp, augment
from braindiffusion.training.copy_cache import Brain, CopyCache
from braindiffusion.training.subject_condition import subject_condition

THIN_SULCI = 0.75
"""Share of copies whose region map has thin sulci as CSF, as sampled maps have; maps of FreeSurfer or DLMUSE do not."""
SULCI_STREAM = 104_729  # keeps these draws apart from those of the deformations, which have the same seeds


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
        levels: levels with the same copies, for which they are made together; only this one if empty.
        cache: the copies of these levels.
        augmented: samples that are of copies; later ones are of brains as they are. None for all.
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
        levels: Sequence[int] = (),
        cache: CopyCache | None = None,
        augmented: int | None = None,
    ) -> None:
        self.cohort, self.cascade, self.level = cohort, cascade, level
        self.augmented = augmented
        self.subjects, self.copies, self.seed, self.warp = subjects, copies, seed, warp
        self.levels = tuple(levels) or (level,)
        self.cache = CopyCache() if cache is None else cache
        self.patch = cascade.level(level).config.patch

    def brain(self, subject: int, copy: int = -1) -> Brain:
        """Return the coefficients, mask and condition of one brain.

        Args:
            subject: row of the cohort.
            copy: number of the augmented copy, -1 for the brain as it is. Odd copies mirror those before them.
        """
        brain = self.cache.get((subject, copy), self.level)
        if brain is None:
            made = self._make(subject, copy)  # two threads may make the same copy: the results are equal
            for number, brains in made.items():
                self.cache.put((subject, number), brains)
            brain = made[copy][self.level]
            return_free_memory()  # volumes before and after a deformation, as much as a step of training
        return brain

    def _make(self, subject: int, copy: int) -> dict[int, dict[int, Brain]]:
        """Return a copy and its mirror image, by number and level. The deformation takes most of the time."""
        volume = torch.from_numpy(np.asarray(self.cohort.volumes[subject], dtype=np.float32))
        mask = torch.from_numpy(np.asarray(self.cohort.masks[subject], dtype=np.float32))[None]
        config = self.cascade.config
        labels = None
        needed = config.content == "regions" or {"volumes", "regions"} & set(config.condition.names)
        if self.cohort.labels is not None and needed:
            labels = torch.from_numpy(regions_of(np.asarray(self.cohort.labels[subject])))
        if copy < 0:
            return {copy: self._decomposed(subject, copy, (volume, mask, labels))}
        pair = copy // 2
        both = augment(volume, mask, labels, config.spacing, (self.seed, subject, pair), self.warp)
        numbers = (number for number in (2 * pair, 2 * pair + 1) if number < max(self.copies, copy + 1))
        return {number: self._decomposed(subject, number, both[number % 2]) for number in numbers}

    def _decomposed(self, subject: int, copy: int, made: Copy) -> dict[int, Brain]:
        """Return one copy as each of the levels sees it."""
        volume, mask, labels = made
        if self.cascade.config.content == "regions":
            assert labels is not None  # noqa: S101 checked before the training
            volume = torch.from_numpy(encode(labels.numpy()))
        schema, shown = self.cascade.config.condition, labels
        if labels is not None and any(isinstance(field, MapField) for field in schema.fields):
            shown = self._with_sulci(subject, copy, volume, labels)
        condition = subject_condition(schema, self.cohort, subject, labels, shown)
        brains = {}
        for level in self.levels:
            side = 2 ** self.cascade.config.halvings(level)
            inside = torch.nn.functional.avg_pool3d(mask[None], side)[0, 0] if side > 1 else mask[0]
            bands = self.cascade.decompose(volume[None], level)[0].contiguous()
            if self.cascade.config.content == "regions":
                bands = bands.half()  # eight channels: copies would take eight times the memory of an image's
            brains[level] = Brain(bands, inside, condition)
        return brains

    def _with_sulci(self, subject: int, copy: int, volume: Tensor, labels: Tensor) -> Tensor:
        """Return the region map of a copy, in `THIN_SULCI` of the copies with the thin sulci of the image."""
        draw = np.random.default_rng((self.seed, subject, copy + 1, SULCI_STREAM))
        if draw.random() >= THIN_SULCI:
            return labels
        image = (volume[0] - BACKGROUND) / 2
        relative = relative_intensity(image.numpy(), labels.numpy(), self.cascade.config.spacing)
        if relative is None:
            return labels
        return torch.from_numpy(with_thin_sulci(labels.numpy(), thin_sulci(labels.numpy(), relative)))

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
        batch = Batch(step * size + rows.start, torch.stack(bands), torch.stack(origins), condition)
        self.cache.release()
        return batch

    def subjects_of(self, step: int, size: int) -> list[str]:
        """Return the ids of the subjects in the batch of a training step."""
        return [self.cohort.subjects[self._subject(step * size + row)].id for row in range(size)]

    def _subject(self, number: int) -> int:
        """Return the row of the subject that a sample is of: all in turn, in another order in each epoch."""
        epoch, index = divmod(number, len(self.subjects))
        order = np.random.default_rng((self.seed, self.level, epoch, 1)).permutation(len(self.subjects))
        return self.subjects[int(order[index])]

    def _sample(self, number: int) -> tuple[Tensor, Tensor, Condition]:
        """Return bands, first site and condition of one sample."""
        rng = np.random.default_rng((self.seed, self.level, number))
        augmented = self.augmented is None or number < self.augmented
        copy = int(rng.integers(self.copies)) if self.copies and augmented else -1
        brain = self.brain(self._subject(number), copy)
        if self.patch is None:
            return brain.bands, torch.zeros(3), brain.condition
        size = self._size(brain.inside)
        centres = patch_centres(brain.inside, size)
        origin = centres[rng.integers(len(centres))] - np.array(size) // 2
        edge = 2 ** self.cascade.config.halvings(self.level)
        sites = tuple(slice(o, o + n) for o, n in zip(origin.tolist(), size, strict=True))
        voxels = tuple(slice(s.start * edge, s.stop * edge) for s in sites)
        condition = {name: t[(slice(None), *voxels)] if t.ndim == 4 else t for name, t in brain.condition.items()}
        return brain.bands[(slice(None), slice(None), *sites)], torch.from_numpy(origin).float(), condition


def patch_centres(inside: Tensor, size: tuple[int, int, int]) -> NDArray[np.intp]:
    """Return the sites that TorchIO's weighted sampler may centre a patch on: brain, away from the box's faces.

    Drawing among them, all alike, is that sampler. Drawing through it would copy the whole brain for each patch.

    Args:
        inside: (x, y, z), the share of each site that is brain.
        size: sites of the patch; a patch reaches from `centre - size // 2`.

    Returns:
        (n, 3); the middle of the box where no brain is.
    """
    sides = list(zip(inside.shape, size, strict=True))
    allowed = inside[tuple(slice(n // 2, side - (n - 1) // 2) for side, n in sides)].numpy() > 0
    found = np.argwhere(allowed) + np.array(size) // 2
    return found if len(found) else np.array([inside.shape]) // 2
