"""The card of a model: what `model.json` says of it, with typed access. Needs no torch."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError, field_validator, model_validator

from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.conditions import ConditionSchema
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs.requests.base import Content
from braindiffusion.untrusted import name_part

Text = str | list[str]
CASCADE_KIND = "cascade"
"""Kind of a card that names none."""


def trained_levels(steps: Sequence[int]) -> int:
    """Return how many levels there are up to the last that has learnt something, without a gap; at least 1.

    The first ones may have learnt nothing: what they would generate is then taken from a volume.
    """
    first = next((i for i, n in enumerate(steps) if n), 0)
    return max(1, next((i for i, n in enumerate(steps) if i > first and not n), len(steps) if any(steps) else 1))


class Split(BaseModel):
    """Names of the subjects that a model learnt from, and of those that were held out."""

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)

    train: list[str] | None = None
    validation: list[str] = Field(default_factory=list)
    seen_by_coarser_levels: list[str] = Field(default_factory=list)
    """Held out from the finest level alone: the coarser ones, of another model, learnt from them."""


class OwnGuidance(BaseModel):
    """The guidance that a model is sampled with where a request names none."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    scale: float = Field(default=1.0, ge=0, le=20)
    fields: tuple[str, ...] | None = None
    """Conditions that it acts on; None for all that are given."""
    levels: int | None = Field(default=None, ge=1)
    """Levels that it acts on, from the coarsest; None for all."""


class FastSampling(BaseModel):
    """How brains are made in less time: by a distilled model, or with fewer steps and less guidance."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    model: str | None = None
    """Name of the model that was distilled from this one; None samples this one, as follows."""
    steps: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = ()
    """Sampling steps of each level."""
    guidance: OwnGuidance = OwnGuidance()

    @model_validator(mode="after")
    def _one_of_both(self) -> "FastSampling":
        if (self.model is None) == (not self.steps):
            raise ValueError("fast sampling takes a distilled model or steps, one of the two")
        return self


class GeneratedAnatomy(BaseModel):
    """How region maps are generated for an image model."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    model: str
    """Name of the model of region maps."""
    first_level: int = Field(default=0, ge=0, le=20)
    """The first level that generates; those before it are kept of a sampled region map."""
    sigma: float | None = Field(default=None, gt=0)
    """Noise level from which the others start, with the sampled map under it; None starts from noise alone."""


