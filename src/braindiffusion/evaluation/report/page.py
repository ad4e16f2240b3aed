"""The evaluation report as one HTML page that needs no network."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from plotly.graph_objects import Figure
from plotly.offline import get_plotlyjs

from braindiffusion.evaluation.report.plots import plots
from braindiffusion.evaluation.targets import MINIMUM
from braindiffusion.files import write_whole
from braindiffusion.runs.reports.evaluation import Estimate, Evaluation, Outcome, Row
from braindiffusion.runs.versions import in_words
from braindiffusion.untrusted import markup

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 1100px; margin: 2em auto; padding: 0 1em; }
table { border-collapse: collapse; margin: 1em 0; } td, th { padding: .25em .7em; text-align: left; }
tr { border-bottom: 1px solid #ddd; } td.n { text-align: right; font-variant-numeric: tabular-nums; }
.met { color: #15803d; font-weight: 600; } .missed { color: #b91c1c; font-weight: 600; }
.inconclusive { color: #92400e; }
.row { display: flex; flex-wrap: wrap; gap: 10px; } figure { margin: 0 0 1em; } figcaption { font-size: 13px; }
.row img { background: #000; width: 340px; image-rendering: auto; } small { color: #555; }
"""


@dataclass(frozen=True)
class Picture:
    """A picture of a brain.

    Attributes:
        caption: text below it.
        uri: address that holds the picture.
    """

    caption: str
    uri: str


@dataclass(frozen=True)
class Gallery:
    """Rows of pictures under a title.

    Attributes:
        title: what they show.
        rows: pictures side by side.
    """

    title: str
    rows: Sequence[Sequence[Picture]]


def write_page(evaluation: Evaluation, galleries: Sequence[Gallery], path: Path) -> None:
    """Write the page, Plotly's program included.

    Raises:
        OSError: it cannot be written.
    """
    figures = map(figure_html, plots(evaluation))
    body = "\n".join(
        [
            f"<h1>Generated and real brains{f': {markup(evaluation.model)}' if evaluation.model else ''}</h1>",
            _introduction(evaluation),
            "<h2>Targets</h2>",
            _targets(evaluation),
            _left_out(evaluation),
            *map(_gallery, galleries),
            "<h2>Plots</h2>",
            *figures,
            "<h2>All estimates</h2>",
            _rows(evaluation.rows),
            f"<p><small>{markup(evaluation.command)}<br>{markup(in_words(evaluation.versions))}</small></p>",
        ]
    )
    write_whole(path, document("BrainDiffusion: evaluation", body))


def document(title: str, body: str) -> str:
    """Return a page that needs no network, in the style of the reports, Plotly's program included."""
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{markup(title)}</title>'
        f"<style>{STYLE}</style><script>{get_plotlyjs()}</script></head><body>{body}</body></html>"
    )


def figure_html(figure: Figure) -> str:
    """Return a figure as a part of such a page."""
    html: str = figure.to_html(
        full_html=False, include_plotlyjs=False, config={"displaylogo": False, "responsive": True}
    )
    return html


def _introduction(one: Evaluation) -> str:
    return (
        f"<p>{len(one.generated)} generated brains are compared with {len(one.held_out)} real ones that training never "
        f"saw. The real baseline is the same estimate for as many of the {len(one.training)} real training brains: no "
        f"generator can be expected to do better. Brackets are 95 % intervals of a bootstrap over brains "
        f"({one.repeats} repetitions). A target is met or missed where the whole interval is on one side of its limit, "
        f"and met by {MINIMUM} brains or more of each kind; else it is inconclusive. "
        f"Regions: {markup(one.segmenter)}. Not for diagnosis.</p>"
    )


def _targets(one: Evaluation) -> str:
    lines = [
        [
            markup(each.target),
            markup(each.reached),
            _mark(each.outcome),
            markup(each.stretch),
            "" if each.stretch_outcome is None else _mark(each.stretch_outcome),
        ]
        for each in one.targets
    ]
    return table(["target", "reached", "outcome", "stretch goal", "outcome"], lines)


def _mark(outcome: Outcome) -> str:
    return f'<span class="{outcome}">{outcome}</span>'


def _left_out(one: Evaluation) -> str:
    if not one.left_out:
        return ""
    lines = [[markup(each.what), markup(each.why)] for each in one.left_out]
    return "<h2>Left out</h2>" + table(["part", "reason"], lines)


def _gallery(one: Gallery) -> str:
    rows = (f'<div class="row">{"".join(map(_picture, row))}</div>' for row in one.rows)
    return f"<h2>{markup(one.title)}</h2>" + "".join(rows)


def _picture(one: Picture) -> str:
    return f'<figure><img src="{one.uri}" alt=""><figcaption>{markup(one.caption)}</figcaption></figure>'


def _rows(rows: Iterable[Row]) -> str:
    lines = [
        [
            markup(row.group),
            markup(row.name),
            _estimate(row.generated, row.unit),
            "" if row.real_baseline is None else _estimate(row.real_baseline, row.unit),
            "" if row.spread is None else f"{row.spread.generated_mean:.4g} ± {row.spread.generated_sd:.2g}",
            "" if row.spread is None else f"{row.spread.real_mean:.4g} ± {row.spread.real_sd:.2g}",
            f"{row.brains}, {row.held_out}" if row.held_out else f"{row.brains}",
        ]
        for row in rows
    ]
    return table(
        ["group", "estimate", "generated", "real baseline", "generated, mean ± SD", "real, mean ± SD", "brains"], lines
    )


def _estimate(one: Estimate, unit: str) -> str:
    return f"{one.value:.3g} [{one.low:.3g}, {one.high:.3g}] {markup(unit)}"


def table(titles: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a table of cells that are HTML already."""
    head = "".join(f"<th>{title}</th>" for title in titles)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in line)}</tr>" for line in lines)
    return f"<table><tr>{head}</tr>{body}</table>"
