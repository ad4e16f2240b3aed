"""The public functions: what the command line does, for scripts and notebooks. Needs no torch until something is made.

Each call that takes a while is a run: its folder keeps the request, the events and the versions, as everywhere. What a
job warns of becomes a Python warning; what fails is a `BrainDiffusionError`. Interrupting one (Ctrl-C, or the stop
button of a notebook) keeps what it has.
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
