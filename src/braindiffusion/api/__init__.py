"""The public functions: what the command line does, for scripts and notebooks. torch is imported on first use.

Each long call is a run: its folder keeps the request, the events and the versions. Warnings of a job become Python
warnings, and failures a `BrainDiffusionError`. Interrupting a call (Ctrl-C, or the stop button of a notebook) keeps
finished results.
"""

from braindiffusion.api.functions import (
    anomaly,
    distill,
    edit,
    evaluate,
    generate,
    prepare,
    segment,
    synthesize,
    train,
)
from braindiffusion.api.model import Model, load_model

__all__ = [
    "Model",
    "anomaly",
    "distill",
    "edit",
    "evaluate",
    "generate",
    "load_model",
    "prepare",
    "segment",
    "synthesize",
    "train",
]
