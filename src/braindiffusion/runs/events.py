"""Events: the small typed records that a job yields while it works.

Jobs are generators of events. Whoever drives one (command line, engine, test) appends each event to
`events.jsonl` and shows it; cancelling is closing the generator. Arrays never travel in events: they are written into
the run folder, and an `ArtifactWritten` names the file.
"""

import time
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter


class _Event(BaseModel):
    # A loss that is not a number must still be a line of valid JSON that can be read back.
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings", defer_build=True)

    time: float = Field(default_factory=time.time)
    """Seconds since the epoch."""


class Started(_Event):
    """The first event of every attempt at a run (a resumed run has several)."""

    type: Literal["started"] = "started"
    job: str
    pid: int
    host: str = ""
    """Name of the machine that `pid` is a process of."""


class Progress(_Event):
    """Step `step` of `total` of one stage is done. `step` counts from 1; 0 announces a stage."""

    type: Literal["progress"] = "progress"
    stage: str
    step: int
    total: int
    seconds_left: float | None = None
    message: str = ""


class Metric(_Event):
    """Named numbers at a step of a stage: losses, learning rate, speed, memory."""

    type: Literal["metric"] = "metric"
    stage: str
    step: int
    values: dict[str, float]


class ArtifactWritten(_Event):
    """A file is complete and may be read.

    `kind` is one of: `volume` (NIfTI), `preview` (NIfTI, to be replaced by better), `trajectory` (4D NIfTI, time last),
    `figure` (HTML), `cohort` (Zarr folder), `model` (folder), `table` (TSV).
    """

    type: Literal["artifact"] = "artifact"
    kind: Literal["volume", "labels", "preview", "trajectory", "figure", "cohort", "model", "table"]
    path: str
    """Absolute path."""
    name: str = ""
    """Its name for a person, for instance `sample 3 (seed 7)`."""


class CheckpointWritten(_Event):
    """A checkpoint is complete: a model folder."""

    type: Literal["checkpoint"] = "checkpoint"
    path: str
    step: int


class Log(_Event):
    """A line of text for the record."""

    type: Literal["log"] = "log"
    message: str


class Warned(_Event):
    """Something a user should know, that stops nothing: an odd file left out, a slow fallback."""

    type: Literal["warning"] = "warning"
    message: str
    subject: str = ""
    """The subject or file that it is about, where there is one."""

    @property
    def sentence(self) -> str:
        """The message, with the subject in front."""
        return f"{self.subject}: {self.message}" if self.subject else self.message


class Paused(_Event):
    """The run holds between two steps until it is asked to go on. Its process lives and keeps its memory."""

    type: Literal["paused"] = "paused"


class Continued(_Event):
    """A run that was paused goes on."""

    type: Literal["continued"] = "continued"


class Estimated(_Event):
    """Time and memory that a job will take on this device. Each event replaces the one before."""

    type: Literal["estimated"] = "estimated"
    device: str
    bytes: int
    """Peak memory."""
    available: int
    """Bytes that the device has free."""
    seconds: float | None = None
    """Seconds of the whole job; None where they were not measured, or not yet."""
    advice: dict[str, int | bool | str] = Field(default_factory=dict)
    """Fields of the request, and the values that make it fit."""
    preset: str = ""
    """Preset of a training, which the device may have decided; empty for a file of the user."""
    defaults: dict[str, float | list[float]] = Field(default_factory=dict)
    """Fields that a training's request leaves out, and the numbers that they stand for: one, or one for each level."""

    @property
    def fits(self) -> bool:
        """Whether the memory that is free is enough."""
        return self.bytes <= self.available


Severity = Annotated[
    Literal["problem", "warning", "note"],
    BeforeValidator(lambda severity: "warning" if severity == "doubt" else severity),  # as version 1 wrote it
]


class QCFlag(BaseModel):
    """One thing that is odd about a volume."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    """One word, such as `orientation` or `duplicate`."""
    severity: Severity
    """`problem`: it cannot be used, `prepare` leaves it out. `warning`: check it. `note`: good to know."""
    message: str
    """Half a sentence."""


class Inspected(_Event):
    """A volume was inspected. A later event of the same path has more results."""

    type: Literal["inspected"] = "inspected"
    subject: str
    path: str
    """Absolute path; of several channels the first."""
    modality: str | None = None
    site: str | None = None
    age: float | None = None
    """Years."""
    sex: str | None = None
    shape: tuple[int, int, int] | None = None
    """Voxels (x, y, z) in RAS+."""
    spacing: tuple[float, float, float] | None = None
    """mm (x, y, z) in RAS+."""
    labels: str | None = None
    """Path of its region label map."""
    marks: tuple[QCFlag, ...] = ()
    """The most severe first."""
    thumbnail: str = ""
    """Path of a PNG: slices from the side, the front and the top, beside each other; empty if there is none."""


class Failed(_Event):
    """The last event of a job that failed.

    `message` is one sentence for the user; the traceback of a bug stays in `error.txt` in the run folder.
    """

    type: Literal["failed"] = "failed"
    message: str
    field: str = ""
    """The field of the request that is to be changed, where there is one."""


class Cancelled(_Event):
    """The last event of a job that was asked to stop. What it had finished is kept."""

    type: Literal["cancelled"] = "cancelled"
    message: str = ""


class Finished(_Event):
    """The last event of a job that did all it was asked."""

    type: Literal["finished"] = "finished"
    message: str = ""
    problems: int = 0
    """Number of inputs that were left out (see the warnings). They show in the exit status of the command line."""


Event = Annotated[
    Started
    | Progress
    | Metric
    | ArtifactWritten
    | CheckpointWritten
    | Log
    | Warned
    | Paused
    | Continued
    | Estimated
    | Inspected
    | Failed
    | Cancelled
    | Finished,
    Field(discriminator="type"),
]

_ADAPTER: TypeAdapter[Event] = TypeAdapter(Event, config=ConfigDict(defer_build=True))


def parse_event(line: str | bytes) -> Event:
    """One line of `events.jsonl`, or of the engine's output, as a typed event.

    Raises:
        pydantic.ValidationError: the line is no event.
    """
    return _ADAPTER.validate_json(line)
