"""Draw the cost of a network evaluation by number of voxels, from the JSON of `compare_peers.py`.

    python benchmarks/compare_peers.py --only voxels --out build/bench.json
    python benchmarks/plot_cost.py build/bench.json --out docs/pictures/cost.png

Left: processor seconds of an evaluation, with the line on which cost is proportional to the number of voxels. Right:
processor seconds for a million coefficients.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from braindiffusion.figures.page import style, write_figure

MILLIONS = {"4 mm": 0.09152, "2 mm": 0.73216, "1 mm": 5.85728}
"""Voxels of a brain: as many as coefficients."""
NETWORKS = {
    "": ("BrainDiffusion, finest level", "#4fc3f7", "circle"),
    "haar ": ("U-Net on one Haar level", "#ffb74d", "diamond"),
    "monai ": ("MONAI on voxels", "#e57373", "square"),
}


def cost_figure(voxels: dict[str, float]) -> go.Figure:
    """Return the figure of the case `voxels`: processor seconds for a million coefficients, by network and size."""
    figure = make_subplots(cols=2, subplot_titles=("an evaluation", "a million coefficients"), horizontal_spacing=0.1)
    for prefix, (name, colour, symbol) in NETWORKS.items():
        sizes = [size for size in MILLIONS if f"{prefix}{size}" in voxels]
        costs = [voxels[f"{prefix}{size}"] for size in sizes]
        x = [MILLIONS[size] * 1e6 for size in sizes]
        look: dict[str, Any] = {"name": name, "legendgroup": name, "mode": "lines+markers"}
        look |= {"line": {"color": colour, "width": 2}, "marker": {"symbol": symbol, "size": 12}}
        seconds = [cost * MILLIONS[size] for cost, size in zip(costs, sizes, strict=True)]
        figure.add_trace(go.Scatter(x=x, y=seconds, **look), 1, 1)
        figure.add_trace(go.Scatter(x=sizes, y=costs, showlegend=False, **look), 1, 2)
        if not prefix:
            linear = [seconds[0] * one / x[0] for one in x]
            line = {"color": "#888", "dash": "dot"}
            figure.add_trace(go.Scatter(x=x, y=linear, name="proportional to voxels", mode="lines", line=line), 1, 1)
    figure.update_xaxes(type="log", title="voxels of a brain", tickvals=[m * 1e6 for m in MILLIONS.values()],
                        ticktext=[f"{m * 1e6:,.0f}<br>({size})" for size, m in MILLIONS.items()], col=1)  # fmt: skip
    figure.update_yaxes(type="log", title="processor seconds", gridcolor="#333")
    figure.update_yaxes(tickvals=[0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100], col=1)
    figure.update_yaxes(tickvals=[1, 2, 5, 10, 20, 50], range=[math.log10(0.5), math.log10(60)], col=2)
    figure.update_xaxes(title="voxel size", categoryarray=list(MILLIONS), col=2)
    figure.update_xaxes(gridcolor="#333")
    style(figure, "Cost of one network evaluation on a processor")
    figure.update_layout(font_size=20, title_font_size=26, legend={"orientation": "h", "y": -0.2}, margin={"b": 180})
    figure.update_annotations(font_size=22)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("bench", type=Path, help="JSON of `compare_peers.py`")
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/cost.png"))
    chosen = parser.parse_args()
    write_figure(cost_figure(json.loads(chosen.bench.read_text())["cases"]["voxels"]), chosen.out)


if __name__ == "__main__":
    main()
