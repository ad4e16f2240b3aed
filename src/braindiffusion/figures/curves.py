"""Losses, learning rates and whatever else runs have measured, over their steps."""

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.colors import qualitative
from plotly.subplots import make_subplots

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.figures.page import BUTTONS, style
from braindiffusion.runs import Metric, Run

DASHES = ("solid", "dash", "dot", "dashdot")


def curves(runs: Sequence[Run], *, title: str = "") -> go.Figure:
    """Curves of one or several runs, one panel a metric.

    A colour is a stage (a level of the cascade), a dash a run. Points of a step that was done twice, because a run was
    resumed, are those of the later attempt.

    Args:
        runs: One or more.
        title: Stands above them.

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
        msg = f"There is nothing to draw: no metric was written by {', '.join(run.name for run in runs) or 'no run'}."
        raise BrainDiffusionError(msg)
    names = list(dict.fromkeys(name for name, _, _ in lines))
    stages = sorted({stage for _, stage, _ in lines})
    columns = min(len(names), 2)
    figure = make_subplots(
        rows=-(-len(names) // columns),
        cols=columns,
        subplot_titles=[name.replace("_", " ") for name in names],
        horizontal_spacing=0.08,
        vertical_spacing=0.12,
    )
    told: set[str] = set()
    for (name, stage, number), points in lines.items():
        place = names.index(name)
        label = f"{runs[number].name}: {stage}" if len(runs) > 1 else stage
        steps = sorted(points)
        figure.add_trace(
            go.Scatter(
                x=steps,
                y=[points[step] for step in steps],
                name=label,
                legendgroup=label,
                showlegend=label not in told,
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
        told.add(label)
    figure.update_xaxes(title_text="step", gridcolor="#333", zerolinecolor="#333")
    figure.update_yaxes(gridcolor="#333", zerolinecolor="#333", exponentformat="power")
    linear = {trace.yaxis for trace in figure.data if min(trace.y) <= 0}  # what a logarithm cannot show
    logarithmic = [f"yaxis{trace.yaxis[1:]}" for trace in figure.data if trace.yaxis not in linear]
    figure.update_layout(
        {axis: {"type": "log"} for axis in logarithmic},
        updatemenus=[
            {
                **BUTTONS,
                "x": 0,
                "y": 1.06,
                "xanchor": "left",
                "yanchor": "bottom",
                "buttons": [
                    {
                        "label": kind,
                        "method": "relayout",
                        "args": [{f"{axis}.type": kind.lower() for axis in logarithmic}],
                    }
                    for kind in ("Log", "Linear")
                ],
            }
        ],
        margin={"t": 110},
    )
    style(figure, title)
    return figure
