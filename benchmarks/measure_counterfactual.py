"""Measure changes of age on held-out brains, beside linear regression of voxels on age and the identity.

    python benchmarks/measure_counterfactual.py cohort.zarr

The cohort is prepared as the model's training data; its validation subjects on the model's card are the people. Each is
brought to one age: younger ones to `--old`, older ones to `--young`. Figures of each method over the people:

age slope       slope through 0 of the change of the read-back age (segmentation model) on the change that was asked
over real slope the same over the slope of the read age on the true age among all real held-out people: reading an age
                is itself a regression, which draws ages towards the mean
volumes, intensities, embedding
                the parts of the age slope that come from these features of the segmentation model: they add up to it
ventricle slope the same for the logarithm of the volume of the lateral ventricles on what the regression of the
                training subjects' volumes on age and sex predicts: 1 grows as the cohort does
region slope    the same for all regions whose volume is to change by more than 3 %
map slope       the same in the deformed region map itself, which the segmentation model has not read again
distance        root mean square difference from the person's own brain inside the brain, intensities in [0, 1]
others          that from the nearest other person of the validation set
own first       share of the people whose own brain is nearer than everybody else's
round trip      PSNR of the person without a change, through inversion and generation, in dB
"""

import csv
import sys
from collections import defaultdict
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from braindiffusion.cohort.store import Cohort
from braindiffusion.conditions import Value
from braindiffusion.devices import choose_precision
from braindiffusion.editing.counterfactual import GUIDANCE, SMALLEST_ML, Counterfactual, changed_shape, volume_ratios
from braindiffusion.editing.inversion import Inversion
from braindiffusion.editing.proposal import conditioned, in_box
from braindiffusion.generation.anatomy import load_anatomy
from braindiffusion.generation.kept_levels import keep_levels
from braindiffusion.models.generator import EditableGenerator
from braindiffusion.models.model_cache import cached_model
from braindiffusion.models.registry import anatomy_folder, find_model
from braindiffusion.regions import REGIONS, region_index, regions_of, volumes_ml
from braindiffusion.regions.deformation import warped
from braindiffusion.segmentation import load_segmentation_model
from braindiffusion.segmentation.calibration import age_features
from braindiffusion.segmentation.model import SegmentationModel, predict_regions

Grid = NDArray[np.float32]
CPU = torch.device("cpu")
SPACING = 2.0
VENTRICLES = [region_index(f"{side} lateral ventricle") for side in ("left", "right")]
PARTS = ("age slope", "volumes", "intensities", "embedding")
SLOPES = (*PARTS, "ventricle slope", "region slope", "map slope")
COLUMNS = (*SLOPES, "distance", "others", "own first", "round trip")


def regression(cohort: Cohort, rows: list[int]) -> Grid:
    """Return the slope of every voxel on age, in a year."""
    ages = np.array([cohort.subjects[row].age for row in rows], np.float64)
    away = (ages - ages.mean()) / ((ages - ages.mean()) ** 2).sum()
    return sum(
        w * cohort.volumes[row][0].astype(np.float32) for w, row in zip(away.astype(np.float32), rows, strict=True)
    )


def read_parts(segmentation: SegmentationModel, box: Grid) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Return the regions of a brain, and the years of its read age (4,): in all, and by `PARTS` of the features."""
    regions, pooled = predict_regions(segmentation.net, box)
    calibration, number = segmentation.calibration, len(REGIONS) - 1
    features = age_features(regions, box, pooled)
    years = (features - calibration.age_mean) / calibration.age_std * calibration.age_weights
    parts = np.split(years, (number, 2 * number))
    return regions, np.array([years.sum() + calibration.age_offset[0], *(part.sum() for part in parts)])


def grown_by(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the change of the logarithm of each region's volume."""
    was, now = (np.maximum(volumes_ml(regions, SPACING), SMALLEST_ML) for regions in (before, after))
    return np.log(now / was)


def slope(pairs: list[tuple[float, float]]) -> float:
    """Return the slope through 0 of the second numbers on the first."""
    x, y = np.array(pairs).T
    return float((x * y).sum() / (x * x).sum())


def last(generator: EditableGenerator, **how: object) -> Grid:
    *_, step = generator.sample([0], sampler="ddim", dtype=choose_precision(CPU, "auto"), **how)
    return step.volume()[0, 0].float().numpy()


