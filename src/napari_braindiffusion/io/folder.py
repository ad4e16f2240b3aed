"""Listing of a folder of volumes: file names, headers and the participants table."""

from dataclasses import dataclass

from braindiffusion.cohort.demographics import read_demographics
from braindiffusion.cohort.describe import Description, describe
from braindiffusion.cohort.find import search
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs import InspectRequest
from braindiffusion.tables import read_table_apart


@dataclass(frozen=True)
class FolderListing:
    """File names and headers of a folder.

    Attributes:
        number: Of the request that it answers.
        descriptions: One for each volume.
        problems: Sentences about files that are passed over, and about the participants table.
        error: The reason why there is nothing.
    """

    number: int
    descriptions: tuple[Description, ...] = ()
    problems: tuple[str, ...] = ()
    error: str = ""


def list_folder(number: int, request: InspectRequest) -> FolderListing:
    """Find volumes and read their headers. For a worker thread."""
    try:
        found, problems = search(request.data_dir, modality=request.modality, labels=request.labels)
        people = read_demographics(request.participants, read_table_apart) if request.participants is not None else None
        problems += people.problems([item.subject for item in found]) if people is not None else []
        return FolderListing(number, tuple(describe(found, people)), tuple(problems))
    except BrainDiffusionError as error:
        return FolderListing(number, error=str(error))
