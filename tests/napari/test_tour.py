"""The guided tour: it comes once, over the real controls, and goes when it is told to."""

import pytest
from napari.utils.theme import get_theme
from qtpy.QtCore import Qt

from napari_braindiffusion import tour
from napari_braindiffusion.docks.base import TourOffer
from napari_braindiffusion.settings import PLUGIN, remember, settings


@pytest.fixture
def viewer(make_napari_viewer_proxy, monkeypatch):
    monkeypatch.setattr(TourOffer, "made", False)
    viewer = make_napari_viewer_proxy(show=True)
    viewer.window.resize(1366, 768)
    yield viewer
    if tour._Now.tour is not None:
        tour._Now.tour.end()


def test_it_comes_with_the_first_dock_of_a_newcomer_and_never_again(viewer, qtbot):
    remember("tour", "seen", value=False)
    viewer.window.add_plugin_dock_widget(PLUGIN, "Train")
    qtbot.waitUntil(lambda: tour._Now.tour is not None)
    assert settings().tour_seen
    qtbot.mouseClick(tour._Now.tour.spotlight.skip_button, Qt.MouseButton.LeftButton)
    assert tour._Now.tour is None
    TourOffer.made = False  # the next session
    viewer.window.add_plugin_dock_widget(PLUGIN, "Cohort")
    qtbot.wait(50)
    assert tour._Now.tour is None


def test_five_steps_each_over_a_control_that_is_to_be_seen(viewer, qtbot, notices):
    guide = tour.begin_tour(viewer)
    spotlight = guide.spotlight
    assert len(tour.STEPS) == 5
    for number, step in enumerate(tour.STEPS, start=1):
        # The spotlight follows a control that moves with its dock, so that it can be pressed.
        qtbot.waitUntil(lambda: spotlight.hole.width() > 20 and not spotlight.mask().contains(spotlight.hole.center()))
        window = spotlight.parentWidget()
        assert window.rect().contains(spotlight.hole.center())
        assert spotlight.rect().contains(spotlight.bubble.geometry())
        assert not spotlight.hole.intersects(spotlight.bubble.geometry())
        assert spotlight.title.text() == step.title
        assert spotlight.count.text() == f"{number} of 5"
        assert spotlight.skip_button.isVisible() == (number < 5)
        qtbot.mouseClick(spotlight.next_button, Qt.MouseButton.LeftButton)
    assert tour._Now.tour is None
    assert notices() == []


def test_back_escape_and_beginning_anew(viewer, qtbot):
    first = tour.begin_tour(viewer)
    guide = tour.begin_tour(viewer)
    assert first.spotlight is None
    spotlight = guide.spotlight
    assert not spotlight.back_button.isEnabled()
    guide.next()
    qtbot.mouseClick(spotlight.back_button, Qt.MouseButton.LeftButton)
    assert guide.step == 0
    viewer.theme = "light"
    assert get_theme("light").background.as_hex() in spotlight.bubble.styleSheet()
    qtbot.keyClick(spotlight, Qt.Key.Key_A)
    assert tour._Now.tour is guide
    qtbot.keyClick(spotlight, Qt.Key.Key_Escape)
    assert tour._Now.tour is None


def test_a_script_is_not_shown_around(viewer, qtbot):
    remember("tour", "seen", value=False)
    TourOffer.suppress()
    viewer.window.add_plugin_dock_widget(PLUGIN, "Generate")
    qtbot.wait(50)
    assert tour._Now.tour is None


def test_closing_the_dock_of_a_step_ends_the_tour_without_errors(viewer, qtbot, notices, capsys):
    guide = tour.begin_tour(viewer)
    spotlight = guide.spotlight
    viewer.window.remove_dock_widget(guide._dock)
    qtbot.waitUntil(lambda: tour._Now.tour is None)
    assert guide.spotlight is None
    assert not spotlight._follow.isActive()
    with qtbot.captureExceptions() as errors:
        spotlight._place()  # a timer that fires late
    assert not errors
    assert not notices()


def test_it_is_in_the_palette(viewer):
    from npe2 import PluginManager

    guide = PluginManager.instance().commands.execute(f"{PLUGIN}.tour", (viewer,))
    assert guide is None
    assert tour._Now.tour is not None
