"""How well a reader reads brains that it was not trained on: Dice of every region, brain mask, age.

    braindiffusion prepare .../IXI-T1 --labels .../labels --participants .../participants.tsv \
        --skull keep --shape 96 120 104 --out heads.zarr
    python benchmarks/measure_segmentation.py heads.zarr

The held-out subjects are those of the card. Each is read stripped, and with its head, in the box that its label
map gives (as generated brains lie). With --scans, the whole-head files are read too, as a user's would be: nothing of
the label map is used but the score.
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
from braindiffusion.segmentation import SegmentationModel, load_segmentation_model
from braindiffusion.segmentation.examples import Examples
from braindiffusion.segmentation.scores import mask_dice, region_dice
from braindiffusion.volume import load_volume


class Tally:
    """Scores of one way of reading."""

    def __init__(self) -> None:
        self.dice: list[np.ndarray] = []
        self.mask: list[float] = []
        self.ages: list[tuple[float, float]] = []

    def add(self, reading, regions: np.ndarray, mask: np.ndarray, age: float | None) -> None:
        self.dice.append(region_dice(reading.regions, regions)[1:])
        self.mask.append(mask_dice(reading.mask, mask))
        if age is not None:
            self.ages.append((age, reading.age))

    def figures(self) -> dict[str, object]:
        by_region = np.nanmean(self.dice, axis=0)
        told = np.array(self.ages).T
        figures: dict[str, object] = {
            "brains": len(self.dice),
            "mean_dice": round(float(np.nanmean(self.dice)), 4),
            "mask_dice": round(float(np.mean(self.mask)), 4),
        }
        if told.size:
            figures["age_error_years"] = round(float(np.abs(told[0] - told[1]).mean()), 2)
            figures["age_r"] = round(float(np.corrcoef(told)[0, 1]), 3)
        names = [region.name for region in REGIONS[1:]]
        return figures | {"dice": {name: round(float(d), 3) for name, d in zip(names, by_region, strict=True)}}


def from_cohort(reader: SegmentationModel, cohort: Cohort, rows: list[int], *, stripped: bool) -> Tally:
    tally = Tally()
    shape = reader.net.config.shape
    examples = Examples(cohort, [], shape, shape, 0)
    for row in rows:
        box, regions = examples.plain(row, stripped=stripped)
        mask = brain_mask(regions.numpy(), cohort.preprocessing.closing_mm / cohort.preprocessing.spacing)
        tally.add(reader.predict(box.numpy()), regions.numpy(), mask, cohort.subjects[row].age)
    return tally


def from_files(reader: SegmentationModel, pairs: list[tuple[Path, Path]], ages: list[float | None]) -> Tally:
    tally = Tally()
    for (path, labels), age in zip(pairs, ages, strict=True):
        regions = group(load_volume(labels).data[0])
        tally.add(reader.predict_volume(load_volume(path)), regions, brain_mask(regions, 2.0), age)
    return tally


def main(
    heads: Annotated[Path, typer.Argument(help="The cohort of whole heads that the reader was trained on.")],
    reader: Annotated[str, typer.Option(help="Packaged name or path.")] = "ixi-2mm-regions",
    scans: Annotated[Path | None, typer.Option(help="Folder with IXI-T1/ and labels/: read the files too.")] = None,
    count: Annotated[int | None, typer.Option(help="Held-out subjects; all by default.")] = None,
) -> None:
    """Print the figures, as JSON."""
    one, cohort = load_segmentation_model(reader), Cohort.open(heads)
    row = {subject.id: i for i, subject in enumerate(cohort.subjects)}
    names = one.card["split"]["validation"][:count]
    rows = [row[name] for name in names]
    figures = {
        "stripped": from_cohort(one, cohort, rows, stripped=True).figures(),
        "head": from_cohort(one, cohort, rows, stripped=False).figures(),
    }
    if scans is not None:
        files = [
            (next((scans / "IXI-T1").glob(f"{name}-*")), next((scans / "labels").glob(f"{name}-*"))) for name in names
        ]
        figures["scans"] = from_files(one, files, [cohort.subjects[i].age for i in rows]).figures()
    samples = [(sample_t1_path(i), sample_labels_path(i)) for i in range(len(SUBJECTS))]
    figures["samples"] = from_files(one, samples, [None] * len(samples)).figures()
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    typer.run(main)
