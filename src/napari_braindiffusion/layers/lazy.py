"""A lazy array: reads a chunk in the background when it is shown, without blocking napari.

napari slices in the GUI thread. A chunk that is not in memory is read in a worker thread; until then it is
blank, and a callback tells when it has been read. Neighbours are read ahead, for a slider that moves on.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from braindiffusion.cohort.store.array import StoredArray
from braindiffusion.errors import BrainDiffusionError

if TYPE_CHECKING:
    import zarr

PATIENCE = 0.02
"""Seconds that a look may wait: small chunks are there by then, and no blank flashes up."""
MEMORY = 512 * 2**20
"""Bytes of chunks that are kept, or `KEPT` chunks where those are larger."""
KEPT = 4


class ChunkReader:
    """Reads the chunks of an array along its first axis, the newest wish first, and remembers the last ones.

    Args:
        array: (N, ...), one chunk for each index of the first axis.
        late: Called in the reading thread with the index of a chunk that somebody has seen blank, once it is there.
        failed: Called in the reading thread with a sentence on each chunk that is lost or damaged.
    """

    def __init__(
        self, array: "zarr.Array[Any] | StoredArray", late: Callable[[int], None], failed: Callable[[str], None] = print
    ) -> None:
        self.array = array
        self._late, self._failed = late, failed
        size = int(np.prod(array.shape[1:])) * array.dtype.itemsize
        self._most = max(KEPT, MEMORY // max(size, 1))
        self._chunks: OrderedDict[int, NDArray[Any]] = OrderedDict()
        self._wanted: list[int] = []
        self._blank: set[int] = set()
        self._there = threading.Condition()
        self._thread = ThreadPoolExecutor(1, "cohort-reader")

    def get(self, index: int) -> NDArray[Any] | None:
        """A chunk, or None where it is not there yet; `late` is called as soon as it is."""
        with self._there:
            self._want(index)
            self._there.wait_for(lambda: index in self._chunks, PATIENCE)
            chunk = self._chunks.get(index)
            if chunk is None:
                self._blank.add(index)
            else:
                self._chunks.move_to_end(index)
        return chunk

    def read(self, index: int) -> NDArray[Any]:
        """A chunk, however long that takes."""
        with self._there:
            chunk = self._chunks.get(index)
        return np.asarray(self.array[index]) if chunk is None else chunk

    def close(self) -> None:
        """Read nothing more."""
        with self._there:
            self._wanted.clear()
        self._thread.shutdown(wait=False)

    def _want(self, index: int) -> None:
        """The last is read first. What was wanted before and is no neighbour is not wanted any more."""
        near = [i for i in (index - 1, index + 1, index) if 0 <= i < self.array.shape[0] and i not in self._chunks]
        for _ in set(near) - set(self._wanted):
            self._thread.submit(self._read_next)
        self._wanted = near

    def _read_next(self) -> None:
        with self._there:
            while self._wanted and self._wanted[-1] in self._chunks:
                self._wanted.pop()
            if not self._wanted:
                return
            index = self._wanted.pop()
        try:
            chunk = np.asarray(self.array[index])
        except BrainDiffusionError as error:
            self._failed(str(error))
            return
        with self._there:
            self._chunks[index] = chunk
            while len(self._chunks) > self._most:
                self._chunks.popitem(last=False)
            was_blank = index in self._blank
            self._blank.discard(index)
            self._there.notify_all()
        if was_blank:
            self._late(index)


class LazyVolumes:
    """Volumes (N, x, y, z) as napari takes an array: it is sliced, never read whole.

    Args:
        reader: Of an array (N, x, y, z), or (N, C, x, y, z).
        channel: Which C.
        blank: Value of voxels that are not there yet.
    """

    def __init__(self, reader: ChunkReader, channel: int | None = None, blank: float = 0) -> None:
        self.reader = reader
        self._channel = channel
        array = reader.array
        self.shape: tuple[int, ...] = (array.shape[0], *array.shape[-3:])
        self.ndim = 4
        self.dtype = np.dtype(array.dtype)
        self.size = int(np.prod(self.shape))
        self._blank = np.broadcast_to(np.array(blank, self.dtype), self.shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[Any]:
        which, *rest = key if isinstance(key, tuple) else (key,)
        if isinstance(which, (int, np.integer)):
            return self._volume(range(len(self))[int(which)])[tuple(rest)]
        numbers = np.arange(len(self))[which]
        volumes = [self._volume(int(number))[tuple(rest)] for number in numbers]
        return np.stack(volumes) if volumes else np.empty((0, *self._blank[tuple(rest)].shape), self.dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return all of it, for instance to save it."""
        return np.stack([self._of(self.reader.read(number)) for number in range(len(self))]).astype(dtype or self.dtype)

    def _volume(self, number: int) -> NDArray[Any]:
        chunk = self.reader.get(number)
        return self._blank if chunk is None else self._of(chunk)

    def _of(self, chunk: NDArray[Any]) -> NDArray[Any]:
        return chunk if self._channel is None else chunk[self._channel]
