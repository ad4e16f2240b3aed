"""The form of a training."""

from collections.abc import Iterable, Mapping

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
DEFAULTED = ("batch_size", "accumulate", "patch", "epochs", "validation_subjects", "patience")
"""Fields that the preset, the device or the cohort decides where they are left out."""


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
        for name in ("data", "preset", "start_from"):
            self.fields[name].changed.connect(self._forget_defaults)

    def set_models(self, models: Iterable[Choice]) -> None:
        """Offer models to initialize from. What was chosen stays chosen."""
        self.fields["start_from"].offer(models)

    def show_defaults(self, defaults: Mapping[str, float | list[float]]) -> None:
        """Show what the fields that are left out stand for; an empty mapping where that is not known."""
        for name in DEFAULTED:
            self.show_default(name, defaults.get(name))

    def request(self) -> TrainRequest | None:
        """Return the request; None as long as there are no data.

        Raises:
            BrainDiffusionError: a value does not fit.
        """
        return None if self.missing() else self.make_request()

    def _forget_defaults(self, _: object) -> None:
        self.show_defaults({})
