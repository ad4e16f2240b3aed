"""The events of a run, one JSON line each: appended by the process that performs it, read by any other."""

import os
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from braindiffusion.runs.events import Event, parse_event

EVENTS = "events.jsonl"
_MILESTONES = (b'"started"', b'"finished"', b'"failed"', b'"cancelled"', b'"paused"', b'"continued"')


class EventFile:
    """The `events.jsonl` of a run folder.

    Attributes:
        path: The file; absent until the first event.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / EVENTS
        self._tail_is_whole = False

    def append(self, event: Event) -> None:
        """Write one event at the end, in one flushed write."""
        line = event.model_dump_json().encode() + b"\n"
        with self.path.open("ab") as file:
            if not self._tail_is_whole:
                # A process that died in mid-write leaves half a line: end it, so that ours is not glued to it.
                if file.tell() and self._last_byte() != b"\n":
                    line = b"\n" + line
                self._tail_is_whole = True
            file.write(line)

    def read(self, offset: int = 0) -> tuple[list[Event], int]:
        """Return the events after a place in the file: for following a run that another process performs.

        Args:
            offset: Bytes already read: 0, or what the last call returned.

        Returns:
            The events of whole lines after `offset`, and the offset to go on from. A line without its end is left for
            the next call. Half a line that a dying process left is passed over.
        """
        try:
            with self.path.open("rb") as file:
                if os.fstat(file.fileno()).st_size < offset:
                    offset = 0  # another run began in the same folder
                file.seek(offset)
                data = file.read()
        except FileNotFoundError:
            return [], 0
        whole = data[: data.rfind(b"\n") + 1]
        events = []
        for line in whole.splitlines():
            try:
                events.append(parse_event(line))
            except ValidationError:
                continue
        return events, offset + len(whole)

    def milestones(self) -> Iterator[Event]:
        """Yield the events that decide the state, newest first. The thousands between them are not parsed."""
        try:
            lines = self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return
        for line in reversed(lines):
            if any(mark in line for mark in _MILESTONES):
                try:
                    yield parse_event(line)
                except ValidationError:
                    continue

    def _last_byte(self) -> bytes:
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1)
