"""Quality control of one volume, and of a volume among the others of its cohort."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from braindiffusion.cohort.describe import Description, header_problem
from braindiffusion.cohort.find import Found
from braindiffusion.cohort.mask import dark_background
from braindiffusion.cohort.qc.checks import (
    Measures,
    by_severity,
    header_flags,
    label_flags,
    measure,
    unusual,
    usual,
    voxel_flags,
)
from braindiffusion.cohort.qc.downsample import downsample
from braindiffusion.cohort.qc.duplicates import MM, VERY_SAME, Duplicate, Fingerprint, fingerprint
from braindiffusion.cohort.qc.orientation import GRID_MM, find_orientation
from braindiffusion.cohort.qc.thumbnail import write_thumbnail
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs.events import Inspected, QCFlag
from braindiffusion.volume import load_volume


@dataclass(frozen=True)
class InspectionTask:
    """A volume to inspect.

    Attributes:
        found: the files.
        row: what their headers and the participants table say.
        thumbnail: path of the PNG to write.
    """

    found: Found
    row: Description
    thumbnail: Path


@dataclass(frozen=True)
class Inspection:
    """The result for one volume.

    Attributes:
        flags: what is odd, the most severe first.
        thumbnail: path of the PNG; empty if there is none.
        fingerprint: for the search for duplicates; None of a volume that cannot be used.
        measures: for the comparison with other volumes; None of a volume that cannot be used.
    """

    flags: tuple[QCFlag, ...]
    thumbnail: str = ""
    fingerprint: Fingerprint | None = None
    measures: Measures | None = None


def inspect_volume(task: InspectionTask) -> Inspection:
    """Inspect one volume and write its thumbnail. Errors become flags; a worker process can run it."""
    row = task.row
    if row.shape is None:
        return Inspection(row.flags)
    flags = list(row.flags)
    try:
        volume, *_ = [load_volume(path) for path in task.found.paths]
        if header_problem(volume):  # told in the row already
            return Inspection(by_severity(flags))
        volume = dark_background(volume)
        data = volume.data[0]
        flags += header_flags(row.path, volume.affine, volume.spacing)
        if data.min() == data.max():
            message = f"it is empty: all its voxels are {data.min():g}"
            return Inspection(by_severity([*flags, QCFlag(kind="empty", severity="problem", message=message)]))
        small = downsample(data, volume.spacing, MM)
        orientation = find_orientation(downsample(data, volume.spacing, GRID_MM))
        flags += voxel_flags(data, small, MM, orientation, t1=(row.modality or "T1").startswith("T1"))
        if row.labels is not None:
            flags += label_flags(volume, load_volume(row.labels), small)
        write_thumbnail(data, volume.spacing, orientation.middle, task.thumbnail)
        return Inspection(
            by_severity(flags),
            str(task.thumbnail),
            fingerprint(data, volume.spacing, orientation.middle),
            measure(data, volume.spacing, small, orientation),
        )
    except BrainDiffusionError as error:
        return Inspection((QCFlag(kind="file", severity="problem", message=str(error)), *flags))
    except (OSError, ValueError, MemoryError) as error:
        detail = " ".join(str(error).split())[:200]
        message = f"{row.path} cannot be inspected ({type(error).__name__}: {detail})."
        return Inspection((QCFlag(kind="file", severity="problem", message=message), *flags))


def duplicate_flags(task: InspectionTask, known: InspectionTask, duplicate: Duplicate) -> Iterator[QCFlag]:
    """Flag a scan that was inspected before. Similar scans of one person are no duplicates unless they are equal."""
    if task.found.person == known.found.person and duplicate.likeness < VERY_SAME:
        return
    how = "the mirror image of" if duplicate.mirrored else "the same scan as"
    sure = "" if duplicate.likeness >= VERY_SAME else "nearly "
    message = f"it is {sure}{how} {known.row.subject} ({known.row.path.name})"
    yield QCFlag(kind="duplicate", severity="warning", message=message)


def inspected_row(task: InspectionTask, flags: Sequence[QCFlag], thumbnail: str) -> Inspected:
    """Return the event that describes an inspected volume."""
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
        marks=by_severity(flags),
        thumbnail=thumbnail,
    )


def compare_volumes(rows: list[Inspected], inspections: Sequence[Inspection]) -> Iterator[Inspected]:
    """Compare every volume with the others of its modality; replace and yield the rows that get more flags.

    Args:
        rows: one for each volume; changed in place.
        inspections: of the same volumes.
    """
    for modality in {row.modality for row in rows}:
        same = [
            (number, one.measures)
            for number, (row, one) in enumerate(zip(rows, inspections, strict=True))
            if row.modality == modality and one.measures is not None
        ]
        middle = usual([measures for _, measures in same])
        if middle is None:
            continue
        for number, measures in same:
            if flags := list(unusual(measures, middle)):
                marks = by_severity([*rows[number].marks, *flags])
                rows[number] = rows[number].model_copy(update={"marks": marks})
                yield rows[number]
