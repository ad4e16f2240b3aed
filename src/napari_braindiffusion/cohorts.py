"""The real brains that this user has: what she prepared, what her trainings learnt from, what she compared with."""

from pathlib import Path

from napari.layers import Layer

from braindiffusion.runs import (
    EvaluateRequest,
    GenerateRequest,
    NearestRequest,
    PrepareRequest,
    Request,
    Run,
    TrainRequest,
    list_runs,
)
from napari_braindiffusion.io import PROVENANCE
from napari_braindiffusion.settings import settings

MOST = 8
"""Of a kind are offered, the newest."""


def real_ones() -> list[tuple[str, Path]]:
    """Prepared cohorts and other real brains of earlier runs that are still there, the newest first."""
    named: dict[Path, str] = {}
    for run in list_runs(settings().runs_folder):
        for path in _real_of(run.request):
            named.setdefault(path.absolute(), f"{path.name} ({_used(run.request)})")
    return [(name, path) for path, name in named.items() if path.exists()][:MOST]


def generated_ones() -> list[tuple[str, Path]]:
    """Runs that made brains, the newest first."""
    runs = list_runs(settings().runs_folder)
    made = [(run, run.request) for run in runs if isinstance(run.request, GenerateRequest)]
    return [(f"{run.name} ({_brains_of(request)})", run.path) for run, request in made][:MOST]


def trained_on(layer: Layer) -> tuple[str | None, tuple[Path, ...]]:
    """The model that made a layer's brain, where it has a folder of its own, and the cohort that it learnt from.

    Of a packaged model, which the layer's sidecar names, nobody has written down which of the user's folders it
    learnt from.
    """
    asked = (layer.metadata.get(PROVENANCE) or {}).get("request") or {}
    model = Path(str(asked.get("model") or ""))
    if not model.is_absolute() or not model.is_dir():
        return None, ()
    # A training run, or one of its checkpoints.
    run = next((one for one in (model, *model.parents[:2]) if (one / "run.json").is_file()), None)
    request = Run.open(run).request if run else None
    data = (request.data,) if isinstance(request, TrainRequest) and request.data.exists() else ()
    return str(model), data


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


def _brains_of(request: GenerateRequest) -> str:
    number = request.num_samples
    return f"{number} brain{'' if number == 1 else 's'} of {Path(request.model).name}"
