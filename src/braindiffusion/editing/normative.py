"""The normative table of a model: mean and spread of its residual in healthy people, by region, depth, age and sex.

Within each class of voxels (a region, and how deep inside it) the mean of the residual is linear in age and sex, and so
is the logarithm of its variance (a normative model, Marquand et al. 2016, with the same regression in every class).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from scipy import ndimage

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.files import write_whole
from braindiffusion.models.registry import NORMATIVE
from braindiffusion.regions import REGIONS
from braindiffusion.untrusted import read_json

DEPTHS = 3
"""Depths within a region: voxels at its border, next to these, and all that lie deeper."""
CLASSES = len(REGIONS) * DEPTHS
FEWEST = 50
"""Voxels of all subjects together below which a class takes the numbers of all brain."""

Coefficient = Annotated[float, Field(ge=-30, le=30)]
"""Residuals lie between -2 and 2, and the logarithm of their variance above that of rounding."""
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


class NormativeTable(BaseModel):
    """Mean and spread of the residual of healthy people.

    Attributes:
        subjects: how many people it was computed from.
        noise_levels: of the residual; another residual needs another table.
        spacing: voxel size in mm, on which the depth depends.
        middle_age: years at which the coefficient of age counts as 0.
        mean: for each class: the mean residual, its change for each decade, and half of men less women.
        log_variance: the same of the logarithm of the variance.
        scores: of these people, falling in no order; where a scan's score lies among them is its percentile.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    subjects: int = Field(ge=1)
    noise_levels: tuple[float, ...]
    spacing: float = Field(gt=0, le=50)
    middle_age: float = Field(ge=0, le=150)
    mean: tuple[tuple[Coefficient, Coefficient, Coefficient], ...]
    log_variance: tuple[tuple[Coefficient, Coefficient, Coefficient], ...]
    scores: tuple[float, ...] = ()

    def normalised(
        self, residual: NDArray[np.float32], regions: NDArray[np.uint8], brain: Mask, age: float | None, sex: str | None
    ) -> NDArray[np.float32]:
        """Return a residual in healthy spreads from the healthy mean; 0 outside the brain.

        Args:
            residual: (x, y, z).
            regions: (x, y, z) region map.
            brain: (x, y, z).
            age: years; None takes the middle age of the table.
            sex: `F`, `M`; None is between the two.
        """
        at = design([age], [sex], self.middle_age)[0]
        mean, variance = np.array(self.mean) @ at, np.exp(np.array(self.log_variance) @ at)
        classes = voxel_classes(regions)
        spreads = (residual - mean[classes]) / np.sqrt(variance[classes])
        return np.where(brain, spreads, 0).astype(np.float32)

    def percentile(self, score: float) -> float | None:
        """Return the percentage of the people of the table with a lower score; None where the table has no scores."""
        return round(100 * float(np.mean(np.array(self.scores) < score)), 1) if self.scores else None


class ClassStatistics(BaseModel):
    """Sums over the voxels of each class in one person, from which the table is computed.

    Attributes:
        age: years; None is unknown.
        sex: `F`, `M` or None.
        counts: voxels in each class.
        sums: of the residual.
        squares: of the squared residual.
    """

    age: float | None
    sex: str | None
    counts: tuple[int, ...]
    sums: tuple[float, ...]
    squares: tuple[float, ...]


