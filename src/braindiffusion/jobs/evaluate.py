"""The job `evaluate`: brains are looked at one at a time, and compared when all have been seen."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.evaluation.brain_measures import shared_measures
from braindiffusion.evaluation.compare import Comparison
from braindiffusion.evaluation.encoders.encoder import Observer, Reader, load_seer
from braindiffusion.evaluation.groups import FEWEST, Sides, choose_sides
from braindiffusion.evaluation.measure import Survey
from braindiffusion.evaluation.metrics.condition_adherence import Told, control
from braindiffusion.evaluation.metrics.diversity import Pairs, diversity, look_at_pairs, look_at_twins
from braindiffusion.evaluation.report.page import write_page
from braindiffusion.evaluation.report.pictures import galleries
from braindiffusion.evaluation.targets import verdicts
from braindiffusion.generation.inputs import load_label_map
from braindiffusion.models.cascade.config import CascadeConfig
from braindiffusion.regions.table import Labels
from braindiffusion.runs import ArtifactWritten, Event, Finished, Log, Progress, Run
from braindiffusion.runs.command import as_command
from braindiffusion.runs.files import write_whole
from braindiffusion.runs.reports.evaluation import JSON, PAGE, Evaluation, LeftOut
from braindiffusion.runs.requests import EvaluateRequest
from braindiffusion.runs.versions import versions
from braindiffusion.segmentation import load_reader

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
    sides = choose_sides(request)
    ruler = _ruler(request.reader, sides)
    names = [one.name for one in sides.every]
    seers = {path.stem: load_seer(path, names) for path in request.features}
    rng = np.random.default_rng(request.seed)
    survey = Survey(Observer(ruler.reader, seers), _label_maps(sides), rng)
    for group in reversed(GROUPS):
        yield from survey.look(group, getattr(sides, group))
        if len(getattr(survey, group)) < FEWEST:
            raise BrainDiffusionError(f"Of the {group.replace('_', '-')} brains, fewer than {FEWEST} can be read.")
    sources = {group: [seen.source for seen in getattr(survey, group)] for group in GROUPS}
    pairs = yield from look_at_pairs(sources, request.pairs, rng)
    real = {one.name: one for one in sources["training"] + sources["held_out"]}
    twins = yield from look_at_twins(sources["generated"], real, request.repeats, rng)

    evaluation = Evaluation(
        created=datetime.now(UTC),
        command=as_command(request),
        versions=versions(),
        model=sides.model,
        ruler=ruler.name,
        repeats=request.repeats,
        rows=twins,
        left_out=_left_out(ruler, sides, survey, has_features=bool(seers) or ruler.reader is not None),
        generated=[one.name for one in sources["generated"]],
        training=[one.name for one in sources["training"]],
        held_out=[one.name for one in sources["held_out"]],
    )
    evaluation = yield from _with_figures(evaluation, survey, pairs, sides.preprocessing.spacing)
    evaluation = evaluation.model_copy(update={"verdicts": list(verdicts(evaluation))})
    yield Progress(stage="report", step=0, total=1)
    write_whole(out / JSON, evaluation.model_dump_json(indent=1) + "\n")
    write_page(evaluation, galleries(evaluation.originality, survey), out / PAGE)
    yield Progress(stage="report", step=1, total=1)
    yield Log(message=f"All numbers are in {out / JSON}.")
    yield ArtifactWritten(kind="figure", path=str(out / PAGE), name="evaluation")
    met = sum(verdict.met for verdict in evaluation.verdicts)
    message = f"{met} of {len(evaluation.verdicts)} targets are met: {out / PAGE}"
    yield Finished(message=message, problems=survey.left_out)


def _with_figures(
    evaluation: Evaluation, survey: Survey, pairs: dict[str, Pairs], spacing: float
) -> Generator[Event, None, Evaluation]:
    """The report with all its rows and curves."""
    rng, repeats = survey.rng, evaluation.repeats
    portraits = {group: [seen.portrait for seen in getattr(survey, group)] for group in GROUPS}
    told = {group: Told(portraits[group], [seen.known for seen in getattr(survey, group)]) for group in GROUPS}
    comparison = Comparison(**portraits, spacing=spacing, repeats=repeats, rng=rng)
    power, spectrum = comparison.power()
    yield Progress(stage="figures", step=1, total=4, message="spectrum")
    shades, intensity = comparison.intensities()
    rows = [*comparison.fidelity(), *evaluation.rows, diversity(pairs, repeats, rng), *power, shades]
    yield Progress(stage="figures", step=2, total=4, message="fidelity")
    rows += comparison.measures()
    rows += control(told["generated"], told["held_out"], told["training"], repeats, rng)
    yield Progress(stage="figures", step=3, total=4, message="measures")
    originality = list(survey.originality(repeats))
    yield Progress(stage="figures", step=4, total=4, message="originality")
    update = {"rows": rows, "curves": [spectrum, intensity], "originality": originality}
    return evaluation.model_copy(update=update)


@dataclass(frozen=True)
class _Ruler:
    """What regions are measured with.

    Attributes:
        name: in words.
        reader: None: with the label maps of the brains.
        why: there is no reader.
    """

    name: str
    reader: Reader | None = None
    why: str = ""


def _ruler(wanted: str, sides: Sides) -> _Ruler:
    """The reader that the request names; `auto` takes the packaged one where it is there and fits the box."""
    label_maps = "the brains' own label maps"
    if wanted == "none":
        return _Ruler(label_maps, why="no reader is wanted.")
    try:
        reader = load_reader(READER if wanted == "auto" else wanted)
        box = reader.net.config.shape, reader.net.config.spacing
        if box != (sides.preprocessing.shape, sides.preprocessing.spacing):
            raise BrainDiffusionError(f"The reader reads other boxes than the model makes: {box}.")
    except BrainDiffusionError as error:
        if wanted != "auto":
            raise
        return _Ruler(label_maps, why=str(error))
    return _Ruler(f"read by {READER if wanted == 'auto' else Path(wanted).name}", reader)


def _left_out(ruler: _Ruler, sides: Sides, survey: Survey, *, has_features: bool) -> list[LeftOut]:
    parts = []
    portraits = [seen.portrait for group in GROUPS for seen in getattr(survey, group)]
    if "tissue: grey" not in shared_measures(portraits):
        why = f"{ruler.why} And not every brain has a label map of its own."
        parts.append(LeftOut(what="region volumes, asymmetry, contrast, read sex, Dice of regions", why=why))
    if ruler.reader is None:
        parts.append(LeftOut(what="embedding, read age", why=ruler.why))
    if not has_features:
        parts.append(LeftOut(what="KID, Fréchet distance, MMD", why="there are neither a reader nor --features"))
    if not any(seen.asked for seen in survey.generated):
        parts.append(LeftOut(what="control", why="no sidecar says that its brain was asked for anything"))
    if not sides.card:
        why = (
            "no --model is given and no sidecar names a packaged one: a fifth of the real brains, drawn by name, "
            "stands for the held-out ones, and originality proves nothing about what a model learnt from"
        )
        parts.append(LeftOut(what="the model's own split", why=why))
    return parts


def _label_maps(sides: Sides) -> Callable[[str], Labels] | None:
    """How requested label maps come into the model's box; None where no model is known."""
    if not sides.card:
        return None
    config = CascadeConfig.model_validate(sides.card["configuration"])
    return lambda path: load_label_map(Path(path), config)
