"""Estimates of memory and time of a training or a generation on this device, before it starts."""

from collections.abc import Iterator

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.estimate.result import Estimate, LevelEstimate
from braindiffusion.runs import GenerateRequest, Request, TrainRequest

__all__ = ["Estimate", "LevelEstimate", "estimate", "estimates"]


def estimate(request: Request) -> Estimate:
    """Return the last and most complete of `estimates`."""
    *_, found = estimates(request)
    return found


def estimates(request: Request) -> Iterator[Estimate]:
    """Yield memory and time of a job in this process: memory first, time after a few real steps.

    On a CPU the memory of this process counts: use a fresh one, as the command line does.

    Args:
        request: a training on a prepared cohort, or a generation.

    Raises:
        BrainDiffusionError: as the job itself before its first step; or it is another job.
    """
    # Each case imports only what it needs: imported modules count as memory.
    match request:
        case TrainRequest():
            from braindiffusion.estimate.training import training_estimates

            yield from training_estimates(request)
        case GenerateRequest():
            from braindiffusion.estimate.generation import estimate_generation

            yield estimate_generation(request)
        case _:
            raise BrainDiffusionError(f"There is no estimate for {request.job}: estimate train or generate.")
