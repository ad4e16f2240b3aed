"""The form of a generation."""

import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from magicgui.widgets import CheckBox
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QToolButton, QWidget

from braindiffusion.runs import GenerateRequest
from braindiffusion.runs.requests.generation import DISTILLED
from napari_braindiffusion.widgets.forms.condition_form import ConditionForm
from napari_braindiffusion.widgets.forms.field_widgets import Choice, ChoiceEdit
from napari_braindiffusion.widgets.forms.request_form import LARGEST, RequestForm
from napari_braindiffusion.widgets.model_card import ModelCardView

ADVANCED = (
    "eta",
    "guidance_interval",
    "guidance_rescale",
    "guidance_fields",
    "autoguidance",
    "grid",
    "trajectory_shows",
    "levels",
    "batch_size",
    "device",
    "precision",
)
AFTER_RUN: tuple[Choice, ...] = (
    ("increment", "increment", "The next run makes other brains: the seed continues after the last sample."),
    ("keep", "keep", "The next run makes the same brain, or the same noise with other conditions."),
    ("randomize", "randomize", "The next run uses a random seed."),
)
"""Choices for the seed of the next run."""


class GenerateForm(RequestForm):
    """Model, conditions, number of samples, seed and sampling: every setting of a `GenerateRequest`."""

    model_browsed = Signal(object)
    """Path that the user chose in the dialog."""
    asked_anew = Signal()
    """The conditions, their guidance or the seed have changed: a live preview is out of date."""
    model_changed = Signal(str)
    """Name or path of the chosen model; empty where there is none."""

    def __init__(self, parent: QWidget | None = None) -> None:
        card, conditions = ModelCardView(), ConditionForm()
        live = CheckBox(
            label="Live low-resolution preview",
            value=True,
            tooltip="Show a low-resolution brain soon after the conditions, the guidance or the seed change.",
        )
        grid = CheckBox(
            label="Show as grid",
            value=True,
            tooltip="Show the brains as a grid, one slice through all. Each stays a layer of its own.",
        )
        after_run = ChoiceEdit(label="After each run", tooltip="How the seed changes after each run.")
        after_run.offer(AFTER_RUN)
        sampling = ("anatomy", "fast", "steps", "sampler", "trajectory", "segmentation")
        super().__init__(
            GenerateRequest,
            ("model", card, conditions, "guidance", live, "num_samples", grid, "seed", after_run, *sampling),
            ADVANCED,
            options={"model": {"choices": ()}, "autoguidance": {"choices": (), "default": "none"}},
            parent=parent,
        )
        self.card, self.conditions = card, conditions
        self._default_anatomy: str | None = None
        self._default_samplers: tuple[str, ...] = ()
        self._defaults: Mapping[str, Any] = {}
        self._distilled: Mapping[str, Any] | None = None
        self.live, self.grid, self.after_run = live, grid, after_run
        self.model = self.fields["model"]
        self.model.native.clear()  # none until some are offered
        browse = QToolButton(text="…")
        browse.setToolTip("Choose a model folder, a checkpoint or a training run.")
        browse.setAccessibleName("Choose a model folder")
        browse.clicked.connect(self._browse)
        self.add_beside("model", browse)

        self.grid.visible = False
        self.fields["num_samples"].changed.connect(self._show_grid)
        self.fields["sampler"].changed.connect(self._allow_eta)
        self.fields["fast"].changed.connect(lambda _: self._allow_sampling())
        self.model.changed.connect(self._on_model)
        for name in ("guidance", "seed"):
            self.fields[name].changed.connect(self._ask_anew)
        conditions.changed.connect(self.asked_anew)
        conditions.changed.connect(self._show_guidance)
        conditions.drawn.connect(self._show_guidance)
        self.fields["anatomy"].changed.connect(lambda _: self._show_guidance())
        for name in ("anatomy", *DISTILLED):
            self.fields[name].changed.connect(lambda _: self._show_fast())
        self._show_guidance()

    def set_models(self, models: Iterable[Choice]) -> None:
        """Offer models. What was chosen stays chosen."""
        models = list(models)
        self.model.offer(models)
        self.fields["autoguidance"].offer(models)

    def show_defaults(self, defaults: Mapping[str, Any], distilled: Mapping[str, Any] | None = None) -> None:
        """Show what the sampling settings that are left out stand for.

        Args:
            defaults: by name, `anatomy` among them; `fast`: the model's `FastSampling`, if it has any; `distilled`:
                whether the model is. An empty mapping where nothing is known.
            distilled: those of the model's distilled one, if it has one.
        """
        self._defaults, self._distilled = defaults, distilled
        for name in ("anatomy", "levels"):
            self.show_default(name, defaults.get(name))
        self._default_anatomy = defaults.get("anatomy")
        fast = self.fields["fast"]
        fast.enabled = defaults.get("fast") is not None
        if not fast.enabled:
            fast.value = None
        self._allow_sampling()
        self._show_guidance()

    def choose_model(self, name: str | Path | None) -> None:
        """Choose a model; a path that is not offered yet is added."""
        if name is not None:
            self.model.value = str(name)

    def request(self) -> GenerateRequest:
        """Return the request, with previews.

        Raises:
            BrainDiffusionError: a value does not fit.
        """
        asked = self.conditions.asked()
        others = {"condition": asked, "model": self.model.value or "", "previews": True}
        if not self._has_guidance():
            others |= {"guidance": None}
        others |= {name: GenerateRequest.model_fields[name].default for name in self._fixed()}
        if not self.fields["eta"].enabled:
            others |= {"eta": 0.0}
        return self.make_request(**others)

    def show_request(self, request: GenerateRequest) -> None:
        """Show the settings of an earlier request; the device stays that of this computer."""
        self.choose_model(request.model)
        self.conditions.ask(request.condition)
        self.set_values(request.model_dump(exclude={"device"}))

    def update_seed(self) -> None:
        """Choose the seed of the next run, without a live preview of it."""
        seed = self.fields["seed"]
        with seed.changed.blocked():
            match self.after_run.value:
                case "increment":
                    seed.value = (seed.value + self.fields["num_samples"].value) % LARGEST
                case "randomize":
                    seed.value = random.randrange(LARGEST)  # noqa: S311 no secret

    def _on_model(self, name: str | None) -> None:
        self.model_changed.emit(name or "")

    def _ask_anew(self, _: object) -> None:
        self.asked_anew.emit()

    def _show_grid(self, number: int) -> None:
        self.grid.visible = number > 1

    def _fixed(self) -> tuple[str, ...]:
        """Return the names of the settings that are the model's own: fast sampling has its steps."""
        fast = self.fields["fast"].value
        if self._defaults.get("distilled") or (fast and self._distilled is not None):
            return DISTILLED
        return ("steps",) if fast else ()

    def _allow_sampling(self) -> None:
        fixed = self._fixed()
        for name in DISTILLED:
            self.fields[name].enabled = name not in fixed
        self._show_fast()
        self._allow_eta(self.fields["sampler"].value)

    def _show_fast(self) -> None:
        """Show what "Default" is: fast sampling, unless a setting is chosen that the distilled model does not take."""
        chosen = {name: self.fields[name].value for name in ("anatomy", *DISTILLED)}
        default = self._distilled is not None and GenerateRequest.model_construct(**chosen).suits_distilled
        self.show_default("fast", "on" if default else "off")
        wanted = self.fields["fast"].value
        fast = default if wanted is None else wanted
        shown = self._distilled if fast and self._distilled is not None else self._defaults
        for name in ("guidance", "steps", "sampler"):
            self.show_default(name, shown.get(name))
        self._default_samplers = tuple(shown.get("sampler") or ())

    def _allow_eta(self, sampler: str | None) -> None:
        chosen = self._default_samplers if sampler is None else (sampler,)
        self.fields["eta"].enabled = "ddim" in chosen and "sampler" not in self._fixed()

    def _has_guidance(self) -> bool:
        """Return whether there is anything to guide by: a condition, or a region map that will be sampled."""
        anatomy = self.fields["anatomy"].value or self._default_anatomy
        return bool(self.conditions.asked()) or anatomy in ("sampled", "generated")

    def _show_guidance(self) -> None:
        # Without a condition it means nothing.
        self.set_visible("guidance", self._has_guidance())
        self.live.visible = bool(self.conditions.rows)

    def _browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "A model folder, a checkpoint or a training run")
        if chosen:
            self.choose_model(chosen)
            self.model_browsed.emit(Path(chosen))
