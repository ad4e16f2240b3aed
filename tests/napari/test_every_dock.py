"""What holds for every dock of the manifest: explained, in order, narrow, low, and at home in every theme."""

from importlib.resources import files
from itertools import pairwise

import numpy as np
import pytest
from npe2 import PluginManifest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QImage, QWheelEvent
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QHeaderView,
    QLineEdit,
    QScrollBar,
    QWidget,
)
from superqt import QCollapsible

from napari_braindiffusion.settings import PLUGIN

MANIFEST = PluginManifest.from_file(files("napari_braindiffusion") / "napari.yaml")
DOCKS = [widget.display_name for widget in MANIFEST.contributions.widgets]
CONTROLS = (QAbstractButton, QAbstractSlider, QAbstractSpinBox, QComboBox, QLineEdit, QAbstractItemView)
LAPTOP = (1366, 768)
NARROW = 300


@pytest.fixture(params=DOCKS)
def dock(request, make_napari_viewer_proxy, qtbot):
    viewer = make_napari_viewer_proxy(show=True)
    viewer.window.resize(*LAPTOP)
    area, dock = viewer.window.add_plugin_dock_widget(PLUGIN, request.param)
    qtbot.waitUntil(lambda: dock.isVisible() and dock.height() > LAPTOP[1] - 100)
    dock.viewer, dock.area = viewer, area
    return dock


def controls_of(dock: QWidget) -> list[QWidget]:
    """What one can press, turn or type into; not the parts that Qt makes inside of them."""
    inside = (QComboBox, QAbstractSpinBox, QAbstractItemView, QLineEdit)
    return [
        widget
        for widget in dock.findChildren(QWidget)
        if isinstance(widget, CONTROLS)
        and not isinstance(widget, QScrollBar | QHeaderView)
        and not any(isinstance(above, inside) for above in ancestors(widget, dock))
    ]


def ancestors(widget: QWidget, top: QWidget):
    while (widget := widget.parentWidget()) is not None and widget is not top:
        yield widget


def called(widget: QWidget) -> str:
    text = getattr(widget, "text", str)
    return f"{type(widget).__name__} {widget.objectName()} {text() if callable(text) else ''}".strip()


def test_every_control_says_what_it_is_for_and_follows_the_theme(dock, qtbot):
    assert [called(control) for control in controls_of(dock) if not control.toolTip().strip()] == []
    buttons = [control for control in controls_of(dock) if isinstance(control, QAbstractButton)]
    wordless = [one for one in buttons if not any(letter.isalpha() for letter in one.text())]
    assert [called(one) for one in wordless if not (one.accessibleName() or one.toolTip())] == []
    brightness = {}
    for theme in ("light", "dark"):
        dock.viewer.theme = theme
        qtbot.wait(20)  # it is painted anew
        brightness[theme] = float(np.median(pixels(dock)))
    assert brightness["light"] > 150
    assert brightness["dark"] < 100


def test_it_is_used_by_keyboard_on_a_laptop(dock, qtbot, subtests):
    for key in (Qt.Key.Key_Tab, Qt.Key.Key_Backtab):
        with subtests.test(key=key.name):
            goes_row_by_row(dock, key, qtbot)
    for name in MAIN_BUTTONS.get(dock.name, ()):
        with subtests.test("in sight", button=name):
            button = getattr(dock, name)
            assert button.visibleRegion().boundingRect() == button.rect()
    free = dock.height() - dock.rows.parentWidget().height() - dock.pinned.sizeHint().height()
    assert free < 10  # frames
    fits_beside_a_brain(dock, qtbot)


def goes_row_by_row(dock, key, qtbot):
    """The tabulator reaches every control, from row to row, and scrolls to it."""
    forward = key == Qt.Key.Key_Tab
    wanted = {one for one in controls_of(dock) if one.isVisible() and one.isEnabled() and takes_tabs(one)}
    ends = sorted(wanted, key=lambda one: height_of(one, dock), reverse=not forward)
    row = [one for one in ends if abs(height_of(one, dock) - height_of(ends[0], dock)) < 12]
    reached = [(min if forward else max)(row, key=lambda one: one.mapTo(dock, QPoint()).x())]
    reached[0].setFocus()
    while len(reached) < len(wanted) + 20:
        qtbot.keyClick(dock.window().focusWidget(), key)
        now = dock.window().focusWidget()
        if now in reached or not dock.isAncestorOf(now):
            break
        reached.append(now)
        assert not now.visibleRegion().isEmpty(), called(now)  # it was scrolled to
    assert [called(one) for one in wanted if one not in reached] == []
    heights = [height_of(one, dock) for one in reached]
    assert all(later >= earlier - 12 if forward else later <= earlier + 12 for earlier, later in pairwise(heights))


