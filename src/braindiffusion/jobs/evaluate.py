"""The job `evaluate`: brains are looked at one at a time, and compared when all have been seen."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.evaluation.brain_measures import shared_measures
from braindiffusion.evaluation.compare import Comparison
from braindiffusion.evaluation.encoders.encoder import BrainMeasurer, Reader, load_encoder
from braindiffusion.evaluation.groups import FEWEST, Groups, choose_groups
from braindiffusion.evaluation.measure import MeasuredGroups
from braindiffusion.evaluation.metrics.condition_adherence import ConditionedBrains, condition_adherence
from braindiffusion.evaluation.metrics.diversity import Pairs, diversity, measure_pairs, paired_similarity
from braindiffusion.evaluation.report.page import write_page
from braindiffusion.evaluation.report.pictures import galleries
from braindiffusion.evaluation.targets import targets
from braindiffusion.files import write_whole
from braindiffusion.generation.inputs import load_label_map
from braindiffusion.regions.table import Labels
from braindiffusion.runs import ArtifactWritten, Event, Finished, Log, Progress, Run
from braindiffusion.runs.command import as_command
from braindiffusion.runs.reports.evaluation import JSON, PAGE, Evaluation, LeftOut
from braindiffusion.runs.requests import EvaluateRequest
from braindiffusion.runs.versions import versions
from braindiffusion.segmentation import load_segmentation_model

READER = "ixi-2mm-regions"
GROUPS = ("generated", "held_out", "training")


def evaluate(request: EvaluateRequest, run: Run) -> Iterator[Event]:
    """Compare generated brains with real ones, and write `evaluation.json` and `report.html`.

    Args:
        request: who is compared.
        run: gets the report where the request names no folder.

    Yields:
        Progress for each brain, Warned for what is left out, ArtifactWritten for the page, Finished.

    Raises:
        BrainDiffusionError: too few brains, brains of another box, features or a reader that cannot be read.
    """
    out = request.out or run.results
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BrainDiffusionError(f"Cannot write into {out} ({error.strerror}): choose another folder.") from error
    groups = choose_groups(request)
    segmenter = _segmenter(request.reader, groups)
    names = [one.name for one in groups.every]
    encoders = {path.stem: load_encoder(path, names) for path in request.features}
    rng = np.random.default_rng(request.seed)
    measured_groups = MeasuredGroups(BrainMeasurer(segmenter.reader, encoders), _label_maps(groups), rng)
    for group in reversed(GROUPS):
        yield from measured_groups.look(group, getattr(groups, group))
        if len(getattr(measured_groups, group)) < FEWEST:
            raise BrainDiffusionError(f"Of the {group.replace('_', '-')} brains, fewer than {FEWEST} can be read.")
    sources = {group: [seen.source for seen in getattr(measured_groups, group)] for group in GROUPS}
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
            segmenter, groups, measured_groups, has_features=bool(encoders) or segmenter.reader is not None
        ),
        generated=[one.name for one in sources["generated"]],
        training=[one.name for one in sources["training"]],
        held_out=[one.name for one in sources["held_out"]],
    )
    evaluation = yield from _with_figures(evaluation, measured_groups, pairs, groups.preprocessing.spacing)
    evaluation = evaluation.model_copy(update={"targets": list(targets(evaluation))})
    yield Progress(stage="report", step=0, total=1)
    write_whole(out / JSON, evaluation.model_dump_json(indent=1) + "\n")
    write_page(evaluation, galleries(evaluation.memorization, measured_groups), out / PAGE)
    yield Progress(stage="report", step=1, total=1)
    yield Log(message=f"All numbers are in {out / JSON}.")
    yield ArtifactWritten(kind="figure", path=str(out / PAGE), name="evaluation")
    yield Finished(message=f"{evaluation.summary}: {out / PAGE}", problems=measured_groups.left_out)


def _with_figures(
    evaluation: Evaluation, measured_groups: MeasuredGroups, pairs: dict[str, Pairs], spacing: float
) -> Generator[Event, None, Evaluation]:
    """The report with all its rows and curves."""
    rng, repeats = measured_groups.rng, evaluation.repeats
    measured = {group: [seen.measures for seen in getattr(measured_groups, group)] for group in GROUPS}
    told = {
        group: ConditionedBrains(measured[group], [seen.known for seen in getattr(measured_groups, group)])
        for group in GROUPS
    }
    comparison = Comparison(**measured, spacing=spacing, repeats=repeats, rng=rng)
    power, spectrum = comparison.power()
    yield Progress(stage="figures", step=1, total=4, message="spectrum")
    shades, intensity = comparison.intensities()
    rows = [*comparison.fidelity(), *evaluation.rows, diversity(pairs, repeats, rng), *power, shades]
    yield Progress(stage="figures", step=2, total=4, message="fidelity")
    rows += comparison.measures()
    rows += condition_adherence(told["generated"], told["held_out"], told["training"], repeats, rng)
    yield Progress(stage="figures", step=3, total=4, message="measures")
    memorization = list(measured_groups.memorization(repeats))
    yield Progress(stage="figures", step=4, total=4, message="memorization")
    update = {"rows": rows, "curves": [spectrum, intensity], "memorization": memorization}
    return evaluation.model_copy(update=update)


@dataclass(frozen=True)
class _Segmenter:
    """What regions are measured with.

    Attributes:
        name: in words.
        reader: None: with the label maps of the brains.
        why: there is no reader.
    """

    name: str
    reader: Reader | None = None
    why: str = ""


def _segmenter(wanted: str, groups: Groups) -> _Segmenter:
    """The reader that the request names; `auto` takes the packaged one where it is there and fits the box."""
    label_maps = "the brains' own label maps"
    if wanted == "none":
        return _Segmenter(label_maps, why="no reader is wanted.")
    try:
        reader = load_segmentation_model(READER if wanted == "auto" else wanted)
        box = reader.net.config.shape, reader.net.config.spacing
        if box != (groups.preprocessing.shape, groups.preprocessing.spacing):
            raise BrainDiffusionError(f"The reader reads other boxes than the model makes: {box}.")
    except BrainDiffusionError as error:
        if wanted != "auto":
            raise
        return _Segmenter(label_maps, why=str(error))
    return _Segmenter(f"read by {READER if wanted == 'auto' else Path(wanted).name}", reader)


def _left_out(
    segmenter: _Segmenter, groups: Groups, measured_groups: MeasuredGroups, *, has_features: bool
) -> list[LeftOut]:
    parts = []
    measured = [seen.measures for group in GROUPS for seen in getattr(measured_groups, group)]
    if "tissue: grey" not in shared_measures(measured):
        why = f"{segmenter.why} And not every brain has a label map of its own."
        parts.append(LeftOut(what="region volumes, asymmetry, contrast, read sex, Dice of regions", why=why))
    if segmenter.reader is None:
        parts.append(LeftOut(what="embedding, read age", why=segmenter.why))
    if not has_features:
        parts.append(
            LeftOut(what="KID, Fréchet distance, MMD", why="there are neither a segmentation model nor features")
        )
    if not any(seen.asked for seen in measured_groups.generated):
        parts.append(LeftOut(what="condition adherence", why="no sidecar says that its brain was asked for anything"))
    if groups.card is None:
        why = (
            "no model is given and no sidecar names a packaged one: a fifth of the real brains, drawn by name, "
            "stands for the held-out ones, and memorization proves nothing about what a model learnt from"
        )
        parts.append(LeftOut(what="the model's own split", why=why))
    return parts


def _label_maps(groups: Groups) -> Callable[[str], Labels] | None:
    """How requested label maps come into the model's box; None where no model is known."""
    if groups.card is None:
        return None
    box = groups.preprocessing
    return lambda path: load_label_map(Path(path), box.shape, box.spacing)