def voxel_classes(regions: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Return the class of each voxel: its region, and how deep inside it, (x, y, z)."""
    depth = np.zeros(regions.shape, np.intp)
    for index, box in enumerate(ndimage.find_objects(regions), start=1):
        if box is not None:
            inside = np.pad(regions[box] == index, 1)
            away = ndimage.distance_transform_edt(inside)[1:-1, 1:-1, 1:-1]
            depth[box] = np.where(inside[1:-1, 1:-1, 1:-1], np.ceil(away) - 1, depth[box])
    classes: NDArray[np.intp] = regions.astype(np.intp) * DEPTHS + depth.clip(0, DEPTHS - 1)
    return classes


def class_statistics(
    residual: NDArray[np.float32], regions: NDArray[np.uint8], brain: Mask, age: float | None, sex: str | None
) -> ClassStatistics:
    """Return the sums of one person's residual over each class."""
    classes, values = voxel_classes(regions)[brain], residual[brain].astype(np.float64)
    counts = np.bincount(classes, minlength=CLASSES).tolist()
    sums, squares = (np.bincount(classes, weights, CLASSES).tolist() for weights in (values, values**2))
    return ClassStatistics(age=age, sex=sex, counts=tuple(counts), sums=tuple(sums), squares=tuple(squares))


def fit_normative(people: Sequence[ClassStatistics], noise_levels: Sequence[float], spacing: float) -> NormativeTable:
    """Compute the table from the statistics of healthy people.

    Args:
        people: one each.
        noise_levels: of the residual.
        spacing: voxel size in mm.
    """
    ages = [one.age for one in people if one.age is not None]
    middle = float(np.mean(ages)) if ages else 0.0
    at = design([one.age for one in people], [one.sex for one in people], middle)
    counts, sums, squares = (
        np.array([getattr(one, name) for one in people], np.float64) for name in ("counts", "sums", "squares")
    )
    total = counts.sum(0)
    overall = sums.sum() / counts.sum()
    mean = np.tile([overall, 0.0, 0.0], (CLASSES, 1))
    log_variance = np.tile([np.log(squares.sum() / counts.sum() - overall**2), 0.0, 0.0], (CLASSES, 1))
    for index in np.flatnonzero(total >= FEWEST):
        n, there = counts[:, index], counts[:, index] > 0
        root = np.sqrt(n[there])[:, None]
        own = sums[there, index] / n[there]
        mean[index] = _regression(at[there], own, root)
        expected = at[there] @ mean[index]
        variance = squares[there, index] / n[there] - 2 * expected * own + expected**2
        slopes = _regression(at[there], np.log(variance.clip(1e-8)), root)
        # The mean of a logarithm is below the logarithm of the mean: the variance of all together has to be right.
        ratio = variance / np.exp(at[there] @ slopes)
        slopes[0] += np.log(np.average(ratio, weights=n[there]))
        log_variance[index] = slopes
    return NormativeTable(
        subjects=len(people),
        noise_levels=tuple(noise_levels),
        spacing=spacing,
        middle_age=round(middle, 2),
        mean=np.round(mean, 5).tolist(),
        log_variance=np.round(log_variance, 4).tolist(),
    )


def design(ages: Sequence[float | None], sexes: Sequence[str | None], middle: float) -> Floats:
    """Return the rows of the regression: 1, decades from the middle age, and -1 for F, 1 for M, 0 for unknown."""
    rows = [
        (1.0, 0.0 if age is None else (age - middle) / 10, {"F": -1.0, "M": 1.0}.get(sex or "", 0.0))
        for age, sex in zip(ages, sexes, strict=True)
    ]
    return np.array(rows)


def _regression(at: Floats, values: Floats, root: Floats) -> Floats:
    """Return weighted least-squares coefficients; what too few people would decide is 0."""
    if len(values) < 2 * at.shape[1]:
        return np.array([np.average(values, weights=root[:, 0] ** 2), 0.0, 0.0])
    return np.asarray(np.linalg.lstsq(at * root, values * root[:, 0], rcond=None)[0])


def load_normative(folder: Path) -> NormativeTable:
    """Read the table of a model folder.

    Raises:
        BrainDiffusionError: the model has none, or it is damaged.
    """
    path = folder / NORMATIVE
    try:
        table = NormativeTable.model_validate(read_json(path))
        if {len(table.mean), len(table.log_variance)} != {CLASSES}:
            raise ValueError(f"it does not have {CLASSES} classes")
    except FileNotFoundError as error:
        msg = f"The model {folder.name} has no normative table ({NORMATIVE}) to compare a scan with: choose another."
        raise BrainDiffusionError(msg, "model") from error
    except (OSError, ValueError, ValidationError) as error:
        what = str(error).splitlines()[0]
        msg = f"The normative table {path} cannot be read ({what}): install the model again."
        raise BrainDiffusionError(msg, "model") from error
    return table


def save_normative(table: NormativeTable, folder: Path) -> Path:
    """Write the table into a model folder."""
    path = folder / NORMATIVE
    write_whole(path, table.model_dump_json() + "\n")
    return path
