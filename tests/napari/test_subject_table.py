"""The table of a folder's subjects: what it shows, sorts, filters and ticks, and what stands around it."""

import numpy as np
import pytest
from PIL import Image
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QColor

from braindiffusion.runs import QCFlag
from napari_braindiffusion.widgets.tables.subject_model import (
    AGE,
    BRAIN,
    COLUMNS,
    PICTURE_HEIGHT,
    SUBJECT,
    USE,
    SubjectRow,
)
from napari_braindiffusion.widgets.tables.subject_table import SubjectTable
from napari_braindiffusion.widgets.tables.subject_tools import SubjectCard, SubjectTools

BROKEN = QCFlag(kind="file", severity="problem", message="cannot be read")
TURNED = QCFlag(kind="orientation", severity="warning", message="top is bottom")
AGELESS = QCFlag(kind="person", severity="note", message="age unknown")
ROWS = (
    SubjectRow(0, "IXI012", 38.8, "M", "HH", "T1", (120, 120, 90), (2.0, 2.0, 2.0)),
    SubjectRow(1, "IXI002", None, None, "Guys", "T1", None, None, (BROKEN, AGELESS)),
    SubjectRow(2, "IXI013", 9.5, "F", "HH", "T1", (120, 120, 90), (0.9375, 0.9375, 1.2), (AGELESS,)),
    SubjectRow(3, "IXI020", 70.1, "F", "IOP", "T1", (120, 120, 90), (2.0, 2.0, 2.0), (TURNED,)),
)


@pytest.fixture
def table(qtbot):
    table = SubjectTable()
    qtbot.addWidget(table)
    table.resize(900, 400)
    table.show()
    table.set_subjects(ROWS)
    return table


@pytest.fixture
def tools(table, qtbot):
    tools = SubjectTools(table)
    qtbot.addWidget(tools)
    tools.show()
    return tools


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    Image.fromarray(np.full((96, 288), 200, np.uint8)).save(path)
    return str(path)


def cells(table, column, role=Qt.ItemDataRole.DisplayRole):
    model = table.model()
    return [model.index(row, column).data(role) for row in range(model.rowCount())]


def names(rows):
    return [row.subject for row in rows]


def test_shows_who_is_there_and_what_is_odd(table):
    assert cells(table, SUBJECT) == ["IXI002", "IXI012", "IXI013", "IXI020"]
    assert cells(table, USE) == ["✕", "", "i", "?"]
    assert cells(table, AGE) == ["", "38.8", "9.5", "70.1"]
    assert cells(table, COLUMNS.index("mm"))[2] == "0.938 x 0.938 x 1.2"
    assert cells(table, COLUMNS.index("Voxels"))[1] == "120 x 120 x 90"
    assert cells(table, COLUMNS.index("Remarks"))[0] == "cannot be read; age unknown"
    tip = table.model().index(0, SUBJECT).data(Qt.ItemDataRole.ToolTipRole)
    assert tip == "problem: cannot be read\nnote: age unknown"
    assert [row.problem for row in table.subjects] == ["", "cannot be read", "", ""]


def test_signs_take_the_theme_s_colours_and_stay_readable(table):
    table.set_colours("#99121f", "#e3b617")
    assert cells(table, USE, Qt.ItemDataRole.BackgroundRole)[0] == QColor("#99121f")
    assert cells(table, USE, Qt.ItemDataRole.ForegroundRole)[0] == QColor("white")
    assert cells(table, USE, Qt.ItemDataRole.ForegroundRole)[3] == QColor("black")
    assert cells(table, SUBJECT, Qt.ItemDataRole.BackgroundRole) == [None] * 4


def test_sorts_ages_as_numbers_and_marks_by_gravity(table):
    table.sortByColumn(AGE, Qt.SortOrder.DescendingOrder)
    assert names(table.shown) == ["IXI020", "IXI012", "IXI013", "IXI002"]
    table.sortByColumn(USE, Qt.SortOrder.AscendingOrder)
    assert names(table.shown) == ["IXI002", "IXI020", "IXI013", "IXI012"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["IXI002", "IXI012", "IXI013", "IXI020"]),
        ("hh", ["IXI012", "IXI013"]),
        ("unknown ixi01", ["IXI013"]),
        ("age>30", ["IXI012", "IXI020"]),
        ("age>30 age<=38.8", ["IXI012"]),
        ("sex=f age>=60", ["IXI020"]),
        ("mm<1.5", ["IXI013"]),
        ("site=Guys", ["IXI002"]),
        ("sex>F", []),
        ("age > 30", ["IXI012", "IXI020"]),
        ("sex = f  age >= 60", ["IXI020"]),
        ("age>old", []),
    ],
)
def test_filters_by_words_and_comparisons(table, tools, qtbot, text, expected):
    qtbot.keyClicks(tools.text, text)
    assert names(table.shown) == expected


