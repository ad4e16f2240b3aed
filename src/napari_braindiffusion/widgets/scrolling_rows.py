"""The rows of a dock: most of them scroll, the last ones stay in sight."""

from qtpy.QtCore import QEvent, QObject, QPoint, QRect, QSize, Qt
from qtpy.QtWidgets import (
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QFrame,
    QScrollArea,
    QScrollBar,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

WIDTH = 360
"""Pixels that a dock asks for. It can be made as narrow as its rows, which is below 300."""
MARGIN = 6


class ScrollingRows(QWidget):
    """Rows that scroll up and down in a low window, above rows that are always visible.

    The tabulator goes from row to row, whatever was made first: some rows come and go. The mouse wheel scrolls; it
    changes a number, a slider or a choice only where that has the focus.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        inner, below = QWidget(), QWidget()
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)  # else napari adds a stretch
        self._parts = (inner, below)
        self._scroll = _VerticalScroll(inner)
        self.scrolled = QVBoxLayout(inner)
        """Rows that scroll."""
        self.scrolled.setContentsMargins(MARGIN, MARGIN, MARGIN, MARGIN)
        self.pinned = QVBoxLayout(below)
        """Rows below them, which are always visible."""
        self.pinned.setContentsMargins(MARGIN, 0, MARGIN, MARGIN)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._scroll, 1)
        layout.addWidget(below)

    def reveal(self, control: QWidget) -> None:
        """Scroll to a control."""
        if self._parts[0].isAncestorOf(control):
            self._scroll.ensureWidgetVisible(control)

    def focusNextPrevChild(self, next: bool) -> bool:  # noqa: A002, D102 Qt's
        order = [control for part in self._parts for control in _in_reading_order(part)]
        now = self.focusWidget()
        if now not in order:
            return super().focusNextPrevChild(next)
        place = order.index(now) + (1 if next else -1)
        follower = order[place] if 0 <= place < len(order) else self._outside(next)
        if follower is not None:
            follower.setFocus(Qt.FocusReason.TabFocusReason if next else Qt.FocusReason.BacktabFocusReason)
            self.reveal(follower)
        return follower is not None

    def _outside(self, forward: bool) -> QWidget | None:
        """Return the widget after the last control, or before the first."""
        widget = self.nextInFocusChain() if forward else self.previousInFocusChain()
        while widget is not self and (self.isAncestorOf(widget) or not _is_reachable(widget)):
            widget = widget.nextInFocusChain() if forward else widget.previousInFocusChain()
        return None if widget is self else widget


class _VerticalScroll(QScrollArea):
    """Scrolls up and down only: it is never narrower than what it holds."""

    def __init__(self, inner: QWidget) -> None:
        super().__init__(widgetResizable=True, frameShape=QFrame.Shape.NoFrame)
        self._wheel = _WheelFilter(self)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # what it holds takes the focus
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidget(inner)

    def minimumSizeHint(self) -> QSize:
        return QSize(self._inner_width(), super().minimumSizeHint().height())

    def sizeHint(self) -> QSize:
        return QSize(max(WIDTH, self._inner_width()), self.widget().sizeHint().height())

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # Qt's own filter on what it holds
        if event.type() == QEvent.Type.LayoutRequest:  # rows came or went, and with them the width that the rest needs
            self.updateGeometry()
            self._wheel.watch(self.widget())
        return super().eventFilter(watched, event)

    def _inner_width(self) -> int:
        return self.widget().minimumSizeHint().width() + self.verticalScrollBar().sizeHint().width()


class _WheelFilter(QObject):
    """Passes the mouse wheel over a control on to the scroll area, unless the control has the focus."""

    def watch(self, widget: QWidget) -> None:
        """Watch the controls of a widget that a wheel would change."""
        for kind in (QAbstractSpinBox, QComboBox, QAbstractSlider):
            for control in widget.findChildren(kind):
                if not isinstance(control, QScrollBar):
                    control.installEventFilter(self)
                    if control.focusPolicy() == Qt.FocusPolicy.WheelFocus:  # a wheel would give it the focus first
                        control.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Wheel and isinstance(watched, QWidget):
            if watched.window().focusWidget() is watched:
                return False
            event.ignore()
            return True
        return False


def _in_reading_order(part: QWidget) -> list[QWidget]:
    """Return the controls that the tabulator reaches: row by row, from the left."""
    found = {
        widget: QRect(widget.mapTo(part, QPoint()), widget.size())
        for widget in part.findChildren(QWidget)
        if _is_reachable(widget)
    }
    rows: list[list[QWidget]] = []
    for widget in sorted(found, key=lambda one: found[one].center().y()):
        if rows and found[widget].center().y() <= found[rows[-1][0]].bottom():
            rows[-1].append(widget)
        else:
            rows.append([widget])
    return [widget for row in rows for widget in sorted(row, key=lambda one: found[one].x())]


def _is_reachable(widget: QWidget) -> bool:
    takes_tabs = bool(widget.focusPolicy() & Qt.FocusPolicy.TabFocus) and widget.focusProxy() is None
    return takes_tabs and widget.isVisible() and widget.isEnabled()
