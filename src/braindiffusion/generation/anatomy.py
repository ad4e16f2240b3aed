"""Sampled anatomy: a region map for a brain that is generated without one.

A training subject's region map that fits the condition (age, sex, region volumes) is deformed to a shape drawn from a
statistical shape model of all training subjects, deformed a little more at random, and warped towards the requested
region volumes. Folds then come from a real cortex, the shape is nobody's, and the map is also the segmentation of the
generated brain. Thin sulci, which a region map leaves out, come from the subject's image (`regions.sulci`), deformed
with the map. Maps are not mirrored: people's brains differ between left and right in the same way.

The shape model is linear in stationary velocity fields that carry a common template onto each subject (`registration`);
its mean depends on age and sex (Rueckert et al. 2003, "Automatic construction of 3-D statistical deformation models").
"""

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braindiffusion.conditions import Value
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.models.registry import ANATOMY
from braindiffusion.regions import REGIONS, region_index, volumes_ml
from braindiffusion.regions.deformation import (
    COARSER,
    Field,
    Labels,
    composed,
    expansion,
    exponential,
    lengths_mm,
    places_of,
    random_velocity,
    refined_component,
    warped,
)
from braindiffusion.regions.interpolation import smooth_surface
from braindiffusion.regions.sulci import deformed_sulci, with_thin_sulci

AGE_TOLERANCE_YEARS, VOLUME_TOLERANCE = 4.0, 0.5
"""How far a subject may be from the condition: years, and standard deviations of the cohort."""
VOLUME_ROUNDS = 10
"""Most times that the volumes are measured and the map is warped towards those that are requested."""
EXACT_ROUNDS = 3
"""The last of these rounds measure the map as it will be; those before take the nearest voxels, which is faster."""
VOLUME_ACCURACY, PREVIEW_ACCURACY = 0.002, 0.04
"""Relative difference from the requested volumes that needs no further round, and that of a preview."""
LARGEST_CHANGE = 1.5
"""A region is warped to at most this multiple (or the inverse) of its volume in one round."""
REMEMBERED = 8
"""Sampled maps, and deformations onto training subjects, that are kept: the next preview often needs the same."""
SURFACE_VOXELS = 0.85
"""Standard deviation of the Gaussian that smooths the outer surface of a deformed map, where interpolation and random
deformation leave bumps of a voxel: with it the surface is as large as people's for its volume."""
SEXES = {"F": -1.0, "M": 1.0}
MOST_BYTES = 2 << 30
"""Size of the largest library that is read; that of 118 subjects at 2 mm has 90 MB."""
STREAM = 7919  # keeps these draws apart from those of the levels, which share the seed


@dataclass(frozen=True)
class Anatomy:
    """A region map and where it comes from.

    Attributes:
        regions: (x, y, z), values of `braindiffusion.regions`, on the model's grid.
        subject: identifier of the training subject.
        displacement_mm: largest displacement inside the brain.
        sulci: (x, y, z), cortex that is in a thin sulcus; None where the library has no intensities.
        generated: how a model of region maps generated it from the sampled map; None where none did.
    """

    regions: Labels
    subject: str
    displacement_mm: float
    sulci: NDArray[np.bool_] | None = None
    generated: Mapping[str, Any] | None = None

    @property
    def with_sulci(self) -> Labels:
        """The region map that a brain is generated from: thin sulci are CSF."""
        return self.regions if self.sulci is None else with_thin_sulci(self.regions, self.sulci)

    @property
    def provenance(self) -> dict[str, Any]:
        """Record of the draw for the sidecar."""
        return {
            "kind": "sampled" if self.generated is None else "generated",
            "subject": self.subject,
            "largest_displacement_mm": round(self.displacement_mm, 2),
            **(self.generated or {}),
        }


