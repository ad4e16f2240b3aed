"""The cache of a training: augmented copies of brains, decomposed for its levels, kept on the disk."""

import mmap
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from threading import Lock
from typing import IO
from weakref import WeakSet, finalize

import psutil
import torch
from torch import Tensor

from braindiffusion.diffusion.condition import Condition
from braindiffusion.errors import BrainDiffusionError

CACHE_BYTES = max(2 * 2**30, psutil.virtual_memory().total // 8)
"""Disk space for augmented copies, so that each is made once where they fit: as much as the system may keep in its own
cache, so that they are seldom read from the disk."""


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
