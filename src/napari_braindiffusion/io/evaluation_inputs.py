"""Inputs that an evaluation may use: real brains, generation runs, models, earlier reports.

All of it reads run folders, perhaps on a slow disk: for a worker thread.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from braindiffusion.models.registry import has_model
from braindiffusion.runs import (
    EvaluateRequest,
    GenerateRequest,
    NearestRequest,
    PrepareRequest,
    Request,
    Run,
    RunState,
    TrainRequest,
    list_runs,
)
from braindiffusion.runs.durations import counted
from braindiffusion.runs.requests import TrainSegmentationRequest

MOST = 8
"""Largest number of suggestions of a kind, newest first."""

Named = list[tuple[str, Path]]


@dataclass(frozen=True)
class Known:
    """Inputs found in the runs folder, newest first.

    Attributes:
        real: prepared cohorts and other real brains of earlier runs, as (name, path).
        generated: finished runs that made brains.
        trainings: runs that have a model.
        segmentation_models: runs that trained one.
        reports: evaluations, with or without a report.
    """

    real: Named
    generated: Named
    trainings: list[Run]
    segmentation_models: list[Run]
    reports: list[tuple[Run, RunState]]


@dataclass(frozen=True)
class Origin:
    """The reference of one brain, where the user chose none.

    Attributes:
        model: that made it, where it is one of the user's own; a packaged one is named by the brain's sidecar.
        real: the cohort that this model learnt from; where nobody knows, the real brains of the newest run.
    """

    model: str | None
    real: list[Path]


def known(folder: Path) -> Known:
    """Return the inputs that the runs in a folder name."""
    real: dict[Path, str] = {}
    generated: Named = []
    trainings: list[Run] = []
    segmentation_models: list[Run] = []
    reports: list[tuple[Run, RunState]] = []
    for run in list_runs(folder):
        request = run.request
        for path in _real_of(request):
            real.setdefault(path.absolute(), f"{path.name} ({_used(request)})")
        match request:
            case GenerateRequest() if run.state is RunState.FINISHED:
                brains = counted(request.num_samples, "brain")
                generated.append((f"{run.name} ({brains} of {Path(request.model).name})", run.path))
            case TrainRequest() if has_model(run):
                trainings.append(run)
            case TrainSegmentationRequest() if has_model(run):
                segmentation_models.append(run)
            case EvaluateRequest():
                reports.append((run, run.state))
    there = [(name, path) for path, name in real.items() if path.exists()]
    return Known(there[:MOST], generated[:MOST], trainings, segmentation_models, reports)


def origin(sidecar: Mapping[str, Any], folder: Path) -> Origin:
    """Return the model of a brain and its training data, from its provenance or the runs in a folder."""
    model = Path(str((sidecar.get("request") or {}).get("model") or ""))
    own = model.is_absolute() and model.is_dir()
    # A training run, or one of its checkpoints.
    run = next((one for one in (model, *model.parents[:2]) if (one / "run.json").is_file()), None) if own else None
    request = Run.open(run).request if run else None
    learnt = request.data if isinstance(request, TrainRequest) and request.data.exists() else None
    real = [learnt] if learnt else [path for _, path in known(folder).real[:1]]
    return Origin(str(model) if own else None, real)


def _real_of(request: Request) -> tuple[Path, ...]:
    match request:
        case EvaluateRequest() | NearestRequest():
            return request.real
        case TrainRequest():
            return (request.data,)
        case PrepareRequest():
            return (request.out,)
    return ()


def _used(request: Request) -> str:
    words = {"prepare": "prepared", "train": "trained on"}
    return words.get(request.job, "compared with before")
