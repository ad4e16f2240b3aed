"""The job `evaluate`: brains are measured one at a time, and compared when all are measured."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.evaluation.brain_measures import shared_measures
from braindiffusion.evaluation.compare import Comparison
from braindiffusion.evaluation.encoders.encoder import BrainMeasurer, SegmentationModel, load_encoder
from braindiffusion.evaluation.groups import FEWEST, Groups, choose_groups
from braindiffusion.evaluation.measure import MeasuredGroups
from braindiffusion.evaluation.measure_cache import CachedMeasurer
from braindiffusion.evaluation.metrics.condition_adherence import ConditionedBrains, condition_adherence
from braindiffusion.evaluation.metrics.diversity import Pairs, diversity, measure_pairs, paired_similarity
from braindiffusion.evaluation.report.page import write_page
from braindiffusion.evaluation.report.pictures import galleries
from braindiffusion.evaluation.targets import targets, too_few
from braindiffusion.files import file_sha256, write_whole
from braindiffusion.generation.inputs import load_label_map
from braindiffusion.models.registry import DEFAULT_SEGMENTATION_MODEL, find_model, model_files
from braindiffusion.outputs import Outputs
from braindiffusion.regions.table import Labels
from braindiffusion.runs import ArtifactWritten, Event, Finished, Log, Progress, Run, Warned
from braindiffusion.runs.command import as_command
from braindiffusion.runs.reports.evaluation import JSON, PAGE, Evaluation, LeftOut
from braindiffusion.runs.requests import EvaluateRequest
from braindiffusion.runs.versions import versions
from braindiffusion.segmentation import load_segmentation_model

MEASURES = "measures"
"""Folder of what was measured, beside the runs."""
GROUPS = ("generated", "held_out", "training")


def evaluate(request: EvaluateRequest, run: Run) -> Iterator[Event]:
    """Compare generated brains with real ones, and write `evaluation.json` and `report.html`.

    Args:
        request: the brains to compare.
        run: gets the report where the request names no folder.

    Yields:
        Progress for each brain, Warned for what is left out, ArtifactWritten for the page, Finished.

    Raises:
        BrainDiffusionError: too few brains, brains of another box, or unreadable features or segmentation model.
    """
    out = request.out or run.results
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BrainDiffusionError(f"Cannot write into {out} ({error.strerror}): choose another folder.") from error
    outputs = Outputs.of(request)
    outputs.check((out / JSON, out / PAGE))
    groups = choose_groups(request)
    segmenter = _segmenter(request.segmentation_model, groups)
    if ask_for_more := too_few(len(groups.generated), len(groups.held_out)):
        yield Warned(message=ask_for_more)
    names = [one.name for one in groups.every]
    encoders = {path.stem: load_encoder(path, names) for path in request.features}
    weights = [file_sha256(path) for path in (*request.features, *segmenter.files)]
    weights += names if request.features else []  # whose rows those of a table are
    if request.uncnn:
        from braindiffusion.evaluation.encoders import uncnn  # imports torch

        encoders[uncnn.NAME] = uncnn.load_uncnn()
    rng = np.random.default_rng(request.seed)
    measurer = CachedMeasurer(BrainMeasurer(segmenter.model, encoders), run.path.parent / MEASURES, weights)
    measured_groups = MeasuredGroups(measurer, _label_maps(groups), rng)
    for group in reversed(GROUPS):
        yield from measured_groups.measure_all(group, getattr(groups, group))
        if len(getattr(measured_groups, group)) < FEWEST:
            raise BrainDiffusionError(f"Of the {group.replace('_', '-')} brains, fewer than {FEWEST} can be read.")
    if measurer.found:
        yield Log(message=f"{measurer.found} of {len(names)} brains were measured before.")
    sources = {group: [one.source for one in getattr(measured_groups, group)] for group in GROUPS}
    pairs = yield from measure_pairs(sources, request.pairs, rng)
    real = {one.name: one for one in sources["training"] + sources["held_out"]}
    counterparts = yield from paired_similarity(sources["generated"], real, request.repeats, rng)

    evaluation = Evaluation(
        created=datetime.now(UTC),
        command=as_command(request),
        versions=versions(),
        model=groups.model,
        segmenter=segmenter.name,
        repeats=request.repeats,
        rows=counterparts,
        left_out=_left_out(
            segmenter, groups, measured_groups, has_features=bool(encoders) or segmenter.model is not None
        ),
        generated=[one.name for one in sources["generated"]],
        training=[one.name for one in sources["training"]],
        held_out=[one.name for one in sources["held_out"]],
    )
    evaluation = yield from _with_figures(evaluation, measured_groups, pairs, groups.preprocessing.spacing)
    evaluation = evaluation.model_copy(update={"targets": list(targets(evaluation))})
    yield Progress(stage="report", step=0, total=1)
    with outputs.writing():
        write_whole(out / JSON, evaluation.model_dump_json(indent=1) + "\n")
        write_page(evaluation, galleries(evaluation.memorization, measured_groups), out / PAGE)
    yield Progress(stage="report", step=1, total=1)
    yield Log(message=f"All numbers are in {out / JSON}.")
    yield ArtifactWritten(kind="figure", path=str(out / PAGE), name="evaluation")
    yield Finished(message=f"{evaluation.summary}: {out / PAGE}", problems=measured_groups.left_out)


def _with_figures(
    evaluation: Evaluation, measured_groups: MeasuredGroups, pairs: dict[str, Pairs], spacing: float
) -> Generator[Event, None, Evaluation]:
    """Return the report with all its rows and curves."""
    rng, repeats = measured_groups.rng, evaluation.repeats
    measured = {group: [one.measures for one in getattr(measured_groups, group)] for group in GROUPS}
    conditioned = {
        group: ConditionedBrains(measured[group], [one.known for one in getattr(measured_groups, group)])
        for group in GROUPS
    }
    comparison = Comparison(**measured, spacing=spacing, repeats=repeats, rng=rng)
    power, spectrum = comparison.power()
    yield Progress(stage="figures", step=1, total=4, message="spectrum")
    shades, intensity = comparison.intensities()
    rows = [*comparison.fidelity(), *evaluation.rows, diversity(pairs, repeats, rng), *power, shades]
    yield Progress(stage="figures", step=2, total=4, message="fidelity")
    rows += comparison.measures()
    rows += condition_adherence(
        conditioned["generated"], conditioned["held_out"], conditioned["training"], repeats, rng
    )
    yield Progress(stage="figures", step=3, total=4, message="measures")
    memorization = list(measured_groups.memorization(repeats))
    yield Progress(stage="figures", step=4, total=4, message="memorization")
    update = {"rows": rows, "curves": [spectrum, intensity], "memorization": memorization}
    return evaluation.model_copy(update=update)


@dataclass(frozen=True)
class _Segmenter:
    """The source of the region label maps.

    Attributes:
        name: in words.
        model: segmentation model; None takes the label maps of the brains.
        why: reason why there is no segmentation model.
        files: of the segmentation model.
    """

    name: str
    model: SegmentationModel | None = None
    why: str = ""
    files: tuple[Path, ...] = ()


def _segmenter(wanted: str, groups: Groups) -> _Segmenter:
    """Return the segmentation model of the request; `auto` takes the packaged one where it fits the box."""
    label_maps = "the brains' own label maps"
    if wanted == "none":
        return _Segmenter(label_maps, why="none is wanted.")
    name = DEFAULT_SEGMENTATION_MODEL if wanted == "auto" else wanted
    try:
        model = load_segmentation_model(name)
        box = model.net.config.shape, model.net.config.spacing
        if box != (groups.preprocessing.shape, groups.preprocessing.spacing):
            raise BrainDiffusionError(f"The segmentation model takes other boxes than the brains have: {box}.")
    except BrainDiffusionError as error:
        if wanted != "auto":
            raise
        return _Segmenter(label_maps, why=str(error))
    return _Segmenter(f"segmented by {Path(name).name}", model, files=model_files(find_model(name)))


def _left_out(
    segmenter: _Segmenter, groups: Groups, measured_groups: MeasuredGroups, *, has_features: bool
) -> list[LeftOut]:
    parts = []
    measured = [one.measures for group in GROUPS for one in getattr(measured_groups, group)]
    if "tissue: grey" not in shared_measures(measured):
        why = f"{segmenter.why} Not every brain has a label map of its own."
        parts.append(LeftOut(what="region volumes, asymmetry, contrast, predicted sex, Dice of regions", why=why))
    if segmenter.model is None:
        parts.append(LeftOut(what="embedding, predicted age", why=segmenter.why))
    if not has_features:
        parts.append(
            LeftOut(what="KID, Fréchet distance, MMD", why="there are neither a segmentation model nor features")
        )
    if not any(one.asked for one in measured_groups.generated):
        parts.append(LeftOut(what="condition adherence", why="no sidecar has a condition"))
    seen = set(groups.card.split.seen_by_coarser_levels) if groups.card else set()
    if known := sum(one.source.name in seen for one in measured_groups.held_out):
        why = f"its coarser levels were trained on {known} of the {len(measured_groups.held_out)} held-out brains"
        parts.append(LeftOut(what="a comparison with people whom no level of the model saw", why=why))
    if groups.card is None:
        why = (
            "no model is given and no sidecar names a packaged one: a fifth of the real brains, drawn by name, "
            "takes the place of the held-out ones, and memorization proves nothing about what a model was trained on"
        )
        parts.append(LeftOut(what="the model's own split", why=why))
    return parts


def _label_maps(groups: Groups) -> Callable[[str], Labels] | None:
    """Return a function that brings label maps into the model's box; None without a model."""
    if groups.card is None:
        return None
    box = groups.preprocessing
    return lambda path: load_label_map(Path(path), box.shape, box.spacing)[0]
