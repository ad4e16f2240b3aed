"""Conditions of a model: one schema, stored with it, for the network, the form, the flags and the checks.

Needs no torch. A request is plain data, `{"age": 63, "sex": "F", "volumes": {"left lateral ventricle": "90%"},
"regions": "labels.nii.gz"}`; whatever it leaves out is left to the model.
"""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from braindiffusion.errors import BrainDiffusionError

QUANTILES = (0, 1, 5, 10, 25, 50, 75, 90, 95, 99, 100)
"""Percentiles of the training subjects that a schema remembers of each number."""

Value = float | str | dict[str, float | str] | tuple[float | None, ...]
"""What one field is asked for: a number, a word, a percentile such as `90%`, a path, entries of a vector, or a vector:
a number for each entry, None where it is left to the model."""
FARTHEST = 10.0
"""Standard deviations, over the entries of a vector, that it may be from the mean of the training subjects."""
EQUAL = 1e-6
"""Standard deviation, relative to the largest of some numbers, up to which they are equal: networks get float32."""
VOLUMES = "volumes"
"""Name of the vector that holds the volumes of regions in ml: its entries are the names of these."""


Word = Annotated[str, Field(min_length=1, max_length=200)]
"""A category, or an entry of a vector."""


class _Field(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = Field(min_length=1, max_length=100)
    dropout: float = Field(default=0.15, ge=0, le=1)
    """How often training hides it, so that the model can do without."""


def deviation(values: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> float:
    """Return the standard deviation of values, NaN left out; 0 where they are equal but for rounding, or none known."""
    known = values[np.isfinite(values)]
    std = float(known.std()) if len(known) else 0.0
    return std if std > EQUAL * float(np.abs(known).max(initial=0)) else 0.0


class Numbers(BaseModel):
    """Distribution of one number over the training subjects."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    mean: float
    std: float = Field(gt=0)
    quantiles: tuple[float, ...]
    """At the percentiles `QUANTILES`."""

    @field_validator("quantiles")
    @classmethod
    def _rising(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if len(values) != len(QUANTILES) or any(low > high for low, high in pairwise(values)):
            raise ValueError(f"{len(QUANTILES)} rising numbers are needed")
        return values

    @classmethod
    def of(cls, values: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> "Numbers":
        """Return the distribution of values, NaN left out."""
        known = values[np.isfinite(values)]
        quantiles = tuple(float(f"{q:.7g}") for q in np.percentile(known, QUANTILES))
        return cls(mean=float(known.mean()), std=deviation(known) or 1.0, quantiles=quantiles)

    def span(self, unit: str) -> str:
        """From the least to the most, in words."""
        return f"{self.quantiles[0]:g} to {self.quantiles[-1]:g} {unit}".rstrip()

    def at(self, percentile: float) -> float:
        """The value at a percentile."""
        return float(np.interp(percentile, QUANTILES, self.quantiles))

    def percentile(self, value: float) -> float:
        """Return the percentile of a value, from 0 to 100."""
        return float(np.interp(value, self.quantiles, QUANTILES))


class ScalarField(_Field):
    """A number, such as age."""

    kind: Literal["scalar"] = "scalar"
    unit: str = ""
    seen: Numbers


class CategoryField(_Field):
    """One of a few words, such as sex, site or modality."""

    kind: Literal["category"] = "category"
    values: tuple[Word, ...] = Field(min_length=1)
    default: Word | None = None
    """The value of generated brains for which none is requested, such as the site of most training subjects; None
    leaves it to the model."""

    @model_validator(mode="after")
    def _known_default(self) -> Self:
        if self.default is not None and self.default not in self.values:
            raise ValueError("the default is none of the values")
        return self


class VectorField(_Field):
    """Many numbers, any of which may be left out: the volumes of regions, or an embedding."""

    kind: Literal["vector"] = "vector"
    unit: str = ""
    entries: tuple[Word, ...] = Field(min_length=1)
    seen: tuple[Numbers, ...]

    @model_validator(mode="after")
    def _one_each(self) -> Self:
        if len(self.seen) != len(self.entries) or len(set(self.entries)) < len(self.entries):
            raise ValueError("each entry needs a name of its own and a distribution")
        return self


class MapField(_Field):
    """A label for each voxel; the labels are those of `braindiffusion.regions`."""

    kind: Literal["map"] = "map"
    labels: int = Field(ge=2, le=10_000)
    """How many, background included."""
    dropout: float = Field(default=0.5, ge=0, le=1)


AnyField = Annotated[ScalarField | CategoryField | VectorField | MapField, Field(discriminator="kind")]


class ConditionSchema(BaseModel):
    """The fields of a model; none is a model that only makes brains."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    fields: tuple[AnyField, ...] = ()

    @field_validator("fields")
    @classmethod
    def _named_once(cls, fields: tuple[AnyField, ...]) -> tuple[AnyField, ...]:
        if len({field.name for field in fields}) < len(fields):
            raise ValueError("two fields have one name")
        return fields

    def __bool__(self) -> bool:
        return bool(self.fields)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the fields, in order."""
        return tuple(field.name for field in self.fields)

    @property
    def defaults(self) -> dict[str, Value]:
        """What is asked of a generated brain where a request leaves it out."""
        every = ((field.name, field.default) for field in self.fields if isinstance(field, CategoryField))
        return {name: value for name, value in every if value is not None}

    def choices(self) -> dict[str, str]:
        """Return the possible values of each field, and of each entry of a vector, in words."""
        ranges = {}
        for field in self.fields:
            if isinstance(field, CategoryField):
                default = f" (default {field.default})" if field.default else ""
                ranges[field.name] = " or ".join(field.values) + default
            elif isinstance(field, MapField):
                ranges[field.name] = "file of a label map"
            elif isinstance(field, VectorField):
                named = zip(field.entries, field.seen, strict=True)
                ranges |= {f"{field.name}.{entry}": seen.span(field.unit) for entry, seen in named}
            else:
                ranges[field.name] = field.seen.span(field.unit)
        return ranges

    def check(self, asked: Mapping[str, Value]) -> dict[str, Value]:
        """Return a request in the schema's units: percentiles as numbers, words in the spelling of the model.

        Raises:
            BrainDiffusionError: no such field, entry or category; not a number; far outside of what the model saw.
        """
        fields = {field.name: field for field in self.fields}
        for name in asked:
            if name not in fields:
                known = f"it knows {', '.join(fields)}" if fields else "it only makes brains, unasked"
                raise BrainDiffusionError(f"The model cannot be asked for '{name}': {known}.")
        return {name: _checked(fields[name], value) for name, value in asked.items()}


def _checked(field: AnyField, value: Value) -> Value:
    if isinstance(field, CategoryField):
        spelt = next((known for known in field.values if known.lower() == str(value).lower()), None)
        if spelt is None:
            raise BrainDiffusionError(f"{field.name} can be {' or '.join(field.values)}, not '{value}'.")
        return spelt
    if isinstance(field, MapField):
        if not isinstance(value, str) or not Path(value).is_file():
            raise BrainDiffusionError(f"{field.name} wants the file of a label map, and {value} is none.")
        return value
    if isinstance(field, VectorField):
        if not isinstance(value, dict):
            vector = _vector(field, value)
            if field.name != VOLUMES:
                return vector
            # Sampled anatomy, tables and evaluation take volumes by their names.
            value = {entry: x for entry, x in zip(field.entries, vector, strict=True) if x is not None}
        checked: dict[str, float | str] = {}
        for asked, number in value.items():
            for entry in _entries(field, asked, number):
                if entry in checked:
                    raise BrainDiffusionError(f"{field.name}: '{entry}' is asked for twice.")
                checked[entry] = _number(field.seen[field.entries.index(entry)], number, entry, field.unit)
        return checked
    return _number(field.seen, value, field.name, field.unit)


def _vector(field: VectorField, value: Value) -> tuple[float | None, ...]:
    """A number for each entry, None where it is unknown."""
    count, msg = len(field.entries), f"{field.name} wants its entries by name, such as '{field.entries[0]}'"
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else (value,)
    if len(parts) != count:
        raise BrainDiffusionError(f"{msg}, or {count} numbers, or a row of a table (TABLE.tsv#ROW).")
    try:
        known = [None if part in (None, "") else float(part) for part in parts]  # type: ignore[arg-type]
        numbers = np.array(known, np.float64)
    except (TypeError, ValueError):
        raise BrainDiffusionError(f"{msg}, or {count} numbers, and one of these is none.") from None
    if np.isinf(numbers).any():
        raise BrainDiffusionError(f"{field.name} holds a number that is infinite.")
    distances = [(x - seen.mean) / seen.std for x, seen in zip(numbers, field.seen, strict=True) if np.isfinite(x)]
    if distances and (far := float(np.sqrt(np.mean(np.square(distances))))) > FARTHEST:
        raise BrainDiffusionError(
            f"{field.name} is far from what the model saw: {far:.0f} standard deviations from its mean, and "
            f"{FARTHEST:g} are the most."
        )
    return tuple(None if np.isnan(x) else float(x) for x in numbers)


def _entries(field: VectorField, asked: str, value: float | str) -> list[str]:
    """The entry of this name; without a side, `hippocampus`, both sides, which only a percentile can be for."""
    if asked in field.entries:
        return [asked]
    both = [entry for entry in field.entries if entry in (f"left {asked}", f"right {asked}")]
    if len(both) < 2:
        raise BrainDiffusionError(f"{field.name} has no '{asked}': its entries are {', '.join(field.entries)}.")
    if not str(value).strip().endswith("%"):
        msg = f"{field.name}: '{asked}' has two sides, so say left or right, or a percentile for both, not {value}."
        raise BrainDiffusionError(msg)
    return both


def _number(seen: Numbers, value: Value, name: str, unit: str) -> float:
    """A number, or the number at a percentile. Twice the range that was seen is allowed, and no more."""
    try:
        if isinstance(value, str) and value.strip().endswith("%"):
            percentile = float(value.strip()[:-1])
            if not 0 <= percentile <= 100:
                raise BrainDiffusionError(f"{name} = {value}: percentiles go from 0% to 100%.")
            return seen.at(percentile)
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise BrainDiffusionError(f"{name} wants a number or a percentile such as 90%, not '{value}'.") from None
    low, high = seen.quantiles[0], seen.quantiles[-1]
    room = (high - low) / 2
    if not low - room <= number <= high + room:
        of = f" {unit}" if unit else ""
        raise BrainDiffusionError(f"{name} = {number:g}{of} is far from what the model saw ({low:g} to {high:g}{of}).")
    return number
