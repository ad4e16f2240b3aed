"""Curves of losses, learning rates and other metrics of runs over their steps."""

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.colors import qualitative
from plotly.subplots import make_subplots

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.figures.page import BUTTONS, style
from braindiffusion.runs import Metric, Run
from braindiffusion.untrusted import markup

DASHES = ("solid", "dash", "dot", "dashdot")


def curves(runs: Sequence[Run], *, title: str = "") -> go.Figure:
    """Plot curves of one or several runs, one panel for each metric.

    A colour is a stage (a level of the cascade), a dash a run. Points of a step that was done twice, because a run was
    resumed, are those of the later attempt.

    Args:
        runs: One or more.
        title: title of the figure.

    Returns:
        The figure: one trace for each metric of each stage of each run; buttons choose logarithmic or linear axes.

    Raises:
        BrainDiffusionError: none of the runs has measured anything.
    """
    lines: dict[tuple[str, str, int], dict[int, float]] = {}
    for number, run in enumerate(runs):
        for event in run.events():
            if isinstance(event, Metric):
                for name, value in event.values.items():
                    lines.setdefault((name, event.stage, number), {})[event.step] = value
    if not lines:
        msg = f"No curve can be drawn: no metric was written by {', '.join(run.name for run in runs) or 'no run'}."
        raise BrainDiffusionError(msg)
    names = list(dict.fromkeys(name for name, _, _ in lines))
    stages = sorted({stage for _, stage, _ in lines})
    columns = min(len(names), 2)
    rows = -(-len(names) // columns)
    figure = make_subplots(
        rows=rows,
        cols=columns,
        subplot_titles=[markup(name).replace("_", " ") for name in names],
        horizontal_spacing=0.08,
        vertical_spacing=0.32 / rows,  # room for the title of the panel below
    )
    in_legend: set[str] = set()
    for (name, stage, number), points in lines.items():
        place = names.index(name)
        label = markup(f"{runs[number].name}: {stage}" if len(runs) > 1 else stage)
        steps = sorted(points)
        figure.add_trace(
            go.Scatter(
                x=steps,
                y=[points[step] for step in steps],
                name=label,
                legendgroup=label,
                showlegend=label not in in_legend,
                mode="lines+markers",
                marker={"size": 4},
                line={
                    "color": qualitative.Plotly[stages.index(stage) % len(qualitative.Plotly)],
                    "dash": DASHES[number % len(DASHES)],
                },
                hovertemplate=f"{label}<br>step %{{x}}: %{{y:.4g}}<extra></extra>",
            ),
            row=place // columns + 1,
            col=place % columns + 1,
        )
        in_legend.add(label)
    figure.update_xaxes(title={"text": "step", "standoff": 4}, gridcolor="#333", zerolinecolor="#333")
    # Numbers in full: a logarithmic axis would tell a lonely 2 or 5 between powers of ten.
    figure.update_yaxes(gridcolor="#333", zerolinecolor="#333", tickformat="~g", nticks=6)
    logarithmic = _logarithmic(figure)
    figure.update_layout(
        {axis: {"type": "log", "dtick": every} for axis, every in logarithmic.items()},
        updatemenus=[_axis_buttons(logarithmic)],
        margin={"t": 110},
    )
    style(figure, title)
    return figure


def _logarithmic(figure: go.Figure) -> dict[str, str | None]:
    """Return the axes with positive values only, with their ticks: 1, 2, 5, 10, ... on axes of a small range."""
    heights: dict[str, list[float]] = {}
    for trace in figure.data:
        heights.setdefault(f"yaxis{trace.yaxis[1:]}", []).extend(trace.y)
    return {axis: "D2" if max(ys) > 5 * min(ys) else None for axis, ys in heights.items() if min(ys) > 0}


def _axis_buttons(logarithmic: dict[str, str | None]) -> dict[str, object]:
    """Return buttons that make these axes logarithmic, with their ticks, or linear."""
    linear = dict.fromkeys(logarithmic)
    buttons = [
        {
            "label": label,
            "method": "relayout",
            "args": [
                {f"{axis}.type": label.lower() for axis in ticks}
                | {f"{axis}.dtick": every for axis, every in ticks.items()}
            ],
        }
        for label, ticks in (("Log", logarithmic), ("Linear", linear))
    ]
    return {**BUTTONS, "x": 0, "y": 1.06, "xanchor": "left", "yanchor": "bottom", "buttons": buttons}
