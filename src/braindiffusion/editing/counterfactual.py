"""A brain at another age, of another sex, or with other region volumes.

How the volume of each region changes with age and sex is learnt from the training subjects of a model: a linear
regression of its logarithm. The region map of the scan is warped until its regions have the volumes that follow, or
that are asked for, and the brain is deformed with it, smoothly and without folding. So everything that is the person's
own stays. Levels of the model then generate detail and contrast that belong to the new condition, from the noise that
the deformed brain is inverted to, guided away from the old condition.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from braindiffusion.conditions import ConditionSchema, Value
from braindiffusion.diffusion.denoiser import Denoiser
from braindiffusion.diffusion.guidance import guided_from
from braindiffusion.editing.inversion import Inversion
from braindiffusion.editing.proposal import Proposal, conditioned, in_box
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.generation.anatomy import AnatomyLibrary
from braindiffusion.generation.kept_levels import keep_levels
from braindiffusion.models.generator import EditableGenerator, Hook, LevelContext
from braindiffusion.regions import REGIONS, volumes_ml
from braindiffusion.regions.deformation import COARSER, Field, lengths_mm, refined, warped
from braindiffusion.runs.command import flat
from braindiffusion.runs.requests.editing import CHANGEABLE

Labels = NDArray[np.uint8]
Grid = NDArray[np.float32]

SMALLEST_ML = 0.05
"""Smaller regions count as this, since their logarithm would decide the regression."""
ITERATIONS = 2
"""Network evaluations at each noise level of the inversion."""
GUIDANCE = 3.0
"""How much the model's estimate moves from the old condition to the new one: 1 is what the new one alone gives."""


class Counterfactual:
    """The changes of a brain.

    Args:
        generator: the model.
        library: region maps of its training subjects, on its grid.
        box: (x, y, z) in [-1, 1], the brain.
        regions: its region map.
        before: `age` and `sex` of the brain, and other conditions; what is not known is left out.
        after: `age`, `sex` and `volumes` (ml by region) to reach, see `checked_change`.
        start: where a sweep begins; what is left out begins as the brain is.
        number: of values of a sweep; 1 is the change alone.
        first_level: from which the model generates; the number of levels generates nothing.
        guidance: see `GUIDANCE`.
    """

    def __init__(
        self,
        generator: EditableGenerator,
        library: AnatomyLibrary,
        box: Grid,
        regions: Labels,
        before: Mapping[str, Value],
        after: Mapping[str, Value],
        *,
        start: Mapping[str, Value] | None = None,
        number: int = 1,
        first_level: int = 2,
        guidance: float = GUIDANCE,
    ) -> None:
        self._guidance = guidance
        self._generator, self._library, self._box, self._regions = generator, library, box, regions
        self._before, self._first_level = dict(before), first_level
        volumes = volumes_ml(regions, library.spacing)
        own: dict[str, float | str] = {region.name: float(volumes[region.index]) for region in REGIONS}
        first: dict[str, Value] = {**before, "volumes": own}
        for name, value in (start or {}).items():
            first[name] = {**own, **value} if isinstance(value, dict) else value
        shares = np.linspace(0, 1, number) if number > 1 else np.ones(1)
        self.values: list[dict[str, Value]] = [
            {name: between(first.get(name, value), value, float(share)) for name, value in after.items()}
            for share in shares
        ]
        """The changed conditions, one for each volume."""

    def proposal(self, number: int) -> Proposal:
        """Return what is generated for a volume (from 1)."""
        after = self.values[number - 1]
        displacement = changed_shape(self._library, self._regions, self._before, after)
        box, regions = deformed(self._box, self._regions, displacement)
        old = {name: value for name, value in self._before.items() if name in self._generator.conditions.names}
        new = old | {name: value for name, value in after.items() if name != "volumes"}  # these are in the map
        generator = self._generator
        volume, condition = in_box(box, generator), conditioned(generator, old, regions)
        inversion = Inversion(generator, volume, condition, iterations=ITERATIONS, first=self._first_level)
        hooks: list[Hook] = [keep_levels(generator, volume, self._first_level), inversion]
        if new != old and condition is not None:

            def from_old(context: LevelContext, denoiser: Denoiser) -> Denoiser:
                return guided_from(denoiser, condition, self._guidance)

            hooks.insert(0, from_old)
        length = lengths_mm(displacement, self._library.spacing)
        details = {
            "name": name_of(after),
            "before": self._before,
            "after": after,
            "guidance": self._guidance,
            "largest_displacement_mm": round(float(length[regions > 0].max(initial=0)), 2),
        }
        return Proposal(
            box,
            hooks,
            conditioned(generator, new, regions),
            inversion.edit_band,
            "ddim",
            details,
            self._first_level,
        )


