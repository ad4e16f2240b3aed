"""The run folder: the one record that command line, engine and plugin share. Needs neither torch nor Qt."""

from braindiffusion.runs.events import (
    ArtifactWritten,
    Cancelled,
    CheckpointWritten,
    Event,
    Failed,
    Finished,
    Log,
    Metric,
    Progress,
    Started,
    Warned,
    parse_event,
)
from braindiffusion.runs.folder import Run, RunState, default_runs_dir, list_runs
from braindiffusion.runs.requests import (
    DemoRequest,
    EvaluateRequest,
    GenerateRequest,
    PrepareRequest,
    Request,
    TrainRequest,
)

__all__ = [
    "ArtifactWritten",
    "Cancelled",
    "CheckpointWritten",
    "DemoRequest",
    "EvaluateRequest",
    "Event",
    "Failed",
    "Finished",
    "GenerateRequest",
    "Log",
    "Metric",
    "PrepareRequest",
    "Progress",
    "Request",
    "Run",
    "RunState",
    "Started",
    "TrainRequest",
    "Warned",
    "default_runs_dir",
    "list_runs",
    "parse_event",
]
