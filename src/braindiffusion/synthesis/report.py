"""The report of a synthetic cohort: what its subjects are like and how new, as JSON and as a page."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from braindiffusion.cohort.nearest import Neighbours
from braindiffusion.cohort.region_volumes import model_reference
from braindiffusion.conditions import Numbers
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.evaluation.measure import VOXELS
from braindiffusion.evaluation.metrics.memorization import memorization_test
from braindiffusion.evaluation.report.page import document, figure_html, table
from braindiffusion.evaluation.targets import MINIMUM
from braindiffusion.export.brains import Brain
from braindiffusion.export.identity import shareable
from braindiffusion.models.card import ModelCard
from braindiffusion.regions import REGIONS, volumes_ml
from braindiffusion.runs import SynthesizeRequest
from braindiffusion.runs.command import as_command
from braindiffusion.runs.reports.synthesis import Ages, CohortReport, Novelty, RegionRow
from braindiffusion.runs.versions import in_words, versions
from braindiffusion.synthesis.novelty import EMBEDDING, Reference, neighbours_of, similarity
from braindiffusion.untrusted import markup
from braindiffusion.volume import load_volume

BAND = (5, 50, 95)
WOMEN, MEN, OTHER = "#c2410c", "#1d4ed8", "#525252"
NO_REFERENCE = (
    "No reference cohort was given: no brain was compared with the training brains, so nothing is known about copies. "
    "The packaged model does not ship its training brains: prepare the IXI subjects of its card and name the cohort "
    "as the reference."
)


def make_report(
    request: SynthesizeRequest, card: ModelCard, brains: Sequence[Brain], reference: Reference | None
) -> CohortReport:
    """Return the report of a cohort.

    Args:
        request: the cohort.
        card: of the model.
        brains: its complete subjects.
        reference: the real brains that they were compared with.

    Raises:
        BrainDiffusionError: a region map cannot be read.
    """
    subjects = list({brain.subject: brain for brain in reversed(brains)}.values())[::-1]
    asked = [brain.sidecar.get("condition") or {} for brain in subjects]
    ages = [float(one["age"]) for one in asked if "age" in one]
    redraws = {brain.subject: int(brain.sidecar.get("redraws", 0)) for brain in subjects}
    novelty = _novelty(subjects, reference)
    return CohortReport(
        created=datetime.now(UTC),
        command=shareable({"synthetic": True, "command": as_command(request)})[0]["command"],
        versions=versions(),
        model=card.name or Path(request.model).name,
        seed=request.seed,
        asked=max(request.num, len(subjects)),
        subjects=len(subjects),
        ages=Ages(youngest=min(ages), median=float(np.median(ages)), oldest=max(ages)) if ages else None,
        sexes=dict(sorted(Counter(str(one["sex"]) for one in asked if "sex" in one).items())),
        regions=_regions(_volumes(subjects), model_reference(card.conditions)),
        redraws=sum(redraws.values()),
        redrawn=[f"sub-{name}" for name, times in redraws.items() if times],
        novelty=novelty,
        limits=_limits(request, len(subjects), reference, novelty),
    )


def _volumes(subjects: Sequence[Brain]) -> NDArray[np.float64]:
    """Return the region volumes of the subjects that have a region map, (subjects, regions) in ml.

    Raises:
        BrainDiffusionError: a region map cannot be read, or holds other values than those of regions.
    """
    rows = []
    for path in (brain.labels for brain in subjects if brain.labels is not None):
        one = load_volume(path)
        if not np.isin(one.data[0], np.arange(len(REGIONS))).all():
            raise BrainDiffusionError(f"{path} holds values of no region: delete it, and its brain is made again.")
        rows.append(volumes_ml(one.data[0].astype(np.uint8), one.spacing))
    return np.array(rows).reshape(-1, len(REGIONS))


def _regions(volumes: NDArray[np.float64], training: Mapping[str, Numbers]) -> list[RegionRow]:
    if not len(volumes):
        return []
    rows = []
    for region in REGIONS[1:]:
        column = volumes[:, region.index]
        low, median, high = np.percentile(column, BAND)
        seen = training.get(region.name)
        outside = None if seen is None else int(((column < seen.quantiles[0]) | (column > seen.quantiles[-1])).sum())
        rows.append(
            RegionRow(
                region=region.name,
                low_ml=low,
                median_ml=median,
                high_ml=high,
                percentile=None if seen is None else seen.percentile(float(median)),
                outside=outside,
            )
        )
    return rows


def _novelty(subjects: Sequence[Brain], reference: Reference | None) -> list[Novelty]:
    if reference is None:
        return []
    found = []
    for space, people in reference.people.items():
        made = [one for brain in subjects if (one := neighbours_of(brain.sidecar, space)) is not None]
        if made:
            found.append(_compared(space, made, people, reference.threshold(space)))
    return found


def _compared(space: str, made: Sequence[Neighbours], people: Sequence[Neighbours], threshold: float) -> Novelty:
    nearest, usual = (min(one.to_training for one in group) for group in (made, people))
    by_cosine = space == EMBEDDING
    return Novelty(
        space=space,
        subjects=len(made),
        threshold=threshold,
        copies=sum(one.to_training < threshold for one in made),
        nearest=nearest,
        ratio=float(np.median([one.ratio for one in made])),
        people_ratio=float(np.median([one.ratio for one in people])),
        p=memorization_test(made, people).p,
        similarity=similarity(nearest) if by_cosine else None,
        people_similarity=similarity(usual) if by_cosine else None,
    )


def _limits(
    request: SynthesizeRequest, count: int, reference: Reference | None, novelty: Sequence[Novelty]
) -> list[str]:
    limits = ["Ages and sexes are those that were asked for; they are not measured in the brains."]
    if count < request.num:
        limits.append(
            f"{request.num - count} of {request.num} subjects are missing: they were too close to a training brain "
            f"after {request.redraws} redraws, or another process still generates them."
        )
    if reference is None:
        limits.append(NO_REFERENCE)
    else:
        if not reference.knows_split:
            limits.append("The model's card does not list its training subjects: a fifth of the reference, drawn by "
                          "name, takes the place of the held-out people, and the comparison proves nothing about what "
                          "the model was trained on.")  # fmt: skip
        if count < MINIMUM:
            limits.append(f"With fewer than {MINIMUM} subjects, a p value above 0.05 says little.")
        if all(one.space != EMBEDDING for one in novelty):
            limits.append(
                "Embeddings are not compared: only voxels were asked for, or the segmentation model has another box."
            )
        limits.append("That no brain is a copy by these distances is no proof of anonymity: see the page on limits.")
    return limits


def report_page(report: CohortReport, brains: Sequence[Brain]) -> str:
    """Return the page of a report."""
    subjects = {brain.subject: brain.sidecar for brain in brains}.values()
    parts = [
        f"<h1>Synthetic cohort of {report.subjects} subjects</h1>",
        f"<p>Generated by {markup(report.model)} from seed {report.seed}: {markup(report.summary)}. "
        "Not for diagnosis.</p>",
        "<h2>Subjects</h2>",
        _subjects(report),
        figure_html(ages_figure([sidecar.get("condition") or {} for sidecar in subjects])) if report.ages else "",
        "<h2>Novelty</h2>",
        _novelty_table(report) if report.novelty else "<p>Not compared with training brains.</p>",
        *(_distances(report, list(subjects))),
        "<h2>What this report does not show</h2>",
        "<ul>" + "".join(f"<li>{markup(one)}</li>" for one in report.limits) + "</ul>",
        "<h2>Region volumes</h2>",
        _region_table(report.regions),
        f"<p><small>{markup(report.command)}<br>{markup(in_words(report.versions))}</small></p>",
    ]
    return document("BrainDiffusion: synthetic cohort", "\n".join(parts))


def _subjects(report: CohortReport) -> str:
    ages = report.ages
    lines = [["subjects", f"{report.subjects} of {report.asked}"]]
    lines += [[f"sex {markup(sex)}", str(count)] for sex, count in report.sexes.items()]
    if ages is not None:
        lines.append(["age", f"{ages.youngest:g} to {ages.oldest:g} years, median {ages.median:g}"])
    again = f": {', '.join(report.redrawn)}" if report.redrawn else ""
    lines.append(["brains generated again", f"{report.redraws}{markup(again)}"])
    return table(["", ""], lines)


def ages_figure(asked: Sequence[Mapping[str, object]]) -> go.Figure:
    """Return a histogram of the ages, a colour for each sex."""
    figure = go.Figure()
    for sex, colour in (("F", WOMEN), ("M", MEN), (None, OTHER)):
        ages = [one["age"] for one in asked if "age" in one and one.get("sex") == sex]
        if ages:
            figure.add_histogram(x=ages, name=sex or "no sex", marker_color=colour, xbins={"size": 5})
    figure.update_layout(barmode="stack", title="Ages", xaxis_title="years", yaxis_title="subjects", height=320)
    return figure


def _distances(report: CohortReport, subjects: Sequence[Mapping[str, object]]) -> list[str]:
    figures = []
    for one in report.novelty:
        found = [near.to_training for sidecar in subjects if (near := neighbours_of(sidecar, one.space)) is not None]
        figure = go.Figure()
        figure.add_histogram(x=found, marker_color=WOMEN)
        figure.add_vline(x=one.threshold, line_dash="dot", annotation_text="copy")
        figure.update_layout(
            title=f"Distance to the nearest training brain: {one.space}", yaxis_title="subjects", height=300
        )
        figures.append(figure_html(figure))
    return figures


def _novelty_table(report: CohortReport) -> str:
    lines = [
        [
            markup(one.space if one.space == VOXELS else f"{one.space} of the segmentation model"),
            f"{one.copies} of {one.subjects}",
            f"{one.nearest:.3f} (copies: below {one.threshold:.3f})",
            f"{one.ratio:.3f} (people {one.people_ratio:.3f}), p = {one.p:.2g}",
            "" if one.similarity is None else f"{one.similarity:.3f} (people {one.people_similarity:.3f})",
        ]
        for one in report.novelty
    ]
    titles = ["compared by", "copies", "smallest distance", "median ratio, training over held-out", "highest cosine"]
    return table(titles, lines)


def _region_table(regions: Sequence[RegionRow]) -> str:
    lines = [
        [
            markup(one.region),
            f"{one.median_ml:.2f} ({one.low_ml:.2f} to {one.high_ml:.2f})",
            "" if one.percentile is None else f"{one.percentile:.0f} %",
            "" if one.outside is None else str(one.outside),
        ]
        for one in regions
    ]
    titles = ["region", "ml, median (5 to 95 %)", "percentile of the median in training", "subjects outside"]
    return table(titles, lines)
