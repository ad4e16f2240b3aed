"""The job that looks at every volume of a folder before anything is made of it: a row a subject, marks, a thumbnail."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from braindiffusion.cohort.demographics import Demographics, read_demographics
from braindiffusion.cohort.describe import Description, describe
from braindiffusion.cohort.find import Found, find
from braindiffusion.cohort.parallel import in_order
from braindiffusion.cohort.qc.checks import (
    Measures,
    by_severity,
    header_flags,
    label_flag,
    measure,
    unusual,
    usual,
    voxel_flags,
)
from braindiffusion.cohort.qc.downsample import downsample
from braindiffusion.cohort.qc.duplicates import MM, VERY_SAME, Duplicate, DuplicateFinder, Fingerprint, fingerprint
from braindiffusion.cohort.qc.orientation import GRID_MM, find_orientation
from braindiffusion.cohort.qc.thumbnail import write_thumbnail
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs.durations import seconds_left
from braindiffusion.runs.events import Event, Finished, Inspected, Progress, QCFlag, Warned
from braindiffusion.runs.folder import Run
from braindiffusion.runs.requests import InspectRequest
from braindiffusion.volume import load_volume

STAGE = "inspect"
FEW = 8
"""Fewer volumes than this are done sooner than worker processes wake."""


@dataclass(frozen=True)
class _Task:
    found: Found
    row: Description
    thumbnail: Path


@dataclass(frozen=True)
class _Seen:
    """What a worker saw of a volume."""

    marks: tuple[QCFlag, ...]
    thumbnail: str = ""
    fingerprint: Fingerprint | None = None
    measures: Measures | None = None


def inspect(request: InspectRequest, run: Run) -> Iterator[Event]:
    """Look at every volume of a folder. Thumbnails are written into the run's `results`.

    Args:
        request: the folder, and what belongs to it.
        run: the run that asks.

    Yields:
        Inspected and Progress for each volume; Inspected once more for those that are unlike the others, which only
        the end can tell; Finished, whose problems are the volumes that `prepare` would leave out.

    Raises:
        BrainDiffusionError: nothing was found, or the table of participants cannot be read.
    """
    found = find(request.data_dir, modality=request.modality, labels=request.labels)
    people = read_demographics(request.participants) if request.participants else Demographics()
    if not people.people:
        yield Warned(message="Age and sex are unknown: there is no table of participants.")
    yield Progress(stage=STAGE, step=0, total=len(found), message=f"{len(found)} volumes")
    tasks = [
        _Task(item, row, run.results / "thumbnails" / f"{number:05d}.png")
        for number, (item, row) in enumerate(zip(found, describe(found, people), strict=True), start=1)
    ]
    all_seen: list[_Seen] = []
    told: list[Inspected] = []
    duplicates, met = DuplicateFinder(), list[_Task]()
    begun = monotonic()
    answers: Generator[_Seen] = in_order(_look, tasks, 1 if len(tasks) < FEW else request.workers)
    try:
        for step, (task, seen) in enumerate(zip(tasks, answers, strict=True), start=1):
            marks = list(seen.marks)
            if seen.fingerprint is not None:
                if (duplicate := duplicates.meet(seen.fingerprint)) is not None:
                    marks += _duplicate(task, met[duplicate.of], duplicate)
                met.append(task)
            all_seen.append(seen)
            told.append(_row(task, marks, seen.thumbnail))
            yield told[-1]
            left = seconds_left(begun, step, len(tasks))
            yield Progress(stage=STAGE, step=step, total=len(tasks), seconds_left=left, message=task.row.subject)
    finally:
        answers.close()
    yield from _compare(told, all_seen)
    yield _summary(told)


def _look(task: _Task) -> _Seen:
    """In a worker process."""
    row = task.row
    if row.shape is None:
        return _Seen(row.marks)
    marks = list(row.marks)
    try:
        volume, *_ = [load_volume(path) for path in task.found.paths]
        data = volume.data[0]
        marks += header_flags(row.path, volume.affine, volume.spacing)
        if data.min() == data.max():
            message = f"it is empty: all its voxels are {data.min():g}"
            return _Seen(by_severity([*marks, QCFlag(kind="empty", severity="problem", message=message)]))
        small = downsample(data, volume.spacing, MM)
        orientation = find_orientation(downsample(data, volume.spacing, GRID_MM))
        marks += voxel_flags(data, small, MM, orientation, t1=(row.modality or "T1").startswith("T1"))
        if row.labels is not None and (mark := label_flag(volume, load_volume(row.labels), small)):
            marks.append(mark)
        write_thumbnail(data, volume.spacing, orientation.middle, task.thumbnail)
        return _Seen(
            by_severity(marks),
            str(task.thumbnail),
            fingerprint(data, volume.spacing, orientation.middle),
            measure(data, volume.spacing, small, orientation),
        )
    except BrainDiffusionError as error:
        return _Seen((QCFlag(kind="file", severity="problem", message=str(error)), *marks))
    except (OSError, ValueError, MemoryError) as error:
        detail = " ".join(str(error).split())[:200]
        message = f"{row.path} cannot be looked at ({type(error).__name__}: {detail})."
        return _Seen((QCFlag(kind="file", severity="problem", message=message), *marks))


def _duplicate(task: _Task, known: _Task, duplicate: Duplicate) -> Iterator[QCFlag]:
    """The same scan twice; two scans of one person in one position are no wonder unless nothing differs."""
    if task.found.person == known.found.person and duplicate.likeness < VERY_SAME:
        return
    how = "the mirror image of" if duplicate.mirrored else "the same scan as"
    sure = "" if duplicate.likeness >= VERY_SAME else "nearly "
    message = f"it is {sure}{how} {known.row.subject} ({known.row.path.name})"
    yield QCFlag(kind="duplicate", severity="doubt", message=message)


def _row(task: _Task, marks: list[QCFlag], thumbnail: str) -> Inspected:
    row = task.row
    return Inspected(
        subject=row.subject,
        path=str(row.path.absolute()),
        modality=row.modality,
        site=row.site,
        age=row.age,
        sex=row.sex,
        shape=row.shape,
        spacing=row.spacing,
        labels=str(row.labels.absolute()) if row.labels else None,
        marks=by_severity(marks),
        thumbnail=thumbnail,
    )


def _compare(told: list[Inspected], all_seen: list[_Seen]) -> Iterator[Event]:
    """What is unlike the others of its modality; the rows are told anew, and replaced."""
    for modality in {row.modality for row in told}:
        same = [
            (number, seen.measures)
            for number, (row, seen) in enumerate(zip(told, all_seen, strict=True))
            if row.modality == modality and seen.measures is not None
        ]
        middle = usual([measures for _, measures in same])
        if middle is None:
            continue
        for number, measures in same:
            if marks := list(unusual(measures, middle)):
                now = by_severity([*told[number].marks, *marks])
                told[number] = told[number].model_copy(update={"marks": now})
                yield told[number]


def _summary(told: list[Inspected]) -> Finished:
    gravest = [row.marks[0].severity if row.marks else "" for row in told]
    problems, doubts = gravest.count("problem"), gravest.count("doubt")
    words = [f"{len(told)} volumes"]
    words += [f"{problems} that cannot be used"] if problems else []
    words += [f"{doubts} to look at"] if doubts else []
    return Finished(message=", ".join(words), problems=problems)
