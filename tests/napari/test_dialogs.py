"""The real dialogs, answered as a user does, or closed without an answer."""

from collections.abc import Callable

import pytest
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication, QDialog, QLineEdit, QMessageBox, QPushButton, QWidget

from napari_braindiffusion.widgets import dialogs as questions
from napari_braindiffusion.widgets.dialogs import OnClose, ask_delete, ask_folder, ask_name, ask_on_close


@pytest.fixture
def parent(qtbot):
    widget = QWidget()
    qtbot.addWidget(widget)
    return widget


@pytest.fixture
def then(qtbot) -> Callable[[Callable[[QDialog], None]], None]:
    """Do something to the dialog that opens next."""

    def do(act: Callable[[QDialog], None]) -> None:
        def look() -> None:
            dialog = QApplication.activeModalWidget()
            act(dialog) if isinstance(dialog, QDialog) else QTimer.singleShot(10, look)

        QTimer.singleShot(0, look)

    return do


def press(text: str) -> Callable[[QDialog], None]:
    def act(dialog: QDialog) -> None:
        next(one for one in dialog.findChildren(QPushButton) if text in one.text()).click()

    return act


@pytest.mark.parametrize("may_stay", [True, False])
@pytest.mark.parametrize(
    ("words", "answer"), [("Continue in the background", OnClose.GO_ON), ("Stop, keep", OnClose.STOP), ("", None)]
)
def test_what_becomes_of_a_training(parent, then, qtbot, words, answer, may_stay):
    then(press(words) if words else lambda dialog: qtbot.keyClick(dialog, Qt.Key.Key_Escape))
    unanswered = OnClose.STAY if may_stay else OnClose.GO_ON  # as little as possible is changed
    if not words and not may_stay:
        then(lambda dialog: dialog.done(0))  # without a button that rejects, Escape does nothing
    assert ask_on_close(parent, "mine", may_stay=may_stay) is (answer or unanswered)


def test_it_may_stay_open(parent, then):
    then(press("Do not close"))
    assert ask_on_close(parent, "mine", may_stay=True) is OnClose.STAY


def test_a_name(parent, then, qtbot):
    def rename(dialog: QDialog) -> None:
        line = dialog.findChild(QLineEdit)
        assert line.text() == "old"
        line.setText("  new ")
        dialog.accept()

    then(rename)
    assert ask_name(parent, "old") == "new"
    then(lambda dialog: dialog.reject())
    assert ask_name(parent, "old") is None


def test_deleting_is_asked_and_no_is_at_hand(parent, then, qtbot):
    def enter(dialog: QDialog) -> None:
        assert isinstance(dialog, QMessageBox)
        assert "Nothing can bring it back" in dialog.text()
        qtbot.keyClick(dialog, Qt.Key.Key_Return)

    then(enter)
    assert ask_delete(parent, "mine") is False
    then(lambda dialog: dialog.button(QMessageBox.StandardButton.Yes).click())
    assert ask_delete(parent, "mine") is True


@pytest.mark.parametrize("chosen", ["a folder", ""])
def test_a_folder(parent, tmp_path, monkeypatch, chosen):
    path = str(tmp_path) if chosen else ""
    monkeypatch.setattr(questions.QFileDialog, "getExistingDirectory", lambda *_: path)
    assert ask_folder(parent, "Which?") == (tmp_path if chosen else None)
