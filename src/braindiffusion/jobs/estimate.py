"""The job `estimate`: memory and time of another job before it starts."""

from collections.abc import Iterator

from braindiffusion.estimate import Estimate, estimates
from braindiffusion.runs import Estimated, EstimateRequest, Event, Finished, Run


def estimate(request: EstimateRequest, run: Run) -> Iterator[Event]:
    """Estimate memory at once, and time after a few steps were measured.

    Args:
        request: the job to estimate. On a CPU the memory of this process counts: use a fresh one.
        run: the run; its folder stays empty.

    Yields:
        Estimated, first without time, then with it.

    Raises:
        BrainDiffusionError: as the job itself before its first step.
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
        defaults=found.defaults,
    )