def test_only_with_problems(table, tools):
    tools.only_flagged.click()
    assert names(table.shown) == ["IXI002", "IXI020"]
    tools.text.setText("top")
    assert names(table.shown) == ["IXI020"]


def test_all_are_ticked_but_who_has_a_problem(table, qtbot):
    assert names(table.checked) == ["IXI012", "IXI013", "IXI020"]
    box = table.model().index(1, USE)
    with qtbot.waitSignal(table.checked_changed):
        assert table.model().setData(box, Qt.CheckState.Unchecked.value, Qt.ItemDataRole.CheckStateRole)
    assert names(table.checked) == ["IXI013", "IXI020"]
    assert box.data(Qt.ItemDataRole.CheckStateRole) == Qt.CheckState.Unchecked
    assert not table.model().flags(table.model().index(0, USE)) & Qt.ItemFlag.ItemIsUserCheckable
    assert not table.model().setData(box, "x", Qt.ItemDataRole.EditRole)


def test_a_click_on_the_box_ticks(table, qtbot):
    box = table.visualRect(table.model().index(1, USE))
    place = QPoint(box.left() + 10, box.center().y())
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert names(table.checked) == ["IXI013", "IXI020"]


def test_space_ticks_what_is_selected(table, qtbot):
    table.setCurrentIndex(table.model().index(1, USE))
    qtbot.keyClick(table, Qt.Key.Key_Space)
    assert names(table.checked) == ["IXI013", "IXI020"]
    qtbot.keyClick(table, Qt.Key.Key_Space)
    assert names(table.checked) == ["IXI012", "IXI013", "IXI020"]
    qtbot.keyClick(table, Qt.Key.Key_Down)
    assert names(table.selected) == ["IXI013"]
    table.selectAll()
    qtbot.keyClick(table, Qt.Key.Key_Space)  # one of them cannot be ticked: the others count
    assert names(table.checked) == []
    qtbot.keyClick(table, Qt.Key.Key_Space)
    table.clearSelection()
    qtbot.keyClick(table, Qt.Key.Key_Space)
    assert names(table.checked) == ["IXI012", "IXI013", "IXI020"]


def test_buttons_tick_what_is_shown(table, tools, qtbot):
    tools.only_flagged.setChecked(True)
    qtbot.mouseClick(tools.deselect_button, Qt.MouseButton.LeftButton)
    assert names(table.checked) == ["IXI012", "IXI013"]
    tools.only_flagged.setChecked(False)
    qtbot.mouseClick(tools.select_button, Qt.MouseButton.LeftButton)
    assert names(table.checked) == ["IXI012", "IXI013", "IXI020"]


def test_more_becomes_known(table, qtbot, picture):
    with qtbot.waitSignal(table.checked_changed):
        table.update_subject(0, (BROKEN,), picture)
    assert names(table.checked) == ["IXI013", "IXI020"]
    pixmap = table.model().index(1, BRAIN).data(Qt.ItemDataRole.DecorationRole)
    assert (pixmap.width(), pixmap.height()) == (3 * PICTURE_HEIGHT, PICTURE_HEIGHT)
    assert table.model().index(0, BRAIN).data(Qt.ItemDataRole.DecorationRole) is None


def test_a_card_shows_one_in_full(qtbot, picture):
    card = SubjectCard()
    qtbot.addWidget(card)
    card.resize(200, 300)
    card.show_subject(SubjectRow(0, "IXI1", marks=(TURNED, AGELESS), picture=picture))
    assert card.isVisible()
    assert card.label.text() == "IXI1\nWarning: top is bottom.\nNote: age unknown."
    qtbot.waitUntil(lambda: card.picture.pixmap().width() == card.picture.width() <= 200)
    card.resize(600, 300)
    qtbot.waitUntil(lambda: card.picture.pixmap().width() == 288)
    card.show_subject(SubjectRow(0, "IXI1"))
    assert card.picture.isHidden()
    card.show_subject(None)
    assert card.isHidden()
