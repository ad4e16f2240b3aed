"""Worker threads: what they worked on is forgotten when they have ended, however long the window lives."""

import gc
import weakref
from collections.abc import Generator

import numpy as np
import pytest
from napari.viewer import Viewer

from napari_braindiffusion.engine.threads import in_background, run_in_thread


class Brain:
    """Something large."""

    def __init__(self) -> None:
        self.data = np.zeros(1000)


@pytest.fixture
def viewer(make_napari_viewer) -> Viewer:
    return make_napari_viewer()


def test_a_function_and_its_arguments_are_forgotten(viewer, qtbot) -> None:
    shown: list[str] = []

    def start() -> weakref.ref[Brain]:
        brain = Brain()
        run_in_thread(lambda one: one, brain, then=lambda one: shown.append(type(one).__name__))
        return weakref.ref(brain)

    alive = start()
    qtbot.waitUntil(lambda: bool(shown))
    qtbot.waitUntil(lambda: bool(gc.collect() + 1) and alive() is None)


def test_pieces_arguments_and_callbacks_of_longer_work_are_forgotten(viewer, qtbot) -> None:
    ended: list[int] = []

    def work(brain: Brain, count: int) -> Generator[Brain]:
        yield from (brain for _ in range(count))

    def start() -> weakref.ref[Brain]:
        brain = Brain()
        loaded: list[Brain] = []
        in_background(
            work, brain, 3, what="Reading", total=3, done=loaded.append, after=lambda: ended.append(len(loaded))
        )
        return weakref.ref(brain)

    alive = start()
    qtbot.waitUntil(lambda: ended == [3])
    qtbot.waitUntil(lambda: bool(gc.collect() + 1) and alive() is None)
