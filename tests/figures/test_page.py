"""Figures as files: pages, and pictures that a browser draws."""

import io
import sys
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
from PIL import Image

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.figures.page import PICTURE_SIZE, write_figure


@pytest.fixture
def figure() -> go.Figure:
    button = {"type": "buttons", "bgcolor": "#f00", "buttons": [{"label": "x", "method": "skip"}]}
    slider = {"bgcolor": "#f00", "steps": [{"label": "x", "method": "skip"}] * 2}
    layout = {"plot_bgcolor": "#111", "updatemenus": [button], "sliders": [slider]}
    return go.Figure(go.Bar(y=[1, 2], marker_color="#0f0"), layout)


def test_a_picture_is_drawn_by_a_browser(figure: go.Figure, tmp_path: Path) -> None:
    pytest.importorskip("kaleido")
    try:
        path = write_figure(figure, tmp_path / "new" / "bars.png")
    except BrainDiffusionError as error:
        if "needs Chrome or Chromium" in str(error):
            pytest.skip(str(error))
        raise
    pixels = np.asarray(Image.open(io.BytesIO(path.read_bytes())).convert("RGB"))
    assert pixels.shape == (*PICTURE_SIZE[::-1], 3)
    green = (pixels == [0, 255, 0]).all(axis=2).mean()
    assert 0.2 < green < 0.6  # one bar half as high as the other
    assert not (pixels == [255, 0, 0]).all(axis=2).any()  # no buttons in a picture


def test_without_a_browser_the_way_out_is_told(
    figure: go.Figure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("kaleido")
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "nothing"))
    with pytest.raises(BrainDiffusionError, match=r"needs Chrome or Chromium .* install one, or write .html"):
        write_figure(figure, tmp_path / "bars.png")


def test_without_kaleido_the_way_out_is_told(
    figure: go.Figure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "kaleido", None)
    with pytest.raises(BrainDiffusionError, match=r"pip install 'napari-braindiffusion\[figures\]', or write .html"):
        write_figure(figure, tmp_path / "bars.svg")


def test_another_ending_is_told(figure: go.Figure, tmp_path: Path) -> None:
    with pytest.raises(BrainDiffusionError, match=r"must end in \.html, \.png, \.svg"):
        write_figure(figure, tmp_path / "bars.pdf")