def main(
    cohort: Annotated[Path, typer.Argument(help="Prepared cohort.")],
    people: Annotated[int, typer.Option(help="Held-out people, young and old in turn.")] = 2,
    young: Annotated[float, typer.Option(help="Age that older people are brought to.")] = 35,
    old: Annotated[float, typer.Option(help="Age that younger people are brought to.")] = 70,
    levels: Annotated[str, typer.Option(help="First levels that generate, with commas.")] = "2,4",
    guidance: Annotated[float, typer.Option(help="From the old to the new age; 1 is none.")] = GUIDANCE,
    round_trip: Annotated[bool, typer.Option(help="Measure the round trip, too.")] = True,
    model: Annotated[str, typer.Option(help="Name or path.")] = "ixi-2mm",
) -> None:
    """Print the table."""
    folder = find_model(model)
    generator, library = cached_model(folder, CPU), load_anatomy(anatomy_folder(folder))
    if library is None or not isinstance(generator, EditableGenerator):
        raise typer.BadParameter(f"{model} has no region maps of its training subjects, or cannot edit.")
    store, segmentation = Cohort.open(cohort), load_segmentation_model()
    row_of = {subject.id: row for row, subject in enumerate(store.subjects) if subject.age is not None}
    held = [row_of[name] for name in generator.card.split.validation if name in row_of]
    train = [row_of[name] for name in generator.card.split.train or [] if name in row_of]
    middle = (young + old) / 2
    sides = [[row for row in held if (store.subjects[row].age < middle) == is_young] for is_young in (True, False)]
    chosen = [row for pair in zip(*sides, strict=False) for row in pair][:people]
    effect = regression(store, train)
    every = {row: store.volumes[row][0].astype(np.float32) for row in held}
    found: dict[str, dict[str, list]] = defaultdict(lambda: defaultdict(list))
    last_level = len(generator.voxel_sizes)
    ages = [store.subjects[row].age for row in held]
    own = [read_parts(segmentation, box)[1] for box in every.values()]
    real = np.polyfit(ages, np.array(own), 1)[0]
    sys.stderr.write(f"slopes of {len(held)} real people: {dict(zip(PARTS, real.round(3), strict=True))}\n")

    for row in chosen:
        person, box, mask = store.subjects[row], every[row], np.asarray(store.masks[row], bool)
        regions = regions_of(store.labels[row].astype(np.int64))
        before: dict[str, Value] = {"age": person.age, "sex": person.sex}
        target = old if person.age < middle else young
        read_regions, read = read_parts(segmentation, box)
        ratios = volume_ratios(library, before, {"age": target})
        expected = ratios[VENTRICLES].mean()
        changing = np.flatnonzero(np.abs(np.log(ratios)) > np.log(1.03))
        displaced = warped(regions, changed_shape(library, regions, before, {"age": target}))
        in_map = grown_by(regions, displaced)[changing]
        made = {"identity": box, "voxel regression": np.where(mask, box + (target - person.age) * effect, box)}
        for first in map(int, levels.split(",")):
            change = Counterfactual(
                generator, library, box, regions, before, {"age": target}, first_level=first, guidance=guidance
            ).proposal(1)
            how = {"hooks": change.hooks, "condition": change.condition, "edit_band": change.edit_band}
            name = "deformation alone" if first == last_level else f"first level {first}"
            made[name] = last(generator, **how)
            if round_trip and first < last_level:
                condition = conditioned(generator, before, regions)
                inversion = Inversion(generator, in_box(box, generator), condition, iterations=2, first=first)
                hooks = [keep_levels(generator, in_box(box, generator), first), inversion]
                same = last(generator, hooks=hooks, condition=condition, edit_band=inversion.edit_band)
                found[name]["round trip"].append(-10 * np.log10((((same - box) / 2)[mask] ** 2).mean()))
        for name, volume in made.items():
            new_regions, again = read_parts(segmentation, volume.clip(-1, 1))
            now, was = (volumes_ml(map_, SPACING)[VENTRICLES].sum() for map_ in (new_regions, read_regions))
            grown = now / was
            reached = grown_by(read_regions, new_regions)[changing]
            away = {other: float(np.sqrt((((volume - one) / 2)[mask] ** 2).mean())) for other, one in every.items()}
            nearest = min(distance for other, distance in away.items() if other != row)
            one = found[name]
            for part, difference in zip(PARTS, again - read, strict=True):
                one[part].append((target - person.age, difference))
            one["ventricle slope"].append((np.log(expected), np.log(grown)))
            one["region slope"] += zip(np.log(ratios[changing]), reached, strict=True)
            if name.startswith(("deformation", "first level")):
                one["map slope"] += zip(np.log(ratios[changing]), in_map, strict=True)
            one["distance"].append(away[row])
            one["others"].append(nearest)
            one["own first"].append(away[row] < nearest)
            sys.stderr.write(
                f"{person.id} {person.age:.0f} to {target:.0f}, {name}: read {read[0]:.1f} to {again[0]:.1f}, "
                f"ventricles x {grown:.2f} (cohort {expected:.2f}), distance {away[row]:.4f}, others {nearest:.4f}, "
                f"years by part {dict(zip(PARTS, (again - read).round(1).tolist(), strict=True))}\n"
            )
    writer = csv.writer(sys.stdout, delimiter="\t", lineterminator="\n")
    writer.writerow(("method", "people", "over real slope", *COLUMNS))
    writer.writerow(("real people", len(held), 1, *(f"{one:.3g}" for one in real)))
    for name, one in found.items():
        figures = [
            np.nan if not one[column] else slope(one[column]) if column in SLOPES else np.mean(one[column])
            for column in COLUMNS
        ]
        writer.writerow((name, len(chosen), f"{figures[0] / real[0]:.3g}", *(f"{figure:.3g}" for figure in figures)))


if __name__ == "__main__":
    typer.run(main)
