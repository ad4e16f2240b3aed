"""Worker threads for reading, writing and other work that would block the viewer.

A script that opens or saves a file expects it done when the call returns, and there is no event loop that could be
held up: there it is done at once.

napari's `create_worker` keeps each worker, and what that refers to, for as long as the window lives: a task status is
never removed. Short work without a progress bar therefore has a `FunctionWorker` of its own, and longer work lets go of
what it worked on.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, TypeVar

import pint
from napari.qt.threading import FunctionWorker, GeneratorWorker, create_worker
from napari.utils.notifications import show_error
from pint.registry import LazyRegistry
from qtpy.QtCore import QThread, QTimer

from braindiffusion.errors import BrainDiffusionError

Found = TypeVar("Found")

BLINK = 1_000_000
"""Voxels that are read or written within 50 ms; a brain at 2 mm has 700,000."""


def needs_thread(voxels: int) -> bool:
    """Whether so many voxels belong into a worker thread: they take long, and Qt's event loop is running."""
    return voxels > BLINK and is_interactive()


def is_interactive() -> bool:
    """Whether Qt's event loop is running, so that a user has asked, and no script waits for the result."""
    return QThread.currentThread().loopLevel() > 0


def load_for_layers() -> None:
    """Load what napari would load in the GUI thread with its first layer: the units of `pint`, and `scipy.ndimage`.

    For a worker thread that reads volumes: it takes half a second, during which the viewer would not answer.
    """
    import scipy.ndimage  # noqa: F401

    application = pint.get_application_registry()
    if type(application.get()) is LazyRegistry:
        registry: pint.UnitRegistry[Any] = pint.UnitRegistry()
        if type(application.get()) is LazyRegistry:  # nobody has used it in the meantime
            pint.set_application_registry(registry)


class _Turn:
    """Files come in the order in which they were asked for, though each has a thread."""

    last = threading.Event()
    last.set()


def show_message(error: BrainDiffusionError) -> None:
    """Show bad input as a notification, in the words that it comes with."""
    show_error(str(error))


def in_background(
    work: Callable[..., Generator[Any]],
    *args: Any,
    what: str,
    total: int,
    done: Callable[[Any], None],
    failed: Callable[[BrainDiffusionError], None] = show_message,
    after: Callable[[], None] = lambda: None,
) -> GeneratorWorker[Any, None, None]:
    """Drive a generator in a worker thread, with a bar in napari's activity dock.

    Args:
        work: Generator function; yields once for each piece of work. After a `BrainDiffusionError` that it yields it
            goes on; one that it raises ends it.
        *args: For `work`.
        what: For the bar.
        total: How many pieces there are.
        done: Called in the GUI thread with each piece, with one in each turn of the event loop: to add a layer takes a
            while, and napari's progress bar would have all that wait added at once.
        failed: Called in the GUI thread with each error; by default it is shown.
        after: Called in the GUI thread after the last.
    """
    pieces: deque[Any] = deque()
    ended = False

    def receive(piece: Any) -> None:
        pieces.append(piece)
        if len(pieces) == 1:
            QTimer.singleShot(0, hand_over)

    def hand_over() -> None:
        try:
            if isinstance(pieces[0], BrainDiffusionError):
                failed(pieces[0])
            else:
                done(pieces[0])
        finally:
            pieces.popleft()
            if pieces:
                QTimer.singleShot(0, hand_over)
            elif ended:
                close()

    def end() -> None:
        nonlocal ended
        ended = True
        if not pieces:
            close()

    def close() -> None:
        nonlocal work, args, done, failed, after
        last, work, args, done, failed, after = after, _nothing, (), _ignore, _ignore, _ignore
        last()

    before, mine = _Turn.last, threading.Event()
    _Turn.last = mine

    def until_an_error() -> Generator[Any]:
        before.wait()
        try:
            yield from work(*args)
        except BrainDiffusionError as error:
            yield error
        finally:
            mine.set()

    worker: GeneratorWorker[Any, None, None] = create_worker(until_an_error, _progress={"desc": what, "total": total})
    worker.yielded.connect(receive)
    worker.finished.connect(end)
    worker.start()
    return worker


def _nothing() -> Generator[Any]:
    yield from ()


def _ignore(*_: Any) -> None:
    """Do nothing."""


def run_in_thread(work: Callable[..., Found], *args: Any, then: Callable[[Found], None]) -> FunctionWorker[Any]:
    """Do something that may wait for a disk, such as a slow network folder, in a worker thread.

    Args:
        work: What to do. A `BrainDiffusionError` that it raises is shown.
        *args: For `work`.
        then: Called in the GUI thread with what it returned.
    """

    def caught() -> Callable[[], None]:
        try:
            found = work(*args)
        except BrainDiffusionError as error:
            return partial(show_message, error)
        return partial(then, found)

    worker: FunctionWorker[Any] = FunctionWorker(caught)
    worker.returned.connect(lambda tell: tell())
    worker.start()
    return worker
