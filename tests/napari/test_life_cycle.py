"""Docks, jobs and layers that end at a bad moment."""

import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from napari.qt.threading import WorkerBase
from qtpy.QtCore import QCoreApplication, QEvent, QObject
from qtpy.QtWidgets import QApplication

from braindiffusion.runs import ArtifactWritten, Cancelled, GenerateRequest, PrepareRequest, Run, TrainRequest
from braindiffusion.volume import Volume
from napari_braindiffusion.docks import run_browser, train
from napari_braindiffusion.docks.open import open_dock
from napari_braindiffusion.docks.orthoviews import OrthoviewsDock
from napari_braindiffusion.docks.run_browser import RunBrowser
from napari_braindiffusion.engine.client import EngineClient
from napari_braindiffusion.engine.job import JobHandle
from napari_braindiffusion.io import figures
from napari_braindiffusion.io.evaluation_inputs import Origin

TIMEOUT = 30_000


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    yield make_napari_viewer_proxy(show=True)
    WorkerBase.await_workers(10_000)
    QApplication.processEvents()


@pytest.fixture
def brain(viewer):
    return viewer.add_image(np.random.default_rng(0).random((6, 6, 6)), name="first", units="mm")


@pytest.fixture
def jobs(monkeypatch):
    """Jobs that the engine is asked for: each lasts until it is cancelled."""
    asked: list[JobHandle] = []

    def submit(client, request, root=None):
        end = threading.Event()

        def events():
            while not end.wait(0.05):
                yield None
            yield Cancelled()

        asked.append(JobHandle(Run.create(request), events, end.set))
        return asked[-1]

    monkeypatch.setattr(EngineClient, "submit", submit)
    yield asked
    for job in asked:
        job.cancel()


def delete(widget) -> None:
    """As the event loop does it after the dock, or the window, has closed."""
    widget.deleteLater()
    QCoreApplication.sendPostedEvents(widget, QEvent.Type.DeferredDelete)


@pytest.mark.parametrize("who", ["napari", "first", "last"])
def test_docks_live_on_in_a_window_that_stays(viewer, qtbot, monkeypatch, who):
    """napari asks before it closes, and so may each dock: one refusal is enough."""
    docks = [open_dock(viewer, name) for name in ("Cohort", "Region volumes")]
    qtbot.waitUntil(lambda: all(dock._in_tabs for dock in docks), timeout=TIMEOUT)
    window = docks[0].window()
    with monkeypatch.context() as patch:
        if who == "napari":
            patch.setattr(type(window), "closeEvent", lambda self, event: event.ignore())
        else:
            patch.setattr(docks[-1 if who == "last" else 0], "may_close", lambda: False)
        assert not window.close()
    assert [dock.has_ended for dock in docks] == [False, False]
    viewer.close()
    assert [dock.has_ended for dock in docks] == [True, True]


@pytest.mark.parametrize("name", ["Generate", "Cohort", "Synthesize"])
def test_what_a_job_still_says_after_its_dock_has_closed_is_not_shown(viewer, jobs, monkeypatch, tmp_path, name):
    dock = open_dock(viewer, name)
    if name == "Generate":
        dock.generate(GenerateRequest(model="any", previews=True))
    elif name == "Cohort":
        monkeypatch.setattr(dock, "_request", lambda: PrepareRequest(data_dir=tmp_path, out=tmp_path / "c.zarr"))
        dock.prepare()
    else:
        dock.form.fields["out"].value = tmp_path / "dataset"
        dock.synthesize()
    (job,) = jobs
    dock.end()
    job._receive((ArtifactWritten(kind="preview", path="p.nii"), Volume(np.ones((1, 4, 4, 4), np.float32), np.eye(4))))
    assert not viewer.layers
    viewer.window.remove_dock_widget(dock)
    delete(dock)
    job._receive((Cancelled(), None))


def test_a_canvas_that_is_deleted_with_its_window_says_nothing(viewer, brain, qtbot):
    dock = open_dock(viewer, "Orthoviews")
    qtbot.waitUntil(lambda: bool(dock.panes) and dock.panes[0].native.context() is not None, timeout=TIMEOUT)
    pane = dock.panes[0]
    dock.end()
    delete(pane.native)
    viewer.window.remove_dock_widget(dock)
    delete(dock)


