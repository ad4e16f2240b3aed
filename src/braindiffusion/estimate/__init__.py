"""What a training or a generation will take on this device, told before it starts."""

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.estimate.result import Estimate, LevelEstimate
from braindiffusion.runs import GenerateRequest, Request, TrainRequest

__all__ = ["Estimate", "LevelEstimate", "estimate"]


def estimate(request: Request) -> Estimate:
    """Memory and time of a job by this process on its device. It makes a few real steps to measure time.

    On a CPU the process itself counts: ask in a fresh one, as the command line does.

    Args:
        request: a training on a prepared cohort, or a generation.

    Raises:
        BrainDiffusionError: what the job itself would raise before its first step; or it is another job.
    """
    # Each imports its job and no other: what is imported is memory that would be counted.
    match request:
        case TrainRequest():
            from braindiffusion.estimate.training import estimate_training

            return estimate_training(request)
        case GenerateRequest():
            from braindiffusion.estimate.generation import estimate_generation

            return estimate_generation(request)
    raise BrainDiffusionError(f"What {request.job} takes is not told: ask of train and generate.")
