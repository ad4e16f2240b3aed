"""Preparation of a cohort from a folder of volumes: parallel, resumable, and not stopped by a bad file.

Workers read and compute; this process alone writes, in the order of the subjects. A store that was interrupted and
continued equals one that was not.
"""

import hashlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np
from pydantic import ValidationError

from braindiffusion.cohort.demographics import Demographics, demographics_of
from braindiffusion.cohort.describe import file_problem
from braindiffusion.cohort.find import Found, search
from braindiffusion.cohort.parallel import in_order
from braindiffusion.cohort.preprocessing import Modalities, Preprocessing, box_shape
from braindiffusion.cohort.standardise import standardise_file
from braindiffusion.cohort.store import Cohort, PreparedVolume, Subject, check_store_path
from braindiffusion.cohort.vectors.table import VectorTable, read_vector_tables
from braindiffusion.errors import BrainDiffusionError, about
from braindiffusion.runs.durations import counted, seconds_left
from braindiffusion.runs.events import ArtifactWritten, Event, Finished, Progress, Warned
from braindiffusion.runs.lock import run_lock
from braindiffusion.runs.requests import PrepareRequest

if TYPE_CHECKING:
    from braindiffusion.runs.folder import Run

STAGE = "prepare"


@dataclass(frozen=True)
class _Task:
    found: Found
    preprocessing: Preprocessing
    known_hash: str


@dataclass(frozen=True)
class _Answer:
    input_hash: str = ""
    prepared: PreparedVolume | None = None  # None: as the store has it already, or see `problem`
    problem: str = ""


def prepare(request: PrepareRequest, run: "Run | None" = None) -> Iterator[Event]:
    """Prepare a cohort.

    A store at `request.out` that was prepared in the same way is continued: subjects whose files have not changed since
    are not done again. A store that was prepared in another way is left as it is, and that is an error.

    Args:
        request: what to prepare, and where to.
        run: the run; nothing is written into its folder.

    Yields:
        Progress for each subject, Warned for each that is left out, ArtifactWritten for the store, Finished.

    Raises:
        BrainDiffusionError: nothing was found, nothing could be prepared, or `request.out` holds something else.
    """
    every, passed_over = search(request.data_dir, modality=request.modality, labels=request.labels)
    found = choose(every, request.subjects)
    for sentence in passed_over:
        yield Warned(message=sentence)
    people = demographics_of(request.data_dir, request.participants, [item.subject for item in found])
    tables = read_vector_tables(request.table)
    for table in tables:
        for sentence in table.problems([item.subject for item in found if not item.problem]):
            yield Warned(message=sentence)
    preprocessing = _preprocessing(request)
    check_store_path(request.out)
    try:
        request.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"{request.out} cannot be written ({error.strerror or type(error).__name__}): choose another place."
        raise BrainDiffusionError(msg) from error
    with run_lock(request.out, "The cohort {} is being written by another process already"):
        cohort = _open_or_create(request, preprocessing, found)
        for leftover in request.out.rglob("*.partial"):  # Zarr's temporary files, of a process that was killed
            leftover.unlink()
        yield from _fill(request, cohort, preprocessing, found, people, tables)


def _fill(
    request: PrepareRequest,
    cohort: Cohort,
    preprocessing: Preprocessing,
    found: list[Found],
    people: Demographics,
    tables: list[VectorTable],
) -> Iterator[Event]:
    """Prepare what a store lacks, and write it."""
    known = {}
    for row, subject in enumerate(cohort.subjects):
        try:
            cohort.verify(row)
            known[subject.id] = subject.input_hash
        except BrainDiffusionError as error:
            known[subject.id] = ""
            yield Warned(message=f"{error} It is prepared anew.", subject=subject.id)
    ids = {item.path: _id(item, preprocessing) for item in found}
    usable = [item for item in found if not item.problem]
    left_out = [item for item in found if item.problem]
    for item in left_out:
        problem = file_problem(item).rstrip(".")
        yield Warned(message=f"{item.path.name} is left out: {problem}.", subject=item.subject)
    for problem in people.problems(dict.fromkeys(item.subject for item in usable)):
        yield Warned(message=problem)
    problems = len(left_out)
    tasks = [_Task(item, preprocessing, known.get(ids[item.path], "")) for item in usable]
    source = f", age and sex from {people.source}" if people.source else ""
    yield Progress(stage=STAGE, step=0, total=len(tasks), message=f"{counted(len(tasks), 'volume')}{source}")

    begun = monotonic()
    answers: Generator[_Answer] = in_order(_work, tasks, request.workers)
    try:
        for step, (item, answer) in enumerate(zip(usable, answers, strict=True), start=1):
            if answer.problem:
                problems += 1
                kept = " The store keeps what was prepared of it before." if ids[item.path] in known else ""
                yield Warned(message=f"Left out: {answer.problem}{kept}", subject=item.subject)
            elif answer.prepared is not None:
                cohort.put(_subject(item, people, preprocessing, answer.input_hash), answer.prepared)
                if answer.prepared.note:
                    yield Warned(message=answer.prepared.note, subject=item.subject)
            left = seconds_left(begun, step, len(tasks))
            yield Progress(stage=STAGE, step=step, total=len(tasks), seconds_left=left, message=item.subject)
    finally:
        answers.close()
        cohort.flush()

    if not cohort.subjects:
        raise BrainDiffusionError(f"No volume in {request.data_dir} could be prepared: see the warnings.")
    by_id = {ids[item.path]: item for item in usable}
    cohort.finish(
        [_subject(by_id[s.id], people, preprocessing, s.input_hash) if s.id in by_id else s for s in cohort.subjects],
        tables,
    )
    yield ArtifactWritten(kind="cohort", path=str(request.out.absolute()), name=request.out.name)
    prepared = f"{counted(len(cohort), 'volume')} prepared"
    yield Finished(message=f"{prepared}, {problems} left out", problems=problems)


