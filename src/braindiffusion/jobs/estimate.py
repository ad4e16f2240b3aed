"""The job `estimate`: what another job will take, told by the engine process before that one starts."""

from collections.abc import Iterator

from braindiffusion.estimate import Estimate, estimates
from braindiffusion.runs import Estimated, EstimateRequest, Event, Finished, Run


def estimate(request: EstimateRequest, run: Run) -> Iterator[Event]:
    """Tell memory at once, and time when it has been measured.

    Args:
        request: the job that is asked about. On a CPU the process itself counts: have a fresh one do this.
        run: its folder stays empty.

    Yields:
        Estimated, better and better.

    Raises:
        BrainDiffusionError: what the job itself would raise before its first step.
    """
    for found in estimates(request.of):
        yield _event(found)
    yield Finished(message=found.verdict)


def _event(found: Estimate) -> Estimated:
    return Estimated(
        device=found.device,
        bytes=found.bytes,
        available=found.available,
        seconds=found.seconds,
        advice=found.changes,
        preset=found.preset,
    )
