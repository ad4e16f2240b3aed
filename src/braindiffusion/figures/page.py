"""A figure as a file: an HTML page that needs no network, or a picture."""

from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import plotly.graph_objects as go

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.files import write_whole
from braindiffusion.untrusted import markup

BACKGROUND = "#111"
INK = "#ccc"
BUTTONS = {"type": "buttons", "direction": "right", "bgcolor": "#bbb", "font": {"color": "#111"}}
"""Style of rows of buttons."""
SLIDER = {
    "y": 0,
    "pad": {"t": 30},
    "bgcolor": "#555",
    "bordercolor": "#555",
    "ticklen": 0,
    "minorticklen": 0,
    "font": {"size": 1, "color": "rgba(0,0,0,0)"},  # it says where it is; labels of all steps would collide
}
"""Style of the sliders below a figure."""
PICTURE_SUFFIXES = (".png", ".svg")
SUFFIXES = (".html", *PICTURE_SUFFIXES)
PICTURE_SIZE = (1400, 800)
"""Width and height of a picture, in pixels."""


def style(figure: go.Figure, title: str) -> None:
    """Give a figure the common style: a title, and light text on a dark background."""
    figure.update_layout(
        title={"text": markup(title), "font": {"color": "#ddd", "size": 16}, "x": 0.5, "y": 0.98, "yanchor": "top"},
        paper_bgcolor=BACKGROUND,
        plot_bgcolor=BACKGROUND,
        font={"color": INK},
        hoverlabel={"bgcolor": "#333", "font": {"color": "#eee"}},
        legend={"bgcolor": "rgba(0,0,0,0)"},
    )


def write_figure(figure: go.Figure, path: Path) -> Path:
    """Write a figure in the format of the file's suffix.

    A page holds Plotly's program, so it needs no network; 3D scenes side by side turn together. Pictures are drawn by a
    browser, through kaleido.

    Args:
        figure: any Plotly figure.
        path: `.html`, `.png` or `.svg`. Its folder is made.

    Returns:
        The path written.

    Raises:
        BrainDiffusionError: another ending, the file cannot be written, or there is no browser to draw a picture.
    """
    if path.suffix.lower() not in SUFFIXES:
        msg = f"A figure cannot be written to {path}: its name must end in {', '.join(SUFFIXES)}."
        raise BrainDiffusionError(msg)
    data = _picture(figure, path) if path.suffix.lower() in PICTURE_SUFFIXES else _page(figure)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)
    except OSError as error:
        msg = f"The figure cannot be written to {path}: {error.strerror}."
        raise BrainDiffusionError(msg) from error
    return path


def _page(figure: go.Figure) -> str:
    page: str = figure.to_html(
        include_plotlyjs=True,
        full_html=True,
        auto_play=False,
        config={"displaylogo": False, "responsive": True},
        default_height="100vh",
        post_script=(files(__package__) / "page.js").read_text(encoding="utf-8"),
    )
    return page.replace("<body>", f'<body style="margin: 0; background: {BACKGROUND}">', 1)


def _picture(figure: go.Figure, path: Path) -> bytes:
    if find_spec("kaleido") is None:  # Plotly imports it
        msg = f"{path} needs kaleido: pip install 'napari-braindiffusion[figures]', or write .html."
        raise BrainDiffusionError(msg)
    still = go.Figure(figure.data, figure.layout)
    still.layout.updatemenus = still.layout.sliders = None  # a picture has no controls
    width, height = PICTURE_SIZE
    try:
        picture: bytes = still.to_image(format=path.suffix[1:].lower(), width=width, height=height)
    except RuntimeError as error:
        msg = f"{path} needs Chrome or Chromium to draw it, and none could be started: install one, or write .html."
        raise BrainDiffusionError(msg) from error
    return picture