def takes_tabs(control: QWidget) -> bool:
    return bool(control.focusPolicy() & Qt.FocusPolicy.TabFocus)


def height_of(control: QWidget, dock: QWidget) -> int:
    """The middle of a control below the first row, with the rows that stay in sight below those that scroll."""
    scrolled, pinned = (rows.parentWidget() for rows in (dock.rows, dock.pinned))
    part, above = (pinned, scrolled.height()) if pinned.isAncestorOf(control) else (scrolled, 0)
    return above + control.mapTo(part, QPoint(0, control.height() // 2)).y()


MAIN_BUTTONS = {
    "Cohort": ("load_button", "prepare_button"),
    "Train": ("start_button", "copy_button"),
    "Generate": ("generate_button", "reproduce_button", "copy_button"),
    "Evaluate": ("evaluate_button",),
    "Anomaly map": ("map_button",),
}


@pytest.mark.parametrize("dock", ["Generate"], indirect=True)
def test_the_wheel_scrolls_and_changes_only_what_has_the_focus(dock, qtbot):
    age, sampler = dock.form.conditions.rows["age"], dock.form.fields["sampler"]
    seed = dock.form.fields["seed"].native
    before = (age.number.value(), sampler.value, seed.value())
    turned = [age.slider, age.number, sampler.native, seed]
    for control in turned:
        turn_wheel(control, -120)
    assert (age.number.value(), sampler.value, seed.value()) == before
    seed.setFocus()
    turn_wheel(seed, 120)
    assert seed.value() == before[2] + 1


def turn_wheel(control: QWidget, angle: int) -> None:
    where = QPointF(control.rect().center())
    event = QWheelEvent(
        where, control.mapToGlobal(where), QPoint(), QPoint(0, angle), Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(control, event)


def fits_beside_a_brain(dock, qtbot):
    for part in dock.findChildren(QCollapsible):
        part.expand(animate=False)
    qtbot.waitUntil(lambda: dock.minimumSizeHint().width() <= NARROW)
    window = dock.window()
    window.resizeDocks([dock.area], [NARROW], Qt.Orientation.Horizontal)
    qtbot.waitUntil(lambda: dock.width() <= NARROW + 20)
    assert window.minimumSizeHint().height() <= LAPTOP[1]
    assert (window.width(), window.height()) == LAPTOP
    wide = [called(one) for one in controls_of(dock) if one.isVisible() and right_of(one, dock) > dock.width()]
    assert wide == []


def right_of(control: QWidget, dock: QWidget) -> int:
    return control.mapTo(dock, QPoint(control.width(), 0)).x()


def pixels(widget: QWidget) -> np.ndarray:
    image = widget.grab().toImage().convertToFormat(QImage.Format.Format_Grayscale8)
    memory = image.constBits()
    if not isinstance(memory, memoryview):  # PyQt's pointer knows no size
        memory.setsize(image.sizeInBytes())
    return np.frombuffer(memory, np.uint8).reshape(image.height(), image.bytesPerLine())[:, : image.width()]


def test_every_command_has_a_title_of_its_own():
    titles = [command.title for command in MANIFEST.contributions.commands]
    assert len(titles) == len(set(titles))
    assert all(title[0].isupper() for title in titles)


def test_what_one_does_is_in_the_palette_and_in_the_menus(make_napari_viewer_proxy):
    from napari._app_model import get_app_model
    from napari._app_model.constants import MenuId

    make_napari_viewer_proxy()
    menus = get_app_model().menus
    palette = {item.command.id for item in menus.get_menu(menus.COMMAND_PALETTE_ID)}
    mine = {command.id for command in MANIFEST.contributions.commands}
    of_napari = (*MANIFEST.contributions.widgets, *MANIFEST.contributions.sample_data)  # it names these itself
    assert mine - {one.command for one in of_napari} <= palette
    utilities = {item.command.id for item in menus.get_menu(MenuId.FILE_IO_UTILITIES)}
    assert {f"{PLUGIN}.{name}" for name in ("import_brains", "export_nifti", "export_bids")} <= utilities
