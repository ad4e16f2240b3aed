"""Measure interpolation between held-out brains, beside the average of their voxels, and variation of the first.

    python benchmarks/measure_interpolation.py cohort.zarr

The cohort is prepared as the model's training data; pairs are made of its validation subjects on the model's card, a
younger one and an older one. Two ways to interpolate, and the first brain varied (`edit --first-level 2`):

middle   first level 0, share 0.5: anatomy and detail between both
mixed    first level 2, share 1: the anatomy of the first brain, finer detail from the noise of the second one
varied   finer detail generated anew, guided by the region map of the brain (the default) or without a map

Figures, means over the pairs:

between     share of the regions whose volume in the segmentation of the result lies between those of the two brains, or
            within 5 % of one of them
age         place of the read-back age between those of the two brains: 0 is the first one's, 1 the second one's
detail      mean absolute Laplacian inside the brain over the mean of the two brains': 1 is as sharp as they are
dice        mean Dice of the regions of the result with those of the first brain, and of the second one
correlation of the wavelet coefficients finer than 8 mm with those of the first brain, and of the second one
"""

import csv
import sys
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from scipy import ndimage

import braindiffusion
from braindiffusion.cohort.store import Cohort
from braindiffusion.devices import choose_precision
from braindiffusion.editing.interpolation import Interpolation
from braindiffusion.editing.proposal import in_box
from braindiffusion.models.generator import EditableGenerator
from braindiffusion.models.model_cache import cached_model
from braindiffusion.models.registry import find_model
from braindiffusion.regions import REGIONS, volumes_ml
from braindiffusion.segmentation import load_segmentation_model
from braindiffusion.volume import Volume, load_volume, save_volume

Grid = NDArray[np.float32]
CPU = torch.device("cpu")
FINE = 2
"""First level whose coefficients count as detail."""
NEAR = 0.05
COLUMNS = ("between", "age", "detail", "dice 1", "dice 2", "correlation 1", "correlation 2")


def detail(volume: Grid, mask: NDArray[np.bool_]) -> float:
    return float(np.abs(ndimage.laplace(volume))[mask].mean())


def dice(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    pairs = [(one == index, other == index) for index in range(1, len(REGIONS))]
    return float(np.mean([2 * (a & b).sum() / max(a.sum() + b.sum(), 1) for a, b in pairs]))


def coefficients(generator: EditableGenerator, volume: Grid) -> NDArray[np.float32]:
    levels = range(FINE, len(generator.voxel_sizes))
    return np.concatenate(
        [generator.coefficients(in_box(volume, generator), level).numpy().ravel() for level in levels]
    )


def main(
    cohort: Annotated[Path, typer.Argument(help="Prepared cohort.")],
    pairs: Annotated[int, typer.Option(help="Pairs of held-out people.")] = 1,
    iterations: Annotated[int, typer.Option(help="Network evaluations at each noise level of the inversions.")] = 3,
    model: Annotated[str, typer.Option(help="Name or path.")] = "ixi-2mm",
) -> None:
    """Print the table."""
    generator, segmentation = cached_model(find_model(model), CPU), load_segmentation_model()
    if not isinstance(generator, EditableGenerator):
        raise typer.BadParameter(f"{model} cannot edit.")
    store = Cohort.open(cohort)
    row_of = {subject.id: row for row, subject in enumerate(store.subjects) if subject.age is not None}
    held = [row_of[name] for name in generator.card.split.validation if name in row_of]
    held.sort(key=lambda row: store.subjects[row].age)
    half = len(held) // 2
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for rows in list(zip(held[:half], held[half:], strict=False))[:: max(1, half // pairs)][:pairs]:
        boxes = [store.volumes[row][0].astype(np.float32) for row in rows]
        mask = np.asarray(store.masks[rows[0]], bool) & np.asarray(store.masks[rows[1]], bool)
        made = {"average of voxels": (boxes[0] + boxes[1]) / 2}
        for name, first_level, share in (("middle", 0, 0.5), ("mixed", FINE, 1.0)):
            between = Interpolation(
                generator,
                (boxes[0], boxes[1]),
                (None, None),
                share=share,
                first_level=first_level,
                iterations=iterations,
            ).proposal(1)
            *_, step = generator.sample(
                [0],
                hooks=between.hooks,
                condition=between.condition,
                edit_band=between.edit_band,
                sampler=between.sampler,
                dtype=choose_precision(CPU, "auto"),
            )
            made[name] = step.volume()[0, 0].float().numpy().clip(-1, 1)
        with TemporaryDirectory() as folder:
            scan = Path(folder) / "scan.nii.gz"
            save_volume(Volume((boxes[0][None] + 1) / 2, np.diag([*[store.preprocessing.spacing] * 3, 1.0])), scan)
            for name, anatomy in (("varied", None), ("varied, no region map", "none")):
                (path,) = braindiffusion.edit(
                    scan, None, Path(folder) / name, model=model, first_level=FINE, anatomy=anatomy
                )
                made[name] = load_volume(path).data[0] * 2 - 1
        ends = [segmentation.predict(box) for box in boxes]
        volumes = np.array([volumes_ml(end.regions, 2.0)[1:] for end in ends])
        low, high = volumes.min(0) * (1 - NEAR), volumes.max(0) * (1 + NEAR)
        sharp = np.mean([detail(box, mask) for box in boxes])
        own = [coefficients(generator, box) for box in boxes]
        for name, volume in made.items():
            again, one = segmentation.predict(volume), found[name]
            now = volumes_ml(again.regions, 2.0)[1:]
            one["between"].append(float(((now >= low) & (now <= high)).mean()))
            one["age"].append((again.age - ends[0].age) / (ends[1].age - ends[0].age))
            one["detail"].append(detail(volume, mask) / sharp)
            fine = coefficients(generator, volume)
            for number in (0, 1):
                one[f"dice {number + 1}"].append(dice(again.regions, ends[number].regions))
                one[f"correlation {number + 1}"].append(float(np.corrcoef(fine, own[number])[0, 1]))
            ages = " and ".join(f"{end.age:.0f}" for end in ends)
            told = ", ".join(f"{column} {one[column][-1]:.2f}" for column in COLUMNS)
            sys.stderr.write(
                f"{store.subjects[rows[0]].id}, {store.subjects[rows[1]].id} (read {ages}) {name}: {told}\n"
            )
    writer = csv.writer(sys.stdout, delimiter="\t", lineterminator="\n")
    writer.writerow(("method", "pairs", *COLUMNS))
    for name, one in found.items():
        writer.writerow((name, len(one["age"]), *(f"{np.mean(one[column]):.3g}" for column in COLUMNS)))


if __name__ == "__main__":
    typer.run(main)
