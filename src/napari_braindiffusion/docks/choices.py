"""Models as choices of a form."""

from collections.abc import Iterable

from braindiffusion.models.registry import PretrainedModel, list_models
from braindiffusion.runs import Run
from napari_braindiffusion.widgets.forms.field_widgets import Choice


def packaged_models(models: Iterable[PretrainedModel] | None = None) -> list[Choice]:
    """Return packaged models as choices; None is all that generate images."""
    return [(one.name, one.name, str(one.card.description)) for one in (list_models() if models is None else models)]


def own_models(runs: Iterable[Run]) -> list[Choice]:
    """Return the models of the user's trainings as choices."""
    return [(f"my training {run.name}", str(run.path), str(run.path)) for run in runs]