def name_of(change: Mapping[str, Value]) -> str:
    """Return changed conditions in words, such as `age 75, sex F`."""
    words = [
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in flat(change).items()
    ]
    return ", ".join(words).replace("volumes.", "")


def volume_ratios(
    library: AnatomyLibrary, before: Mapping[str, Value], after: Mapping[str, Value]
) -> NDArray[np.float64]:
    """Return by what each region's volume is multiplied, (regions,), where age or sex change.

    Args:
        library: of the training subjects.
        before: `age` in years and `sex`.
        after: the same; what is left out stays.
    """
    mean = np.array([1.0, 0.0, 0.0])
    now = library.regressors(before, mean)
    change = library.regressors(after, now) - now
    logarithms = np.log(np.maximum(library.volumes, SMALLEST_ML))
    ratios: NDArray[np.float64] = np.exp(change @ np.linalg.pinv(library.design()) @ logarithms)
    return ratios


def changed_shape(
    library: AnatomyLibrary, regions: Labels, before: Mapping[str, Value], after: Mapping[str, Value]
) -> Field:
    """Return the deformation of a brain whose age, sex or region volumes change.

    Args:
        library: of the training subjects, on the grid of the map.
        regions: (x, y, z), region map of the brain.
        before: its `age` in years and `sex`.
        after: `age`, `sex`, and `volumes` in ml by region.

    Returns:
        (3, x / 2, y / 2, z / 2), as `regions.deformation.warped` takes it.
    """
    wanted: dict[str, float | str] = {}
    if "age" in after or "sex" in after:
        now = volumes_ml(regions, library.spacing) * volume_ratios(library, before, after)
        wanted = {region.name: float(now[region.index]) for region in REGIONS[1:] if now[region.index]}
    asked = after.get("volumes")
    wanted |= asked if isinstance(asked, Mapping) else {}
    still = np.zeros((3, *(n // COARSER for n in regions.shape)), np.float32)
    return library.towards(regions, still, wanted)


def deformed(box: Grid, regions: Labels, displacement: Field) -> tuple[Grid, Labels]:
    """Return a brain, by cubic B-splines, and its region map, pulled back along a displacement.

    Args:
        box: (x, y, z) in [-1, 1].
        regions: (x, y, z).
        displacement: as `changed_shape` returns it.
    """
    places = np.indices(box.shape, dtype=np.float32) + refined(displacement)
    pulled: Grid = ndimage.map_coordinates(box, places, order=3, mode="nearest").clip(-1, 1)
    return pulled, warped(regions, displacement)


def checked_change(
    schema: ConditionSchema, change: Mapping[str, Value], before: Mapping[str, Value], number: int
) -> tuple[dict[str, Value], dict[str, Value]]:
    """Return where a sweep begins, as far as that was said, and what is reached, in the model's units.

    Args:
        schema: conditions of the model.
        change: in words, see `ranges`.
        before: the conditions of the brain that are known.
        number: of values of a sweep; 1 is no sweep.

    Raises:
        BrainDiffusionError: the change cannot be asked for.
    """
    for name in change:
        if name not in CHANGEABLE:
            raise BrainDiffusionError(f"'{name}' cannot be changed: change {', '.join(CHANGEABLE)}.", "change")
    start, stop = ranges(change)
    if start and number == 1:
        msg = "A range of values makes a sweep: ask for 2 or more values, or for one value without a range."
        raise BrainDiffusionError(msg, "num_values")
    if "sex" in change and "sex" not in before:
        msg = "The effect of sex needs the sex of the brain as it is: give it as a condition, such as sex=M."
        raise BrainDiffusionError(msg, "condition")
    return schema.check(start), schema.check(stop)


def ranges(change: Mapping[str, Value]) -> tuple[dict[str, Value], dict[str, Value]]:
    """Return the first and the last values of what changes; FROM:TO is a range, and other values have no first one.

    Examples:
        >>> ranges({"age": "20:80", "sex": "F"})
        ({'age': '20'}, {'age': '80', 'sex': 'F'})
    """
    first: dict[str, Value] = {}
    last: dict[str, Value] = {}
    for name, value in change.items():
        if isinstance(value, Mapping):
            low, high = ranges(value)
            first |= {name: low} if low else {}  # type: ignore[dict-item]
            last[name] = high  # type: ignore[assignment]
        else:
            start, colon, stop = str(value).partition(":")
            first |= {name: start} if colon else {}
            last[name] = stop if colon else value
    return first, last


def between(first: Value, last: Value, share: float) -> Value:
    """Return what lies between two conditions: numbers linearly, entries of a vector one by one, words the last."""
    if isinstance(first, Mapping) and isinstance(last, Mapping):
        return {name: between(first.get(name, value), value, share) for name, value in last.items()}  # type: ignore[misc]
    if isinstance(first, int | float) and isinstance(last, int | float):
        return first + share * (last - first)
    return last
