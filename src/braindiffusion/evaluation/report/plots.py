"""Plotly figures of the report."""

from collections.abc import Sequence

import plotly.graph_objects as go

from braindiffusion.evaluation.compare import ALL_REGIONS
from braindiffusion.runs.reports.evaluation import Curve, Estimate, Evaluation, Memorization, Row
from braindiffusion.untrusted import markup

GENERATED, REAL = "#c2410c", "#1d4ed8"
NAMES = {GENERATED: "generated", REAL: "real baseline (training brains)"}
WASSERSTEIN = "Wasserstein distance to held-out brains, in standard deviations of real brains"


def plots(evaluation: Evaluation) -> list[go.Figure]:
    """Return all figures that the report has data for."""
    figures = [curve(one, steps=one.unit.startswith("share")) for one in evaluation.curves]
    for group in ("volumes", "tissues", "asymmetry", "cortex", "texture", "shape"):
        rows = [row for row in evaluation.rows if row.group == group and row.spread and row.name != ALL_REGIONS]
        if rows:
            figures.append(bars(f"{group.capitalize()}: distance of the distributions", rows))
    figures += [ratios(one) for one in evaluation.memorization]
    return figures


def curve(one: Curve, *, steps: bool) -> go.Figure:
    """Plot generated brains and real baseline along an axis, each with its interval."""
    figure = go.Figure()
    real = "real brains" if steps else NAMES[REAL]
    for name, colour, figures in ((real, REAL, one.real_baseline), ("generated", GENERATED, one.generated)):
        band = [each.high for each in figures] + [each.low for each in reversed(figures)]
        figure.add_scatter(
            x=one.x + one.x[::-1],
            y=band,
            fill="toself",
            fillcolor=colour,
            opacity=0.2,
            line_width=0,
            hoverinfo="skip",
            showlegend=False,
        )
        figure.add_scatter(x=one.x, y=[each.value for each in figures], name=name, line_color=colour)
    if one.unit.startswith("dB"):
        figure.add_vline(x=one.x[-1] / 2, line_dash="dot", annotation_text="Nyquist/2")
    return _styled(figure, one.name.capitalize(), one.x_unit, one.unit)


def bars(title: str, rows: Sequence[Row]) -> go.Figure:
    """Plot one estimate a line with its real baseline and both intervals."""
    figure = go.Figure()
    names = [row.name for row in rows]
    baselines = [row.real_baseline for row in rows if row.real_baseline is not None]
    for colour, figures in ((GENERATED, [row.generated for row in rows]), (REAL, baselines)):
        figure.add_scatter(
            y=names,
            x=[each.value for each in figures],
            error_x=_errors(figures),
            mode="markers",
            name=NAMES[colour],
            marker={"color": colour, "size": 8},
        )
    figure.update_yaxes(autorange="reversed")
    return _styled(figure, title, WASSERSTEIN, "", height=180 + 22 * len(rows))


def ratios(one: Memorization) -> go.Figure:
    """Plot the distance ratios of the memorization test, one point for each brain."""
    figure = go.Figure()
    made = sorted(one.neighbours, key=lambda near: near.ratio)
    for name, colour, values, neighbours in (
        ("held-out people", REAL, one.real_baseline_ratios, made[:0]),
        ("generated", GENERATED, one.ratios, made),
    ):
        figure.add_box(
            x=sorted(values),
            name=name,
            marker_color=colour,
            boxpoints="all",
            jitter=0.5,
            pointpos=0,
            text=[markup(each.generated) for each in neighbours],
        )
    title = f"Distance to the nearest training brain over that to the nearest held-out one: {one.space}"
    return _styled(figure, title, "ratio; copies have about 0", "", height=280)


def _errors(figures: Sequence[Estimate]) -> dict[str, object]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [each.high - each.value for each in figures],
        "arrayminus": [each.value - each.low for each in figures],
        "thickness": 1,
    }


def _styled(figure: go.Figure, title: str, x: str, y: str, height: int = 420) -> go.Figure:
    figure.update_layout(
        title=title,
        xaxis_title=x,
        yaxis_title=y,
        template="plotly_white",
        height=height,
        margin={"l": 10, "r": 10, "t": 60, "b": 40},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1, "xanchor": "right"},
    )
    figure.update_yaxes(automargin=True)
    return figure
