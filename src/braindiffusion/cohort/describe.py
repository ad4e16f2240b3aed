"""One row for each volume of a folder, from file headers and the participants table, before anything is prepared."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from braindiffusion.cohort.demographics import Demographics
from braindiffusion.cohort.find import Found
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs.events import QCFlag
from braindiffusion.volume import Volume, VolumeHeader, read_header

SMALLEST_MM = 80.0
"""No adult brain is smaller than this along any axis, so such a volume is a slab or has wrong units."""
LARGEST_MM = 1000.0
"""No scan of a head is larger than this along any axis, so such a volume has wrong units."""


@dataclass(frozen=True)
class Description:
    """One row of the table of volumes.

    Attributes:
        subject: id.
        path: the volume.
        modality: None where the name does not tell.
        site: None where the name does not tell.
        age: years, None if unknown.
        sex: `M` or `F`, None if unknown.
        shape: voxels (x, y, z) in RAS+; None if the header cannot be read.
        spacing: mm (x, y, z) in RAS+.
        orientation: axis codes as stored, such as `PSR`.
        labels: its region label map, None if there is none.
        problem: why `prepare` will leave it out; empty if nothing speaks against it.
        note: what is odd without consequence, such as an unknown age.
    """

    subject: str
    path: Path
    modality: str | None
    site: str | None
    age: float | None
    sex: str | None
    shape: tuple[int, int, int] | None
    spacing: tuple[float, float, float] | None
    orientation: str
    labels: Path | None
    problem: str
    note: str

    @property
    def flags(self) -> tuple[QCFlag, ...]:
        """Problem and note as flags."""
        flags = (
            QCFlag(kind="file", severity="problem", message=self.problem),
            QCFlag(kind="person", severity="note", message=self.note),
        )
        return tuple(flag for flag in flags if flag.message)


def describe(found: Sequence[Found], people: Demographics | None = None) -> Iterator[Description]:
    """Describe volumes one after the other, reading headers only.

    Args:
        found: from `find`.
        people: from `read_demographics`.

    Yields:
        A row for each record, in their order.
    """
    people = people or Demographics()
    for item in found:
        header, problem = _header(item.path)[0], file_problem(item)
        person = people.of(item.subject)
        yield Description(
            subject=item.subject,
            path=item.path,
            modality=item.modality,
            site=person.site or item.site,
            age=person.age,
            sex=person.sex,
            shape=header.shape if header else None,
            spacing=header.spacing if header else None,
            orientation=header.orientation if header else "",
            labels=item.labels,
            problem=problem,
            note=person.problem,
        )


def header_problem(header: VolumeHeader | Volume) -> str:
    """Return why a readable volume cannot be prepared; empty if its header gives no reason."""
    if header.channels != 1:
        return f"it holds {header.channels} volumes, and one is needed"
    extents = [n * mm for n, mm in zip(header.shape, header.spacing, strict=True)]
    voxels = " x ".join(f"{mm:.4g}" for mm in header.spacing)
    if min(extents) < SMALLEST_MM:
        return (
            f"it covers only {min(extents):.2g} mm along one axis (voxels of {voxels} mm), and a brain needs more than "
            f"{SMALLEST_MM:.0f}"
        )
    if max(extents) > LARGEST_MM:
        return (
            f"it covers {max(extents):.0f} mm along one axis (voxels of {voxels} mm), and no head is larger than "
            f"{LARGEST_MM:.0f}: its header has wrong units"
        )
    return ""


def file_problem(found: Found) -> str:
    """Return why a record cannot be used, from names and headers; empty if nothing speaks against it.

    An unreadable file comes before a missing label map, and any other problem of the names before both.
    """
    if found.problem and not found.lacks_labels:
        return found.problem
    return next((problem for _, problem in map(_header, found.paths) if problem), found.problem)


def _header(path: Path) -> tuple[VolumeHeader | None, str]:
    try:
        header = read_header(path)
    except BrainDiffusionError as error:
        return None, str(error)
    return header, header_problem(header)
