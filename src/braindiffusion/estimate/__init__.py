"""What a training or a generation will take on this device, told before it starts."""

from collections.abc import Iterator

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.estimate.result import Estimate, LevelEstimate
from braindiffusion.runs import GenerateRequest, Request, TrainRequest

__all__ = ["Estimate", "LevelEstimate", "estimate", "estimates"]


def estimate(request: Request) -> Estimate:
    """The last and best of `estimates`."""
    *_, found = estimates(request)
    return found


def estimates(request: Request) -> Iterator[Estimate]:
    """Memory and time of a job by this process on its device: memory first, time after a few real steps.

    On a CPU the process itself counts: ask in a fresh one, as the command line does.

    Args:
        request: a training on a prepared cohort, or a generation.

    Raises:
        BrainDiffusionError: what the job itself would raise before its first step; or it is another job.
    """
    # Each imports its job and no other: what is imported is memory that would be counted.
    match request:
        case TrainRequest():
            from braindiffusion.estimate.training import training_estimates

            yield from training_estimates(request)
        case GenerateRequest():
            from braindiffusion.estimate.generation import estimate_generation

            yield estimate_generation(request)
        case _:
            raise BrainDiffusionError(f"What {request.job} takes is not told: ask of train and generate.")
