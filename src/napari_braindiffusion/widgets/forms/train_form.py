"""The form of a training."""

from collections.abc import Iterable

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from braindiffusion.runs import TrainRequest
from napari_braindiffusion.widgets.forms.field_widgets import Choice
from napari_braindiffusion.widgets.forms.request_form import RequestForm

BASIC = (
    "data",
    "preset",
    "start_from",
    "batch_size",
    "patch",
    "epochs",
    "validation_subjects",
    "sample_minutes",
    "checkpointing",
)
ADVANCED = (
    "conditions",
    "levels",
    "accumulate",
    "patience",
    "checkpoint_minutes",
    "seed",
    "device",
    "precision",
    "strategy",
)


class TrainForm(RequestForm):
    """Every setting of a `TrainRequest`."""

    data_changed = Signal(object)
    """Path of the training data, or None."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(
            TrainRequest,
            BASIC,
            ADVANCED,
            options={
                "data": {"mode": "d", "default": "cohort.zarr, or a folder of volumes"},
                "start_from": {"choices": (), "default": "scratch"},
            },
            parent=parent,
        )
        self.fields["data"].changed.connect(self.data_changed.emit)

    def set_models(self, models: Iterable[Choice]) -> None:
        """Offer models to initialize from. What was chosen stays chosen."""
        self.fields["start_from"].offer(models)

    def request(self) -> TrainRequest | None:
        """Return the request; None as long as there are no data.

        Raises:
            BrainDiffusionError: a value does not fit.
        """
        return None if self.missing() else self.make_request()
