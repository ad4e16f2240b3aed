"""Pages show what files of others say as text: no element, script or link of theirs."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest

from braindiffusion.evaluation.report.page import Gallery, Picture, write_page
from braindiffusion.export import Brain
from braindiffusion.figures.curves import curves
from braindiffusion.figures.page import style, write_figure
from braindiffusion.jobs.visualize import figure_of
from braindiffusion.regions import region_index
from braindiffusion.runs import Metric, Run, TrainRequest, VisualizeRequest
from braindiffusion.runs.reports.evaluation import Estimate, Evaluation, LeftOut, Memorization, Neighbour, Row
from braindiffusion.runs.reports.synthesis import Ages, CohortReport, RegionRow
from braindiffusion.runs.sidecar import write_sidecar
from braindiffusion.synthesis.report import report_page
from braindiffusion.volume import Volume, save_volume

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


def write_report(path: Path) -> None:
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
    write_page(evaluation, [gallery], path)


def test_a_report(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html")
    assert_harmless(tmp_path / "report.html")


@pytest.mark.parametrize("where", ["title", "name"])
def test_a_figure(tmp_path: Path, where: str) -> None:
    figure = go.Figure(go.Scatter(x=[1], y=[1], name=HOSTILE if where == "name" else ""))
    style(figure, HOSTILE if where == "title" else "")
    write_figure(figure, tmp_path / "figure.html")
    assert_harmless(tmp_path / "figure.html")


TELLS = "parent.postMessage('ran', '*')"
RUNS = f"<img src=x onerror={TELLS.replace(' ', '')}><svg onload={TELLS.replace(' ', '')}>"
"""Can be the name of a file, and tells the page around it when a browser takes it for elements."""


def every_page(folder: Path) -> list[Path]:
    """Pages of each kind, of volumes, runs and subjects with a hostile name."""
    volume = Volume(np.random.default_rng(0).random((2, 12, 14, 12), np.float32), np.diag([8.0, 8, 8, 1]))
    labels = Volume(np.zeros((1, *volume.shape), np.uint8), volume.affine)
    labels.data[0, 4:7, 5:9, 4:7] = region_index("brainstem")
    a, b, regions = (folder / f"{name}{RUNS}.nii.gz" for name in ("a", "b", "regions"))
    for path, content in ((a, volume), (b, volume), (regions, labels)):
        save_volume(content, path)
    told = {"steps_by_level": [2], "sampler": RUNS, "levels": [RUNS], "condition": {"age": 30.0, "sex": RUNS}}
    write_sidecar(a, told)
    wanted = {"slices": (a,), "compare": (a, b), "process": (a,), "regions": (a, regions), "volume": (a,)}
    figures = {name: figure_of(VisualizeRequest(figure=name, paths=paths)) for name, paths in wanted.items()}
    run = Run.create(TrainRequest(data=folder), folder, "run")
    for step in (1, 2):
        run.append(Metric(stage=RUNS, step=step, values={RUNS: 1.0 / step}))
    figures["curves"] = curves([run], title=RUNS)
    pages = [write_figure(figure, folder / f"{name}.html") for name, figure in figures.items()]
    write_report(folder / "evaluation.html")
    row = RegionRow(region=RUNS, low_ml=1, median_ml=2, high_ml=3)
    report = CohortReport(
        created=datetime.now(UTC), command=RUNS, versions={RUNS: RUNS}, model=RUNS, seed=0, asked=1, subjects=1,
        ages=Ages(youngest=30, median=30, oldest=30), sexes={RUNS: 1}, regions=[row], redrawn=[RUNS], limits=[RUNS],
    )  # fmt: skip
    (folder / "cohort.html").write_text(report_page(report, [Brain(path=a, subject=RUNS, sidecar=told)]))
    return [*pages, folder / "evaluation.html", folder / "cohort.html"]


def test_nothing_of_a_name_runs_in_a_browser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dom_of: Callable[..., str]
) -> None:
    """All pages in one browser, each in a frame; a page that shows the name unescaped proves that running is seen."""
    monkeypatch.setitem(globals(), "HOSTILE", f"<script>{TELLS}</script>{RUNS}")
    pages = every_page(tmp_path)
    (tmp_path / "control.html").write_text(f"<title>{RUNS}</title><body>{RUNS}</body>")
    frames = []
    for page in [*pages, tmp_path / "control.html"]:
        text = page.read_text()
        assert text.count("</body>") == 1
        tell = f"<script>parent.postMessage('opened {page.stem}', '*')</script></body>"
        page.write_text(text.replace("</body>", tell))
        frames.append(f"<iframe name={page.stem} src='{page.name}'></iframe>")
    listen = """<script>onmessage = told => {
        const who = [...document.querySelectorAll("iframe")].find(one => one.contentWindow === told.source).name;
        document.title += ` ${told.data === "ran" ? "ran " + who : told.data};`;
    };</script>"""
    (tmp_path / "all.html").write_text(f"<head><title></title>{listen}</head><body>{''.join(frames)}</body>")
    found = re.search(r"<title>(.*?)</title>", dom_of(tmp_path / "all.html"))
    assert found is not None
    told = [one.strip() for one in found[1].split(";") if one.strip()]
    assert {f"opened {page.stem}" for page in pages} < set(told)
    assert {one for one in told if one.startswith("ran")} == {"ran control"}
