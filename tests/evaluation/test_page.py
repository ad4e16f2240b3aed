"""Pages show what files of others say as text: no element, script or link of theirs."""

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import plotly.graph_objects as go
import pytest

from braindiffusion.evaluation.report.page import Gallery, Picture, write_page
from braindiffusion.figures.page import style, write_figure
from braindiffusion.runs.reports.evaluation import Estimate, Evaluation, LeftOut, Memorization, Neighbour, Row

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)><a href='javascript:alert(3)'>\"'&"


class Elements(HTMLParser):
    """Elements and attributes of a page; what programs hold is none of them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, list[tuple[str, str | None]]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, attrs))


def elements(path: Path) -> list[tuple[str, list[tuple[str, str | None]]]]:
    parser = Elements()
    text = path.read_text(encoding="utf-8")
    # Plotly's own program is left out: it is 4 MB, and the same on every page.
    parser.feed(re.sub(r"(<script[^>]*>)/\*\*.*?(</script>)", r"\1\2", text, flags=re.DOTALL))
    assert "<script>alert" not in text
    return parser.found


def assert_harmless(path: Path) -> None:
    for tag, attributes in elements(path):
        assert tag != "a"
        assert not [name for name, _ in attributes if name.startswith("on")], (tag, attributes)
        assert tag != "img" or dict(attributes)["src"] == "data:,"


def test_a_report(tmp_path: Path) -> None:
    estimate = Estimate(value=1, low=0, high=2)
    near = Neighbour(
        generated=HOSTILE, training=HOSTILE, to_training=1, held_out=HOSTILE, to_held_out=1, ratio=1, copied=False
    )
    copies = Memorization(
        space=HOSTILE, p=0.5, ratio=estimate, real_baseline=estimate, threshold=0.1, ratios=[1.0],
        real_baseline_ratios=[1.0], neighbours=[near],
    )  # fmt: skip
    evaluation = Evaluation(
        created=datetime.now(UTC), command=HOSTILE, versions={HOSTILE: HOSTILE}, model=HOSTILE, segmenter=HOSTILE,
        generated=[HOSTILE], training=[HOSTILE], held_out=[HOSTILE], repeats=10, memorization=[copies],
        rows=[Row(group=HOSTILE, name=HOSTILE, unit=HOSTILE, generated=estimate, brains=1)],
        left_out=[LeftOut(what=HOSTILE, why=HOSTILE)],
    )  # fmt: skip
    gallery = Gallery(HOSTILE, [[Picture(HOSTILE, "data:,")]])
    write_page(evaluation, [gallery], tmp_path / "report.html")
    assert_harmless(tmp_path / "report.html")


@pytest.mark.parametrize("where", ["title", "name"])
def test_a_figure(tmp_path: Path, where: str) -> None:
    figure = go.Figure(go.Scatter(x=[1], y=[1], name=HOSTILE if where == "name" else ""))
    style(figure, HOSTILE if where == "title" else "")
    write_figure(figure, tmp_path / "figure.html")
    assert_harmless(tmp_path / "figure.html")
