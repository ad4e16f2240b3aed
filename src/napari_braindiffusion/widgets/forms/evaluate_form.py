"""The form of an evaluation: generated and real brains, and how they are compared."""

from collections.abc import Iterable

from qtpy.QtWidgets import QWidget

from braindiffusion.runs import EvaluateRequest
from napari_braindiffusion.widgets.forms.field_widgets import Choice
from napari_braindiffusion.widgets.forms.request_form import RequestForm
from napari_braindiffusion.widgets.source_list import SourceList

ADVANCED = ("model", "labels", "segmentation_model", "features", "uncnn", "pairs", "repeats", "seed")
SEGMENTATION_MODELS: tuple[Choice, ...] = (
    ("packaged", "auto", "Measures regions, age and an embedding of all brains that lie on its grid."),
    ("none", "none", "Faster: regions come from label maps where all brains have them, the rest is left out."),
)
ANY = "layers, folders, volumes, prepared cohorts and runs, in any mixture."


class EvaluateForm(RequestForm):
    """Two lists of brains; behind a click the settings of an `EvaluateRequest`."""

    def __init__(self, parent: QWidget | None = None) -> None:
        generated = SourceList("Generated brains", f"Generated brains: {ANY}")
        real = SourceList("Real brains", f"Real brains, ideally the cohort that the model was trained on: {ANY}")
        super().__init__(
            EvaluateRequest,
            (generated, real),
            ADVANCED,
            options={
                "model": {"choices": (), "default": "from sidecars"},
                "labels": {"mode": "d", "default": "none"},
                "segmentation_model": {"choices": SEGMENTATION_MODELS},
                "features": {
                    "filter": "Features (*.csv *.npz *.npy *.pth *.pt *.safetensors);;All files (*)",
                    "default": "none",
                },
            },
            more="How they are compared",
            parent=parent,
        )
        self.generated, self.real = generated, real

    def set_models(self, models: Iterable[Choice]) -> None:
        """Offer models whose card tells which brains were trained on. What was chosen stays chosen."""
        self.fields["model"].offer(models)

    def set_segmentation_models(self, models: Iterable[Choice]) -> None:
        """Offer segmentation models. What was chosen stays chosen."""
        self.fields["segmentation_model"].offer([*SEGMENTATION_MODELS, *models])

    def show_request(self, request: EvaluateRequest) -> None:
        """Show the settings of an earlier evaluation."""
        self.generated.set_paths(request.generated)
        self.real.set_paths(request.real)
        self.set_values(request)
