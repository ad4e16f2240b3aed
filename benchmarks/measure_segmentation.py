"""Measure a segmentation model on held-out subjects: Dice of every region, brain mask, age.

    braindiffusion prepare .../IXI-T1 --labels .../labels --participants .../participants.tsv \
        --skull keep --shape 96 120 104 --out heads.zarr
    python benchmarks/measure_segmentation.py heads.zarr

The held-out subjects are those of the card. Each is segmented stripped and as a whole head, in the box of its label
map, like generated brains. With --scans, the whole-head files are segmented too, as a user's would be: the label map is
used for the score only.
"""

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from braindiffusion.cohort.mask import brain_mask
from braindiffusion.cohort.store import Cohort
from braindiffusion.example_data import SUBJECTS, sample_labels_path, sample_t1_path
from braindiffusion.regions import REGIONS, group
from braindiffusion.regions.overlap import mask_dice, region_dice
from braindiffusion.segmentation import SegmentationModel, load_segmentation_model
from braindiffusion.segmentation.examples import Examples
from braindiffusion.volume import load_volume


class Scores:
    """Scores of one kind of input."""

    def __init__(self) -> None:
        self.dice: list[np.ndarray] = []
        self.mask: list[float] = []
        self.ages: list[tuple[float, float]] = []

    def add(self, found, regions: np.ndarray, mask: np.ndarray, age: float | None) -> None:
        self.dice.append(region_dice(found.regions, regions)[1:])
        self.mask.append(mask_dice(found.mask, mask))
        if age is not None:
            self.ages.append((age, found.age))

    def summary(self) -> dict[str, object]:
        by_region = np.nanmean(self.dice, axis=0)
        ages = np.array(self.ages).T
        measured: dict[str, object] = {
            "brains": len(self.dice),
            "mean_dice": round(float(np.nanmean(self.dice)), 4),
            "mask_dice": round(float(np.mean(self.mask)), 4),
        }
        if ages.size:
            measured["age_error_years"] = round(float(np.abs(ages[0] - ages[1]).mean()), 2)
            measured["age_r"] = round(float(np.corrcoef(ages)[0, 1]), 3)
        names = [region.name for region in REGIONS[1:]]
        return measured | {"dice": {name: round(float(d), 3) for name, d in zip(names, by_region, strict=True)}}


def from_cohort(model: SegmentationModel, cohort: Cohort, rows: list[int], *, stripped: bool) -> Scores:
    scores = Scores()
    shape = model.net.config.shape
    examples = Examples(cohort, [], shape, shape, 0)
    for row in rows:
        box, regions = examples.plain(row, stripped=stripped)
        mask = brain_mask(regions.numpy(), cohort.preprocessing.closing_mm / cohort.preprocessing.spacing)
        scores.add(model.predict(box.numpy()), regions.numpy(), mask, cohort.subjects[row].age)
    return scores


def from_files(model: SegmentationModel, pairs: list[tuple[Path, Path]], ages: list[float | None]) -> Scores:
    scores = Scores()
    for (path, labels), age in zip(pairs, ages, strict=True):
        regions = group(load_volume(labels).data[0])
        scores.add(model.predict_volume(load_volume(path)), regions, brain_mask(regions, 2.0), age)
    return scores


def main(
    heads: Annotated[Path, typer.Argument(help="Cohort of whole heads that the model was trained on.")],
    model: Annotated[str, typer.Option(help="Name of a packaged model, or a path.")] = "ixi-2mm-regions",
    scans: Annotated[Path | None, typer.Option(help="Folder with IXI-T1/ and labels/: segment the files too.")] = None,
    count: Annotated[int | None, typer.Option(help="Held-out subjects; all by default.")] = None,
) -> None:
    """Print the measurements as JSON."""
    one, cohort = load_segmentation_model(model), Cohort.open(heads)
    row = {subject.id: i for i, subject in enumerate(cohort.subjects)}
    names = one.card["split"]["validation"][:count]
    rows = [row[name] for name in names]
    measured = {
        "stripped": from_cohort(one, cohort, rows, stripped=True).summary(),
        "head": from_cohort(one, cohort, rows, stripped=False).summary(),
    }
    if scans is not None:
        files = [
            (next((scans / "IXI-T1").glob(f"{name}-*")), next((scans / "labels").glob(f"{name}-*"))) for name in names
        ]
        measured["scans"] = from_files(one, files, [cohort.subjects[i].age for i in rows]).summary()
    samples = [(sample_t1_path(i), sample_labels_path(i)) for i in range(len(SUBJECTS))]
    measured["samples"] = from_files(one, samples, [None] * len(samples)).summary()
    print(json.dumps(measured, indent=2))


if __name__ == "__main__":
    typer.run(main)