def _region_volumes(dock, brain):
    dock.segment(brain)
    return dock._source


def _evaluate(dock, brain):
    dock._find_nearest(brain, Origin(None, [Path("real.zarr")]))
    return dict(dock._asked_for)


def _orthoviews(dock, brain):
    others = [layer for layer in dock._viewer.layers if layer != brain]
    dock._viewer.layers.selection = {brain, others[0]}
    dock.differ()
    return dock._difference_name


@pytest.mark.parametrize(
    ("name", "ask"), [("Region volumes", _region_volumes), ("Evaluate", _evaluate), ("Orthoviews", _orthoviews)]
)
def test_a_second_request_leaves_the_first_as_it_was(viewer, brain, jobs, qtbot, notices, name, ask):
    """The menus and shortcuts work while the buttons of the dock are disabled."""
    brain.metadata["provenance"] = {"seed": 1}
    layers = [brain, *(viewer.add_image(np.ones((6, 6, 6)), name=one, units="mm") for one in ("second", "third"))]
    dock = OrthoviewsDock(viewer) if name == "Orthoviews" else open_dock(viewer, name)  # the canvases are not needed
    before = ask(dock, layers[0])
    qtbot.waitUntil(lambda: len(jobs) == 1, timeout=TIMEOUT)
    assert ask(dock, layers[2]) == before
    assert [message for _, message in notices()] == ["A job of this dock is still running: wait until it ends."]
    assert all(layer.visible for layer in layers[2:])
    dock.end()


def test_what_a_thread_finds_after_the_dock_has_closed_is_dropped(viewer, brain, qtbot, monkeypatch, tmp_path):
    found = []
    monkeypatch.setattr(train, "run_in_thread", lambda work, *args, then: found.append(then))
    dock = open_dock(viewer, "Train")
    dock.compare(Run.create(TrainRequest(data=tmp_path)))
    evaluate = open_dock(viewer, "Evaluate")
    found.append(lambda _: evaluate._find_nearest(brain, Origin(None, [tmp_path])))
    for one in (dock, evaluate):
        one.end()
        viewer.window.remove_dock_widget(one)
        delete(one)
    for then in found:
        then(([], 0, None))


def test_a_run_that_is_deleted_or_renamed_after_the_dock_has_closed(qtbot, monkeypatch, tmp_path):
    """To delete gigabytes, or to rename a folder of a slow network, takes seconds."""
    found = []
    monkeypatch.setattr(run_browser, "run_in_thread", lambda work, *args, then: found.append(partial(then, work)))
    monkeypatch.setattr(run_browser.questions, "ask_delete", lambda *_: True)
    monkeypatch.setattr(run_browser.questions, "ask_name", lambda *_: "another")
    browser = RunBrowser()
    run = Run.create(TrainRequest(data=tmp_path))
    for act in (browser.refresh, browser.rename, browser.delete, lambda: browser.follow(tmp_path)):
        browser.choose(run)
        act()
    assert len(found) == 4
    browser.close_for_good()
    delete(browser)
    for then in found:
        then()
    assert len(found) == 4  # nothing else is looked up


def test_a_figure_comes_though_the_last_dock_is_closed_meanwhile(viewer, brain, jobs, qtbot, monkeypatch):
    engine, closed = EngineClient(), []
    monkeypatch.setattr(EngineClient, "_shared", engine)
    monkeypatch.setattr(engine, "close", lambda: closed.append(True))
    dock = open_dock(viewer, "Cohort")
    viewer.layers.selection.active = brain
    figure = figures.open_in_browser(viewer, "slices")
    assert isinstance(figure, QObject)
    qtbot.waitUntil(lambda: len(jobs) == 1, timeout=TIMEOUT)
    dock.end()
    assert not closed
    with qtbot.waitSignal(figure.ended, timeout=TIMEOUT):
        figure.cancel()
    assert closed == [True]
