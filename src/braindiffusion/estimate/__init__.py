"""What a training or a generation will take on this device, told before it starts."""

from braindiffusion.estimate.generation import estimate_generation
from braindiffusion.estimate.result import Estimate, LevelEstimate
from braindiffusion.estimate.training import estimate_training

__all__ = ["Estimate", "LevelEstimate", "estimate_generation", "estimate_training"]