class ModelCard(BaseModel):
    """All of a `model.json`. Fields that are not listed here are kept as they are.

    A card may come from anybody: what is listed here is checked, each part against the others.
    """

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)

    kind: str = CASCADE_KIND
    """Which code reads the weights: see `braindiffusion.models.registry.KINDS`."""
    name: str | None = None
    summary: str = ""
    description: str = ""
    data: Text = ""
    """What it was trained on, in words."""
    training: Text = ""
    """How it was trained, in words."""
    intended_use: Text = ""
    limits: Text = ""
    weights_licence: str = ""
    data_licence: str = ""
    preprocessing: dict[str, Any] = Field(default_factory=dict)
    preprocessing_hash: str | None = None
    split: Split = Split()
    steps: NonNegativeInt | list[NonNegativeInt] = Field(default_factory=list)
    """Training steps, of each level where there are levels."""
    parameters: NonNegativeInt | list[NonNegativeInt] = Field(default_factory=list)
    validation_loss: list[float | None] = Field(default_factory=list)
    configuration: dict[str, Any] = Field(default_factory=dict)
    """How the model is built; each kind has its own."""
    guidance: OwnGuidance = OwnGuidance()
    fast: FastSampling | None = None
    generated_anatomy: GeneratedAnatomy | None = None
    """How `generated` anatomy is made; None where the model has none."""
    coarser_model: str | None = None
    """Name of the model at twice the voxel size whose levels come before the only one of this file."""
    distilled_from: str | None = None
    """Name of the model that a distilled one was made from. What the file of weights lacks is the same as in it."""

    @property
    def distilled(self) -> bool:
        """Whether it can be sampled with its own steps and guidance only."""
        levels = self.configuration.get("levels")
        return isinstance(levels, list) and any(isinstance(one, dict) and one.get("noise_levels") for one in levels)

    @field_validator("kind", mode="before")
    @classmethod
    def _earlier_kind(cls, value: Any) -> Any:
        return "segmentation" if value == "reader" else value

    @field_validator("preprocessing", "configuration", "split", mode="before")
    @classmethod
    def _absent(cls, value: Any) -> Any:
        return {} if value is None else value

    @field_validator("steps", "parameters", "validation_loss", mode="before")
    @classmethod
    def _none(cls, value: Any) -> Any:
        return [] if value is None else value

    @model_validator(mode="after")
    def _consistent(self) -> "ModelCard":
        # Fields that this version does not know are of another version: callers that need the whole record check it.
        known = {name: self.preprocessing[name] for name in Preprocessing.model_fields if name in self.preprocessing}
        if known:
            prepared = Preprocessing.model_validate(known)
            same = prepared.model_dump(mode="json", include={"shape", "spacing"} & set(known))
            if "modality" in known:
                self._check_names(prepared.channels)
            if "modality" in known and self.content == "image":
                same["channels"] = len(prepared.channels)
            for name, value in same.items() if self.kind == CASCADE_KIND else ():
                if (built := self.configuration.get(name, value)) != value:
                    raise ValueError(f"{name} is {built} in its configuration, and {value} in its preprocessing")
        return self

    @staticmethod
    def _check_names(channels: Sequence[str]) -> None:
        try:
            for name in channels:
                for part in name.split("/"):  # volumes of their own
                    name_part(part, "The channel")
        except BrainDiffusionError as error:
            raise ValueError(str(error)) from error

    @property
    def content(self) -> Content:
        """What it generates."""
        return "regions" if self.configuration.get("content") == "regions" else "image"

    @property
    def conditions(self) -> ConditionSchema:
        """Schema of the conditions of the model.

        Raises:
            BrainDiffusionError: the card describes conditions that this version does not know.
        """
        try:
            return ConditionSchema.model_validate(self.configuration.get("condition") or {})
        except ValidationError as error:
            msg = f"The card of {self.name or 'the model'} describes conditions that this version does not know."
            raise BrainDiffusionError(msg) from error

    @property
    def prepared(self) -> Preprocessing | None:
        """Preprocessing of its training volumes; None where the card does not tell.

        Raises:
            BrainDiffusionError: the record is one of another version.
        """
        if not self.preprocessing:
            return None
        try:
            return Preprocessing.model_validate(self.preprocessing)
        except ValidationError as error:
            msg = f"The card of {self.name or 'the model'} describes a preprocessing that this version does not know."
            raise BrainDiffusionError(msg) from error

    @property
    def skull_stripped(self) -> bool:
        """Whether its brains have no skull, and air around them is exactly 0."""
        return self.preprocessing.get("skull") == "strip"

    @property
    def level_steps(self) -> tuple[int, ...]:
        """Training steps of each level; empty where the card does not tell."""
        return (self.steps,) if isinstance(self.steps, int) else tuple(self.steps)

    @property
    def parameter_count(self) -> int:
        """Parameters in all; 0 where the card does not tell."""
        return self.parameters if isinstance(self.parameters, int) else sum(self.parameters)

    @property
    def sampling_defaults(self) -> dict[str, list[Any]]:
        """The model's own `steps`, `sampler`, `levels` and `guidance`; empty where the card does not tell.

        Steps and samplers are those of each trained level, coarsest first.
        """
        if isinstance(sampling := self.configuration.get("sampling"), dict):
            return sampling
        levels = self.configuration.get("levels")
        if self.kind != CASCADE_KIND or not isinstance(levels, list):
            return {}
        levels = [level for level in levels if isinstance(level, dict)]
        trained = levels[: trained_levels(self.level_steps)] if self.level_steps else levels
        own = {name: [level[name] for level in trained if name in level] for name in ("steps", "sampler")}
        return {**own, "levels": [len(trained)], "guidance": [self.guidance.scale]}

    @property
    def stated_limits(self) -> Text:
        """Limits of use; cards of earlier versions call it `limitations`."""
        limits: Text = self.limits or (self.model_extra or {}).get("limitations", "")
        return limits

    @property
    def figures(self) -> Any:
        """Measured figures by name, under any of the names that cards have for them."""
        extra = self.model_extra or {}
        return extra.get("evaluation") or extra.get("figures") or {}

    def channel_names(self, channels: int) -> list[str]:
        """Return the modality of each channel; numbers where the card does not tell."""
        names = str(self.preprocessing.get("modality", "")).split(",")
        return names if len(names) == channels else [f"channel{n}" for n in range(1, channels + 1)]

    def to_json(self) -> dict[str, Any]:
        """Return the card as plain data, as it stands in `model.json`."""
        plain: dict[str, Any] = self.model_dump(exclude_unset=True)
        return plain
