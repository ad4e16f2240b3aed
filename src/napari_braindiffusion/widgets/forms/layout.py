"""Layout helpers, so that all docks look alike and fit into 300 pixels."""

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QSizePolicy, QWidget
from superqt import QCollapsible


def form_layout(parent: QWidget | None = None) -> QFormLayout:
    """Labels at the left, fields that take the rest of the width, no margins."""
    form = QFormLayout(parent)
    form.setContentsMargins(0, 0, 0, 0)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    return form


def make_narrow(combo: QComboBox) -> None:
    """Let a box be narrower than its longest line."""
    combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    combo.setMinimumContentsLength(12)


def wrapping_label(text: str, *, rich: bool = False) -> QLabel:
    """A label of several lines that never widens its dock.

    Args:
        text: what it shows.
        rich: whether the text is HTML; else it is shown as it is, and text of others cannot change the page.
    """
    label = QLabel()
    label.setTextFormat(Qt.TextFormat.RichText if rich else Qt.TextFormat.PlainText)
    label.setText(text)
    label.setWordWrap(True)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    return label


def collapsed(title: str, content: QWidget, tooltip: str) -> QCollapsible:
    """A title that shows its content with a click. Content that is not shown takes no part in the tab order."""
    more = QCollapsible(title, collapsedIcon="▶")
    more.setDuration(0)
    more.layout().setContentsMargins(0, 0, 0, 0)
    more.setContent(content)
    more.toggled.connect(content.setVisible)
    more.collapse(animate=False)
    more.toggleButton().setToolTip(tooltip)
    return more
