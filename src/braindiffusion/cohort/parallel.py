"""Map a function over tasks in worker processes that end with this one."""

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, connection, get_context, parent_process
from typing import TypeVar

from braindiffusion.errors import BrainDiffusionError

Task = TypeVar("Task")
Answer = TypeVar("Answer")

ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
AHEAD = 2
"""Tasks that wait for each worker: enough to keep it busy, few enough to bound memory."""


def in_order(function: Callable[[Task], Answer], tasks: Sequence[Task], workers: int = 0) -> Generator[Answer]:
    """Answer tasks in their order. Closing the generator ends the workers at once: a task must leave nothing half done.

    Args:
        function: importable by name, as are its argument and answer picklable.
        tasks: what to do.
        workers: processes; 0 takes one a core, 1 works in this process.

    Raises:
        BrainDiffusionError: a worker process was killed.
    """
    workers = min(workers or _cores(), len(tasks))
    if workers <= 1:
        yield from map(function, tasks)
        return
    others = set(active_children())
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker)
    try:
        waiting: deque[Future[Answer]] = deque()
        remaining = iter(tasks)
        with _deaf_to_interrupts():  # submitting starts the workers
            for task in remaining:
                waiting.append(pool.submit(function, task))
                if len(waiting) >= workers * AHEAD:
                    break
        while waiting:
            answer = waiting.popleft().result()
            for task in remaining:
                waiting.append(pool.submit(function, task))
                break
            yield answer
    except BrokenProcessPool as error:
        msg = (
            "A worker process ended before its work was done, most likely for want of memory: try fewer workers, or 1."
        )
        raise BrainDiffusionError(msg) from error
    except (GeneratorExit, KeyboardInterrupt):
        # Stopped early: the pool alone would wait for all tasks that it has handed out.
        for worker in set(active_children()) - others:
            worker.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes started in here never see Ctrl-C, which a terminal sends to all: we decide when they end.

    One that comes in the meantime reaches us afterwards. Windows has no such mask.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _cores() -> int:
    """That this process may use, which on a cluster are fewer than the machine has."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _start_worker() -> None:
    # A pool's worker waits for ever on a parent that was killed, since it holds the pipe's other end itself.
    threading.Thread(target=_die_with_parent, daemon=True).start()
    # What a library prints must not get between the lines of an engine's protocol on standard output.
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    # Processes are what we parallelise by. torch and ITK read this when the first task that needs them imports them.
    os.environ |= dict.fromkeys(ONE_THREAD, "1")


def _die_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
