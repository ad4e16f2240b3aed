"""The job `inspect`: quality control of every volume of a folder, before anything is made of it."""

from collections.abc import Generator, Iterator
from time import monotonic

from braindiffusion.cohort.demographics import demographics_of
from braindiffusion.cohort.describe import describe
from braindiffusion.cohort.find import search
from braindiffusion.cohort.parallel import in_order
from braindiffusion.cohort.qc.duplicates import DuplicateFinder
from braindiffusion.cohort.qc.inspection import (
    Inspection,
    InspectionTask,
    compare_volumes,
    duplicate_flags,
    inspect_volume,
    inspected_row,
)
from braindiffusion.runs.durations import counted, seconds_left
from braindiffusion.runs.events import Event, Finished, Inspected, Progress, Warned
from braindiffusion.runs.folder import Run
from braindiffusion.runs.requests import InspectRequest

STAGE = "inspect"
FEW = 8
"""Volumes from which on worker processes are faster than this one alone."""


def inspect(request: InspectRequest, run: Run) -> Iterator[Event]:
    """Inspect every volume of a folder. Thumbnails are written into the run's `results`.

    Args:
        request: the folder, and what belongs to it.
        run: the run.

    Yields:
        Inspected and Progress for each volume; Inspected once more for each that differs from the others, which only
        the end can tell; Finished, whose problems are the volumes that `prepare` would leave out.

    Raises:
        BrainDiffusionError: nothing was found, or the table of participants cannot be read.
    """
    found, passed_over = search(request.data_dir, modality=request.modality, labels=request.labels)
    for sentence in passed_over:
        yield Warned(message=sentence)
    people = demographics_of(request.data_dir, request.participants, [item.subject for item in found])
    if not people.people:
        yield Warned(message="Age and sex are unknown: there is no table of participants.")
    for sentence in people.notes:
        yield Warned(message=sentence)
    yield Progress(stage=STAGE, step=0, total=len(found), message=counted(len(found), "volume"))
    tasks = [
        InspectionTask(item, row, run.results / "thumbnails" / f"{number:05d}.png")
        for number, (item, row) in enumerate(zip(found, describe(found, people), strict=True), start=1)
    ]
    inspections: list[Inspection] = []
    rows: list[Inspected] = []
    duplicates, met = DuplicateFinder(), list[InspectionTask]()
    begun = monotonic()
    answers: Generator[Inspection] = in_order(inspect_volume, tasks, 1 if len(tasks) < FEW else request.workers)
    try:
        for step, (task, inspection) in enumerate(zip(tasks, answers, strict=True), start=1):
            flags = list(inspection.flags)
            if inspection.fingerprint is not None:
                if (duplicate := duplicates.meet(inspection.fingerprint)) is not None:
                    flags += duplicate_flags(task, met[duplicate.of], duplicate)
                met.append(task)
            inspections.append(inspection)
            rows.append(inspected_row(task, flags, inspection.thumbnail))
            yield rows[-1]
            left = seconds_left(begun, step, len(tasks))
            yield Progress(stage=STAGE, step=step, total=len(tasks), seconds_left=left, message=task.row.subject)
    finally:
        answers.close()
    yield from compare_volumes(rows, inspections)
    yield _summary(rows)


def _summary(rows: list[Inspected]) -> Finished:
    worst = [row.marks[0].severity if row.marks else "" for row in rows]
    problems, warnings = worst.count("problem"), worst.count("warning")
    words = [counted(len(rows), "volume")]
    words += [f"{problems} that cannot be used"] if problems else []
    words += [f"{warnings} with a warning"] if warnings else []
    return Finished(message=", ".join(words), problems=problems)
