"""The real people who are most like one brain: the verdict, and how far apart people are."""

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QVBoxLayout, QWidget

from braindiffusion.runs.reports.nearest import Match, Nearest
from braindiffusion.untrusted import markup
from napari_braindiffusion.widgets.forms.layout import wrapping_label
from napari_braindiffusion.widgets.plots.on_demand import PlotOnDemand

if TYPE_CHECKING:
    from napari_braindiffusion.widgets.plots.evaluation_plot import EvaluationPlot


class NearestView(QWidget):
    """Shows one answer at a time, and nothing before the first."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.verdict = wrapping_label("", rich=True)
        self.people = wrapping_label("")
        self._plot = PlotOnDemand(_make_plot)
        self.caption = wrapping_label("", rich=True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (self.verdict, self.people, self._plot, self.caption):
            layout.addWidget(part)
        self.hide()

    @property
    def plot(self) -> "EvaluationPlot":
        """The distances."""
        return self._plot.plot

    def set_theme(self, background: str, text: str) -> None:
        """Colours of the plot's ground, axes and words."""
        self._plot.set_theme(background, text)

    def show_nearest(self, found: Nearest) -> None:
        """Show what was found."""
        self.verdict.setText(f"<b>{markup(found.brain)}.</b> {markup(found.summary)}")
        whose = f"that {found.model} was trained on" if found.model else "of those that count as training brains"
        self.people.setText(
            f"Nearest {whose}: {_person(found.training)}. Nearest of the held-out: {_person(found.held_out)}."
        )
        self.plot.show_nearest(found)
        self.caption.setText(self.plot.caption)
        self.show()


def _make_plot() -> "EvaluationPlot":
    from napari_braindiffusion.widgets.plots.evaluation_plot import EvaluationPlot

    plot = EvaluationPlot()
    plot.setToolTip("How far this brain is from its nearest real ones, and how far people are from theirs.")
    return plot


def _person(match: Match) -> str:
    """A name with what is known of the person."""
    known = [f"{match.age:.0f} years" if match.age is not None else "", match.sex or ""]
    details = ", ".join(one for one in known if one)
    return f"{match.name} ({details})" if details else match.name
