"""The job `regenerate`: the very same brain again, and whether it is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from braindiffusion.generation.reproduce import read_sidecar, request_from_sidecar
from braindiffusion.jobs.generate import generate
from braindiffusion.runs import ArtifactWritten, Event, Finished, RegenerateRequest, Run, Warned
from braindiffusion.runs.sidecar import sidecar_path


def regenerate(request: RegenerateRequest, run: Run) -> Iterator[Event]:
    """Make the brain of a sidecar again, and compare it with what was made then.

    Args:
        request: which sidecar.
        run: gets the volume where the request names no folder.

    Yields:
        as `generate`; a warning where the new brain is not the old one to the last bit.

    Raises:
        BrainDiffusionError: the sidecar does not tell enough, its model is gone or has changed, or as `generate`.
    """
    told = read_sidecar(request.like)
    again = request_from_sidecar(request.like, request.out or run.results)
    made: dict[str, Any] = {}
    finished: Event = Finished()
    for event in generate(again.model_copy(update={"device": request.device, "previews": request.previews}), run):
        if isinstance(event, Finished):
            finished = event
            continue
        if isinstance(event, ArtifactWritten) and event.kind == "volume":
            made |= _fingerprint(read_sidecar(sidecar_path(Path(event.path))))
        yield event
    (channel, was), *_ = _fingerprint(told).items()
    if was is None:
        yield finished  # a sidecar of an earlier version: there is nothing to compare with
    elif made.get(channel) == was:
        yield Finished(message="The very same brain, to the last bit")
    else:
        yield Warned(
            message="The brain is not the old one to the last bit: other processors, versions of torch and numbers of "
            "threads round in another way, which may show in the texture but not in the anatomy."
        )
        yield finished


def _fingerprint(told: dict[str, Any]) -> dict[str, Any]:
    """What the voxels of a volume are known by, under the name of its channel: files may be renamed."""
    return {str(told.get("channel")): told.get("voxels_sha256")}