@dataclass(frozen=True, eq=False)
class AnatomyLibrary:
    """The region maps of a model's training subjects.

    Attributes:
        maps: (subjects, x, y, z), values of `braindiffusion.regions`.
        spacing: voxel size in mm.
        subjects: their identifiers.
        age: years, NaN where unknown.
        sex: `F`, `M` or empty.
        volumes: (subjects, regions) in ml, in the order of `braindiffusion.regions`.
        velocities: (subjects, 3, x, y, z) on a grid `COARSER` squared times coarser than the maps, in steps of
            `velocity_step` mm; the flow of each carries the common template onto that subject.
        velocity_step: mm.
        relative: (subjects, x, y, z), relative intensities of their images (`regions.sulci`); None without thin sulci.
    """

    maps: NDArray[np.uint8]
    spacing: float
    subjects: tuple[str, ...]
    age: NDArray[np.float64]
    sex: tuple[str, ...]
    volumes: NDArray[np.float64]
    velocities: NDArray[np.int8]
    velocity_step: float
    relative: NDArray[np.uint8] | None = None

    @classmethod
    def build(
        cls,
        maps: NDArray[np.uint8],
        spacing: float,
        subjects: Sequence[str],
        age: Sequence[float | None],
        sex: Sequence[str | None],
        velocities: NDArray[np.int8] | None = None,
        velocity_step: float = 0.1,
    ) -> "AnatomyLibrary":
        """Measure the volumes of region maps and return their library; without velocities all have the same shape."""
        if velocities is None:
            velocities = np.zeros((len(maps), 3, *(-(-n // COARSER**2) for n in maps.shape[1:])), np.int8)
        volumes = np.stack([volumes_ml(labels, spacing) for labels in maps])
        ages = np.array([np.nan if years is None else years for years in age])
        sexes = tuple(one or "" for one in sex)
        return cls(maps, spacing, tuple(subjects), ages, sexes, volumes, velocities, velocity_step)

    def save(self, folder: Path) -> Path:
        """Write the library into a model folder."""
        path = folder / ANATOMY
        names = ("maps", "spacing", "subjects", "age", "sex", "velocities", "velocity_step", "relative")
        parts: dict[str, Any] = {name: getattr(self, name) for name in names}
        if self.relative is None:
            del parts["relative"]
        np.savez_compressed(path, **parts)
        return path

    def sample(
        self, seed: int, condition: Mapping[str, Value], *, deform: bool = True, nearest: bool = False
    ) -> Anatomy:
        """Draw a region map that fits a condition. The same seed and condition give the same map.

        Args:
            seed: the seed of the sample.
            condition: checked values; `age`, `sex` and `volumes` are used.
            deform: False returns the subject's map.
            nearest: take the labels of the nearest voxels, which is faster and frays thin parts: for previews.
        """
        rng = np.random.default_rng((abs(seed), seed < 0, STREAM))
        chosen = int(rng.choice(len(self.subjects), p=self._probabilities(condition)))
        labels, largest = self.maps[chosen], 0.0
        places = np.indices(labels.shape, dtype=np.float32)
        if deform:
            shape = self._velocity(self._shape_weights(rng, chosen, condition))
            shape += random_velocity(rng, shape.shape[1:], self.spacing * COARSER)
            displacement = composed(_onto(self, chosen), exponential(-shape))
            wanted = condition.get("volumes")
            if isinstance(wanted, Mapping) and wanted:
                displacement = self.towards(labels, displacement, wanted, nearest=nearest)
            labels = warped(labels, displacement, nearest=nearest)
            if not nearest:
                labels = smooth_surface(labels, SURFACE_VOXELS)
            places = places_of(displacement)
            largest = float(lengths_mm(displacement, self.spacing)[labels > 0].max(initial=0))
        sulci = None
        if self.relative is not None:
            sulci = deformed_sulci(labels, self.relative[chosen], places, quick=nearest)
        return Anatomy(labels, self.subjects[chosen], largest, sulci)

    def _shape_weights(
        self, rng: np.random.Generator, chosen: int, condition: Mapping[str, Value]
    ) -> NDArray[np.float64]:
        """Draw a shape: weights of the subjects' velocities, which sum to 1.

        The mean is the linear regression of velocity on age and sex, at what is requested or else at those of the
        chosen subject; the deviation from it is Gaussian with the covariance of the residuals.
        """
        design = self.design()
        at = self.regressors(condition, design[chosen])
        regression = np.linalg.pinv(design)  # (3, subjects)
        draw = rng.standard_normal(len(design)) / np.sqrt(max(1, len(design) - design.shape[1]))
        weights: NDArray[np.float64] = at @ regression + draw - (draw @ design) @ regression
        return weights

    def design(self) -> NDArray[np.float64]:
        """Return the regressors of each subject, (subjects, 3): 1, decades from the mean age, and sex (F -1, M 1)."""
        sex = np.array([SEXES.get(one, 0.0) for one in self.sex])
        decades = np.where(np.isnan(self.age), 0.0, (self.age - self._mean_age) / 10)
        return np.stack([np.ones(len(sex)), decades, sex], axis=1)

    def regressors(self, condition: Mapping[str, Value], otherwise: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the regressors at the age and sex of a condition, those of `otherwise` where it has none."""
        at = otherwise.copy()
        if "age" in condition:
            at[1] = (float(condition["age"]) - self._mean_age) / 10  # type: ignore[arg-type]
        if "sex" in condition:
            at[2] = SEXES.get(str(condition["sex"]), 0.0)
        return at

    @property
    def _mean_age(self) -> float:
        known = self.age[~np.isnan(self.age)]
        return float(known.mean()) if len(known) else 0.0

    def _velocity(self, weights: NDArray[np.float64]) -> Field:
        """Return a weighted sum of the subjects' velocities on the coarser grid, in voxels of that."""
        total = np.tensordot(weights, self.velocities, 1) * (self.velocity_step / (self.spacing * COARSER))
        shape = [n // COARSER for n in self.maps.shape[1:]]
        return np.stack([refined_component(axis, shape) for axis in total.astype(np.float32)])

    def _probabilities(self, condition: Mapping[str, Value]) -> NDArray[np.float64]:
        """Return the probability of each subject: a Gaussian of its distance from the condition."""
        distance = np.zeros(len(self.subjects))
        if "age" in condition:
            away = (self.age - float(condition["age"])) / AGE_TOLERANCE_YEARS  # type: ignore[arg-type]
            distance += np.where(np.isnan(away), 9.0, away**2)
        if "sex" in condition:
            distance += np.where(np.array(self.sex) == condition["sex"], 0.0, 25.0)
        wanted = condition.get("volumes")
        for name, value in wanted.items() if isinstance(wanted, Mapping) else ():
            column = self.volumes[:, region_index(name)]
            distance += ((column - float(value)) / (VOLUME_TOLERANCE * (column.std() or 1.0))) ** 2
        weight = np.exp(-(distance - distance.min()) / 2)
        return np.asarray(weight / weight.sum())

    def towards(
        self,
        labels: Labels,
        displacement: Field,
        wanted: Mapping[str, float | str],
        *,
        nearest: bool = False,
    ) -> Field:
        """Compose a displacement with warps that bring regions to their requested volumes.

        Args:
            labels: the map of the chosen subject.
            displacement: its deformation so far.
            wanted: volumes in ml by region.
            nearest: measure the volumes of the nearest voxels in all rounds.
        """
        accuracy = PREVIEW_ACCURACY if nearest else VOLUME_ACCURACY
        exact = 0 if nearest else EXACT_ROUNDS
        for rounds, quick in ((VOLUME_ROUNDS - exact, True), (exact, False)):
            for _ in range(rounds):
                growth = self._growth(warped(labels, displacement, nearest=quick), wanted)
                if np.abs(growth).max() < accuracy:
                    break
                x, y, z = displacement.shape[1:]
                coarse = growth.reshape(x, COARSER, y, COARSER, z, COARSER).mean((1, 3, 5))
                displacement = composed(displacement, exponential(-expansion(coarse)))
        return displacement

    def _growth(self, labels: Labels, wanted: Mapping[str, float | str]) -> NDArray[np.float32]:
        """Return the logarithm of requested over present volume in each region that has a request, else 0."""
        volumes = volumes_ml(labels, self.spacing)
        growth = np.zeros(labels.shape, np.float32)
        for name, value in wanted.items():
            index = region_index(name)
            if volumes[index]:
                ratio = np.clip(float(value) / volumes[index], 1 / LARGEST_CHANGE, LARGEST_CHANGE)
                growth[labels == index] = np.log(ratio)
        return growth


def sample_anatomy(
    library: AnatomyLibrary, seed: int, condition: Mapping[str, Value], *, nearest: bool = False
) -> Anatomy:
    """Return `library.sample`; one that was drawn lately is the same object, not to be changed."""
    used = {name: condition[name] for name in ("age", "sex", "volumes") if name in condition}
    return _sampled(library, seed, json.dumps(used, sort_keys=True), nearest)


@lru_cache(REMEMBERED)
def _sampled(library: AnatomyLibrary, seed: int, condition: str, nearest: bool) -> Anatomy:
    return library.sample(seed, json.loads(condition), nearest=nearest)


@lru_cache(REMEMBERED)
def _onto(library: AnatomyLibrary, subject: int) -> Field:
    """Return the displacement, in voxels of the coarser grid, that carries the template onto a subject."""
    own = np.zeros(len(library.subjects))
    own[subject] = 1
    return exponential(library._velocity(own))


@cache
def load_anatomy(folder: Path) -> AnatomyLibrary | None:
    """Read the library of a model folder; None where the model has none.

    Raises:
        BrainDiffusionError: the file is damaged.
    """
    path = folder / ANATOMY
    if not path.is_file():
        return None
    try:
        with zipfile.ZipFile(path) as parts:
            if sum(part.file_size for part in parts.infolist()) > MOST_BYTES:
                raise ValueError(f"it holds more than {MOST_BYTES >> 30} GB")
        with np.load(path, allow_pickle=False) as file:
            subjects, age, sex = (file[name].tolist() for name in ("subjects", "age", "sex"))
            shape_model = (file["velocities"], float(file["velocity_step"])) if "velocities" in file else ()
            maps, spacing = file["maps"], float(file["spacing"])
            relative = file.get("relative")
        _check(maps, spacing, subjects, age, sex, *shape_model)
        if relative is not None and (relative.shape != maps.shape or relative.dtype != np.uint8):
            raise ValueError("its relative intensities do not fit its maps")
        return replace(AnatomyLibrary.build(maps, spacing, subjects, age, sex, *shape_model), relative=relative)
    except Exception as error:  # NumPy, zipfile and zlib raise what they like on damaged files
        what = " ".join(str(error).split())[:120] or type(error).__name__
        msg = f"The region maps {path} cannot be read ({what}): install the model again."
        raise BrainDiffusionError(msg) from error


def _check(
    maps: NDArray[Any],
    spacing: float,
    subjects: list[Any],
    age: list[Any],
    sex: list[Any],
    velocities: NDArray[Any] | None = None,
    velocity_step: float = 1.0,
) -> None:
    """Raise ValueError where the parts of a file do not fit together."""
    if maps.ndim != 4 or maps.dtype != np.uint8 or 0 in maps.shape or maps.max() >= len(REGIONS):
        raise ValueError("its maps are no maps of regions")
    if {len(subjects), len(age), len(sex)} != {len(maps)}:
        raise ValueError("it has another number of maps than of subjects")
    if not all(isinstance(one, str) for one in (*subjects, *sex)) or not all(isinstance(one, float) for one in age):
        raise ValueError("its subjects, ages or sexes are of another type")
    steps = (len(maps), 3, *(-(-n // COARSER**2) for n in maps.shape[1:]))
    if velocities is not None and (velocities.shape != steps or velocities.dtype != np.int8):
        raise ValueError("its velocities do not fit its maps")
    if not (0 < spacing < 100 and 0 < velocity_step < 100):
        raise ValueError("its spacing or step is out of bounds")
