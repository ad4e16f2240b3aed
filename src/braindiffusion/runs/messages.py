"""Messages over the pipes of the engine process: one JSON object per line, both ways.

Down (client to engine): `Submit`, `Cancel`, `Quit`. Up (engine to client): `Ready` once, then a `RunEvent` for each
event, and `Alive` now and then. The client makes the run folder (with its request) and submits its path; arrays go
through that folder.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from braindiffusion.runs.events import Event

HEARTBEAT_SECONDS = 2.0
"""Seconds between two `Alive`."""


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings", defer_build=True)


class Submit(_Message):
    """Do the job that this run folder asks for. Jobs of one engine are done one after the other."""

    type: Literal["submit"] = "submit"
    run: Path


class Cancel(_Message):
    """Stop this run within one step, or forget it if it waits."""

    type: Literal["cancel"] = "cancel"
    run: Path


class Quit(_Message):
    """Cancel what runs and end the process. The end of standard input means the same."""

    type: Literal["quit"] = "quit"


class Ready(_Message):
    """The engine listens."""

    type: Literal["ready"] = "ready"
    pid: int
    version: str


class Alive(_Message):
    """Sign that the engine runs, sent every `HEARTBEAT_SECONDS` during any job."""

    type: Literal["alive"] = "alive"


class RunEvent(_Message):
    """An event, already written to the run's `events.jsonl`."""

    type: Literal["event"] = "event"
    run: Path
    event: Event


Command = Annotated[Submit | Cancel | Quit, Field(discriminator="type")]
Answer = Annotated[Ready | Alive | RunEvent, Field(discriminator="type")]

_COMMAND: TypeAdapter[Command] = TypeAdapter(Command, config=ConfigDict(defer_build=True))
_ANSWER: TypeAdapter[Answer] = TypeAdapter(Answer, config=ConfigDict(defer_build=True))


def parse_command(line: str | bytes) -> Command:
    """A line of the engine's standard input. Raises pydantic.ValidationError."""
    return _COMMAND.validate_json(line)


def parse_answer(line: str | bytes) -> Answer:
    """A line of the engine's standard output. Raises pydantic.ValidationError."""
    return _ANSWER.validate_json(line)
