"""The data set of a level: coefficients of the cohort's brains, whole or in patches.

Every random draw is a function of (seed, level, number of the sample) alone. An interrupted training continues with the
batch that it would have had, a batch can be split over processes, and no worker or queue has a state to be saved.
"""

import mmap
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from threading import Lock
from typing import IO
from weakref import WeakSet, finalize

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor

from braindiffusion.cohort.standardise import BACKGROUND
from braindiffusion.cohort.store import Cohort
from braindiffusion.conditions import MapField
from braindiffusion.devices import return_free_memory
from braindiffusion.diffusion.condition import Condition
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.models.cascade.cascade import Cascade
from braindiffusion.regions import regions_of
from braindiffusion.regions.codes import encode
from braindiffusion.regions.sulci import relative_intensity, thin_sulci, with_thin_sulci
from braindiffusion.training.augment import Copy, Warp, augment
from braindiffusion.training.subject_condition import subject_condition

CACHE_BYTES = max(2 * 2**30, psutil.virtual_memory().total // 8)
"""Disk space for augmented copies, so that each is made once where they fit: as much as the system may keep in its own
cache, so that they are seldom read from the disk."""

THIN_SULCI = 0.75
"""Share of copies whose region map has thin sulci as CSF, as sampled maps have; maps of FreeSurfer or DLMUSE do not."""


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
        bands: (bands, channels, x, y, z), not normalised; float32, of region maps float16.
        inside: (x, y, z), share of each site that is brain.
        condition: its condition, a batch of one.
    """

    bands: Tensor
    inside: Tensor
    condition: Condition

    @property
    def tensors(self) -> list[Tensor]:
        """All that takes memory; the copies of one brain for several levels have the same condition."""
        return [self.bands, self.inside, *self.condition.values()]


class Blocks:
    """Files that tensors are kept in, 64 MB each, without a name: they are gone with their last tensor.

    Pages that were read count as memory of the process until `release`, and are the system's cache otherwise.

    Args:
        folder: of the files; None for the system's folder of temporary ones.
    """

    SIZE = 64 * 2**20

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._mapped: WeakSet[mmap.mmap] = WeakSet()
        self._block = torch.empty(0, dtype=torch.uint8)
        self._file: IO[bytes] | None = None
        self._used = 0

    def keep(self, tensor: Tensor) -> Tensor:
        """Return a copy of a tensor in the current file.

        Raises:
            BrainDiffusionError: the disk is full.
        """
        size = tensor.nbytes
        if not size:
            return tensor
        start = -(-self._used // 64) * 64
        try:
            if self._file is None or start + size > len(self._block):
                self._begin(max(self.SIZE, size))
                start = 0
            assert self._file is not None  # noqa: S101 begun
            self._file.seek(start)
            self._file.write(tensor.contiguous().numpy().data)
            self._file.flush()
        except OSError as error:
            msg = (
                f"Augmented copies cannot be kept in {self.folder or gettempdir()} ({error.strerror}): make room there."
            )
            raise BrainDiffusionError(msg) from error
        self._used = start + size
        return self._block[start : start + size].view(tensor.dtype).view(tensor.shape)

    def _begin(self, size: int) -> None:
        if self._file is not None:
            self._file.close()
        self._file = TemporaryFile(dir=self.folder)  # noqa: SIM115 closed with these blocks
        finalize(self, self._file.close)
        self._file.truncate(size)
        mapped = mmap.mmap(self._file.fileno(), size)  # its own handle: the file is there as long as its tensors
        self._mapped.add(mapped)
        self._block = torch.frombuffer(mapped, dtype=torch.uint8)

    def release(self) -> None:
        """Leave all pages that were read to the system."""
        if hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
            for one in list(self._mapped):
                one.madvise(mmap.MADV_DONTNEED)


class CopyCache:
    """Copies of brains for one or several levels, made once, on disk; the oldest are dropped beyond `CACHE_BYTES`.

    Args:
        folder: of their files; None for the system's folder of temporary ones.

    Attributes:
        bytes: of all copies.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.bytes = 0
        self._copies: OrderedDict[tuple[int, int], dict[int, Brain]] = OrderedDict()
        self._blocks = Blocks(folder)
        self._lock = Lock()  # batches are made ahead, in other threads

    def __len__(self) -> int:
        """Return the number of copies."""
        return len(self._copies)

    def get(self, key: tuple[int, int], level: int) -> Brain | None:
        """Return a copy for a level, or None.

        Args:
            key: (subject, copy).
            level: index of the level.
        """
        with self._lock:
            if key in self._copies:
                self._copies.move_to_end(key)
            return self._copies.get(key, {}).get(level)

    def put(self, key: tuple[int, int], brains: dict[int, Brain]) -> None:
        """Add a copy, by level."""
        with self._lock:
            self.bytes -= _bytes(self._copies.pop(key, {}))
            self._copies[key] = brains = self._kept(brains)
            self.bytes += _bytes(brains)
            while self.bytes > CACHE_BYTES and len(self._copies) > 1:
                self.bytes -= _bytes(self._copies.popitem(last=False)[1])

    def release(self) -> None:
        """Free the memory of what was read; it stays on disk."""
        with self._lock:
            self._blocks.release()

    def _kept(self, brains: dict[int, Brain]) -> dict[int, Brain]:
        """Return the same copies with their tensors in blocks; what levels share stays shared."""
        kept: dict[int, Tensor] = {}

        def keep(tensor: Tensor) -> Tensor:
            if tensor.data_ptr() not in kept:
                kept[tensor.data_ptr()] = self._blocks.keep(tensor)
            return kept[tensor.data_ptr()]

        return {
            level: Brain(keep(one.bands), keep(one.inside), {n: keep(t) for n, t in one.condition.items()})
            for level, one in brains.items()
        }


def _bytes(brains: dict[int, Brain]) -> int:
    return sum({t.data_ptr(): t.nbytes for brain in brains.values() for t in brain.tensors}.values())


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
        image = (volume[0] - BACKGROUND) / 2
        relative = relative_intensity(image.numpy(), labels.numpy(), self.cascade.config.spacing)
        if relative is None or np.random.default_rng((self.seed, subject, copy + 1)).random() >= THIN_SULCI:
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
