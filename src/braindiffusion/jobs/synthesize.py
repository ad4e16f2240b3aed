"""The job `synthesize`: a cohort as a BIDS dataset, subject by subject, with a report."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.generation.outputs import Sample
from braindiffusion.generation.plan import GenerationPlan
from braindiffusion.generation.sharding import Shard
from braindiffusion.jobs.generate import perform_plan, segment_sample
from braindiffusion.models.registry import find_model, read_card
from braindiffusion.outputs import Outputs
from braindiffusion.runs import (
    ArtifactWritten,
    Event,
    Finished,
    GenerateRequest,
    Log,
    Progress,
    Run,
    SynthesizeRequest,
    Warned,
)
from braindiffusion.runs.durations import seconds_left
from braindiffusion.runs.requests.synthesis import MOST
from braindiffusion.runs.sidecar import load_sidecar, sidecar_path
from braindiffusion.segmentation import load_segmentation_model
from braindiffusion.synthesis.conditions import SubjectConditions
from braindiffusion.synthesis.dataset import REPORT_JSON, REPORT_PAGE, CohortDataset, subject
from braindiffusion.synthesis.novelty import Reference, read_reference
from braindiffusion.synthesis.report import make_report, report_page

WORK = "generated"
"""Folder in the run where brains lie until they are in the dataset."""


def synthesize(request: SynthesizeRequest, run: Run) -> Iterator[Event]:
    """Generate a cohort; several processes of one launch share it out.

    Subjects that are complete are left as they are. One that is too close to a training brain is generated again with
    another seed, and left out where that does not help.

    Args:
        request: the cohort.
        run: gets the dataset where the request names no folder, and brains on their way into it.

    Yields:
        Progress, each subject as it is added, the page of the report, Finished.

    Raises:
        BrainDiffusionError: as `generate`, the folder holds something else, or the reference is no cohort of the
            model's.
    """
    cohort = _Cohort(request, run)
    yield from cohort.find_complete()
    try:
        for redraws in range(request.redraws + 1):
            yield from cohort.draw(redraws)
    finally:
        brains = cohort.dataset.describe()
    for number in cohort.missing:
        near = f"Too close to a training brain after {request.redraws} redraws: it is left out."
        yield Warned(message=near, subject=f"sub-{subject(number)}")
    report = make_report(request, cohort.card, brains, cohort.reference)
    page = report_page(report, brains)
    cohort.dataset.write({REPORT_JSON: report.model_dump_json(indent=1) + "\n", REPORT_PAGE: page})
    for sentence in report.limits[1:]:
        yield Log(message=sentence)
    yield ArtifactWritten(kind="figure", path=str(cohort.dataset.out / REPORT_PAGE), name="synthetic cohort")
    yield Finished(message=f"{report.summary}: {cohort.dataset.out}{cohort.shard}", problems=len(cohort.missing))


class _Cohort:
    """A cohort in the making.

    Args:
        request: the cohort.
        run: as in `synthesize`.

    Attributes:
        missing: numbers of this process's subjects that are not complete.
    """

    def __init__(self, request: SynthesizeRequest, run: Run) -> None:
        self.request, self.run = request, run
        self.card = read_card(find_model(request.model))
        self.shard = Shard.current()
        conditions = SubjectConditions(request, self.card.conditions)
        inputs = [] if request.reference is None else [request.reference]
        self.dataset = CohortDataset(request.out or run.results, Outputs.of(request, inputs))
        if not self.shard.rank:
            self.dataset.check_tables()
        self.table = conditions.write_table(run.path / WORK / "conditions.tsv", request.num)
        self.reference: Reference | None = None
        self.missing: list[int] = []

    def find_complete(self) -> Iterator[Event]:
        """Find out which subjects are complete, and read the reference.

        A complete subject that was not compared with this reference yet, is.
        """
        plan = self._plan(0, None)
        numbers = [number for numbers in self.shard.batches(plan.request) for number in numbers]

        def decides(number: int, redraws: int) -> Mapping[str, Any]:
            return {**plan.settings(number), "seed": self._seed(redraws) + number - 1}

        complete = self.dataset.complete(numbers, len(plan.channels), decides)
        if complete:
            yield Log(message=f"{len(complete)} of {len(numbers)} subjects are complete already.")
        if (path := self.request.reference) is not None:
            model = None if self.request.voxels_only else load_segmentation_model()
            self.reference = yield from read_reference(path, self.request.model, model, self.request.seed)
        self.missing = [number for number in numbers if number not in complete]
        for step, (number, path) in enumerate(complete.items()):
            yield Progress(stage="complete subjects", step=step, total=len(complete))
            if self.reference is not None and not self.reference.is_of(load_sidecar(sidecar_path(path))):
                compared = self.reference.record(path, number)
                if self.reference.is_copy(compared["novelty"]):
                    self.dataset.remove(number)
                    self.missing.append(number)
                else:
                    self.dataset.update(path, compared)

    def draw(self, redraws: int) -> Iterator[Event]:
        """Draw the subjects that are missing. Those that are too close to a training brain are missing afterwards."""
        if not self.missing:
            return
        plan = self._plan(redraws, tuple(sorted(self.missing)))
        done: set[int] = set()
        total, begun = len(self.missing), monotonic()
        stage = "subjects" if not redraws else f"subjects, redraw {redraws}"
        for event in perform_plan(plan):
            if isinstance(event, ArtifactWritten) and event.kind == "volume":
                number = int(load_sidecar(sidecar_path(Path(event.path)))["sample"])
                if number not in done:
                    done.add(number)
                    yield from self._add(plan.sample(number), redraws)
            elif isinstance(event, Progress):
                where = event.message or f"{event.stage}, step {event.step} of {event.total}"
                left = seconds_left(begun, len(done), total)
                yield Progress(stage=stage, step=len(done), total=total, seconds_left=left, message=where)
            elif isinstance(event, Warned):
                yield event
        yield Progress(stage=stage, step=total, total=total)

    def _add(self, sample: Sample, redraws: int) -> Iterator[Event]:
        """Add a brain to the dataset unless it is a copy; its files in the run go."""
        number, volumes = sample.number, [Path(event.path) for event in sample.written()]
        more: dict[str, Any] = {"redraws": redraws}
        if self.reference is not None:
            more |= self.reference.record(volumes[0], number)
        event: Event
        if self.reference is not None and self.reference.is_copy(more["novelty"]):
            event = Log(message=f"sub-{subject(number)} is too close to a training brain, and is generated again.")
        else:
            try:
                path = self.dataset.add(number, volumes, Path(sample.regions.path), more)
            except OSError as error:
                msg = f"{self.dataset.out} cannot be written to ({error.strerror}): free some space, and start again."
                raise BrainDiffusionError(msg) from error
            self.missing.remove(number)
            event = ArtifactWritten(kind="volume", path=str(path), name=f"sub-{subject(number)}")
        for file in sample.files:
            file.unlink(missing_ok=True)
        yield event

    def _plan(self, redraws: int, only: Sequence[int] | None) -> GenerationPlan:
        """Return the generation of some subjects, with the seeds of this redraw."""
        asked = self.request
        request = GenerateRequest(
            model=asked.model,
            num_samples=asked.num,
            seed=self._seed(redraws),
            condition=asked.condition,
            conditions=self.table,
            segmentation=True,
            guidance=asked.guidance,
            fast=asked.fast,
            levels=asked.levels,
            batch_size=asked.batch_size,
            only=None if only is None else tuple(only),
            out=self.run.path / WORK / f"draw-{redraws}",
            device=asked.device,
            precision=asked.precision,
        )
        return GenerationPlan(request, self.run, segment_sample)

    def _seed(self, redraws: int) -> int:
        """Return the seed of the first subject after so many redraws: above the seeds of all other draws."""
        return self.request.seed + redraws * MOST