def _work(task: _Task) -> _Answer:
    """Prepare one subject, in a worker process."""
    try:
        found = task.found
        with about(found.path):
            files = [*found.paths] + ([found.labels] if found.labels else [])
            input_hash = _hash_files(files)
            if input_hash == task.known_hash:
                return _Answer(input_hash)
            prepared = standardise_file(found.paths, found.labels, task.preprocessing, found.modality)
            if not np.isfinite(prepared.volume).all():
                raise BrainDiffusionError("it holds values that are no numbers, or too large ones")
            return _Answer(input_hash, prepared)
    except BrainDiffusionError as error:
        return _Answer(problem=str(error))


def _hash_files(files: list[Path]) -> str:
    total = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def choose(found: list[Found], subjects: tuple[str, ...] | None) -> list[Found]:
    """Return the records of some subjects; None takes all.

    Raises:
        BrainDiffusionError: a subject is not there.
    """
    if subjects is None:
        return found
    missing = sorted(set(subjects) - {item.subject for item in found})
    if missing:
        raise BrainDiffusionError(f"Not found: {', '.join(missing)}; subjects are named like {found[0].subject}.")
    return [item for item in found if item.subject in subjects]


def _preprocessing(request: PrepareRequest) -> Preprocessing:
    if request.skull == "strip" and request.labels is None:
        raise BrainDiffusionError("Stripping the skull needs a folder of label maps: give one, or keep the skull.")
    skull = request.skull or ("strip" if request.labels is not None else "keep")
    shape = request.shape or box_shape(request.spacing)
    modality = str(Modalities.parse(request.modality))
    try:
        return Preprocessing(spacing=request.spacing, shape=shape, skull=skull, modality=modality)
    except ValidationError as error:
        first = error.errors()[0]
        where = f"{first['loc'][0]}: " if first["loc"] else ""
        raise BrainDiffusionError(f"Volumes cannot be preprocessed like that ({where}{first['msg']}).") from error


def _id(item: Found, preprocessing: Preprocessing) -> str:
    """Return the id of a record, with its modality where one subject has several volumes."""
    separate = Modalities.parse(preprocessing.modality).separate
    return f"{item.subject}_{item.modality}" if separate else item.subject


def _open_or_create(request: PrepareRequest, preprocessing: Preprocessing, found: list[Found]) -> Cohort:
    out = request.out
    if not (out / "zarr.json").is_file():
        return _create(request, preprocessing)
    cohort = Cohort.open(out, mode="r+")
    if not cohort.subjects:
        return _create(request, preprocessing)
    if cohort.preprocessing != preprocessing or (cohort.labels is None) != (request.labels is None):
        raise BrainDiffusionError(
            f"{out} was prepared in another way ({_difference(cohort.preprocessing, preprocessing)}): "
            "prepare into another place, or delete it first."
        )
    strangers = sorted({subject.id for subject in cohort.subjects} - {_id(item, preprocessing) for item in found})
    if strangers:
        raise BrainDiffusionError(
            f"{out} holds subjects that are not asked for ({', '.join(strangers[:3])} ...): prepare into another place."
        )
    return cohort


def _create(request: PrepareRequest, preprocessing: Preprocessing) -> Cohort:
    labels = np.dtype(np.uint16) if request.labels is not None else None
    return Cohort.create(request.out, preprocessing, channels=len(preprocessing.channels), labels=labels)


def _difference(before: Preprocessing, now: Preprocessing) -> str:
    one, other = before.model_dump(), now.model_dump()
    changed = [f"{key} {one[key]}, now {other[key]}" for key in one if one[key] != other[key]]
    return "; ".join(changed) or "with or without label maps"


def _subject(item: Found, people: Demographics, preprocessing: Preprocessing, input_hash: str) -> Subject:
    person = people.of(item.subject)
    return Subject(
        id=_id(item, preprocessing),
        person=item.person,
        age=person.age,
        sex=person.sex,
        site=person.site or item.site,
        modality=item.modality or preprocessing.modality,
        source=",".join(path.name for path in item.paths),
        input_hash=input_hash,
    )
