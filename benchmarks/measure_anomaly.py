"""Measure anomaly maps: lesions put into held-out brains, false positives in healthy ones, and a real patient.

    python benchmarks/measure_anomaly.py .../ixi-2mm .../ms-lesions .../ds002748-cropped

Lesions are expert masks of patients with multiple sclerosis, brought into the white matter of validation subjects of
the model's card. A lesion is darker than its brain's white matter by a share (the contrast) of the difference between
the medians of white and grey matter. Each brain is segmented after that, as a scan of a patient would be.

Methods: the map of `braindiffusion anomaly`; its residual without the normative table; the residual of a Gaussian
filter (standard deviation 8 mm), plain and with a normative table of its own; a z-map of the training subjects' voxels.
AUPRC and best Dice (over all thresholds) are over the voxels of the brain: of how much darker than expected a voxel is,
and of how far from it on either side. Chance is the share of lesion voxels, which is the AUPRC of a random map.
"""

import csv
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from scipy import ndimage

from braindiffusion.cohort.mask import brain_mask
from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.cohort.standardise import standardise, standardise_file
from braindiffusion.editing.anomaly import Person, residuals, score
from braindiffusion.editing.normative import class_statistics, fit_normative, load_normative
from braindiffusion.editing.scan import box_scan
from braindiffusion.models.model_cache import cached_model
from braindiffusion.models.registry import find_model
from braindiffusion.regions import REGIONS, regions_of
from braindiffusion.segmentation import load_segmentation_model
from braindiffusion.volume import Volume, load_volume, resample

Mask = NDArray[np.bool_]
Grid = NDArray[np.float32]
TISSUE = np.array([region.tissue for region in REGIONS])
FILTER_MM = 8.0
MODEL, PLAIN, FILTER, FILTER_NORMALISED, COHORT = (
    "anomaly map",
    "residual of the model",
    "residual of a Gaussian filter",
    "the same, normalised",
    "z-map of the cohort",
)


@dataclass(frozen=True)
class Brain:
    """A brain in the model's box."""

    box: Grid
    regions: NDArray[np.uint8]
    brain: Mask
    age: float | None
    sex: str | None


def average_precision(truth: Mask, values: Grid) -> float:
    hits = truth[np.argsort(-values, kind="stable")]
    return float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())


def best_dice(truth: Mask, values: Grid) -> float:
    hits = truth[np.argsort(-values, kind="stable")]
    return float((2 * np.cumsum(hits) / (np.arange(1, len(hits) + 1) + hits.sum())).max())


def filter_residual(box: Grid, brain: Mask, spacing: float) -> Grid:
    sigma = FILTER_MM / spacing
    share = ndimage.gaussian_filter(brain.astype(np.float32), sigma)
    smooth = ndimage.gaussian_filter(np.where(brain, box, 0), sigma) / np.maximum(share, 1e-3)
    return np.where(brain, box - smooth, 0).astype(np.float32)


def with_lesions(box: Grid, regions: NDArray[np.uint8], share: Grid, contrast: float) -> tuple[Grid, Mask]:
    """Return a brain with darker white matter where lesions are, and the voxels that are more than half lesion."""
    white = TISSUE[regions] == "white"
    step = np.median(box[white]) - np.median(box[TISSUE[regions] == "grey"])
    share = share * white
    return np.asarray(box - contrast * step * share, np.float32), share > 0.5


class Methods:
    """The maps of all methods for one brain; above 0 is brighter than expected."""

    def __init__(self, ixi: Path, model: str, every: int) -> None:
        folder = find_model(model)
        self.generator = cached_model(folder, torch.device("cpu"))
        self.settings = Preprocessing(**self.generator.card.preprocessing)
        self.spacing = self.settings.spacing
        self.table = load_normative(folder)
        boxes, people = [], []
        for subject in (self.generator.card.split.train or [])[::every]:
            labels = ixi / "labels" / f"{subject}-T1_DLMUSE.nii.gz"
            one = standardise_file(ixi / "IXI-T1" / f"{subject}-T1.nii.gz", labels, self.settings)
            box, regions = one.volume[0].astype(np.float32), regions_of(one.labels.astype(np.int64))
            boxes.append(box)
            people.append(class_statistics(filter_residual(box, one.mask, self.spacing), regions, one.mask, None, None))
        self.filter_table = fit_normative(people, (), self.spacing)
        smooth = [ndimage.gaussian_filter(box, 1) for box in boxes]  # brains are centred, not registered
        self.mean, self.spread = np.mean(smooth, axis=0), np.std(smooth, axis=0) + 0.05

    def __call__(self, one: Brain) -> dict[str, Grid]:
        condition = Person(one.regions, one.age, one.sex).condition(self.generator)
        volume, where = torch.from_numpy(one.box)[None, None], torch.from_numpy(one.brain)
        found = torch.stack(list(residuals(self.generator, volume, condition, where, (0,)))).mean(0)[0, 0].numpy()
        filtered = filter_residual(one.box, one.brain, self.spacing)
        return {
            MODEL: self.table.normalised(found, one.regions, one.brain, one.age, one.sex),
            PLAIN: found,
            FILTER: filtered,
            FILTER_NORMALISED: self.filter_table.normalised(filtered, one.regions, one.brain, None, None),
            COHORT: (ndimage.gaussian_filter(one.box, 1) - self.mean) / self.spread,
        }

    def boxed(self, path: Path) -> Brain:
        found = box_scan(load_volume(path), None, self.settings)
        brain = brain_mask(found.regions, self.settings.closing_mm / self.spacing)
        return Brain(found.box, found.regions, brain, found.age, None)


def measures(maps: dict[str, Grid], truth: Mask, brain: Mask) -> dict[str, tuple[float, ...]]:
    marked = truth[brain]
    return {
        name: tuple(
            measure(marked, values)
            for values in (-one[brain], np.abs(one[brain]))
            for measure in (average_precision, best_dice)
        )
        for name, one in maps.items()
    }


def main(
    ixi: Annotated[Path, typer.Argument(help="Folder with IXI-T1 and labels.")],
    lesions: Annotated[Path, typer.Argument(help="Folder with masks and patient07.")],
    other: Annotated[Path | None, typer.Argument(help="Folder of healthy people of another scanner.")] = None,
    brains: Annotated[int, typer.Option(help="Held-out brains of each scanner.")] = 1,
    skip: Annotated[int, typer.Option(help="Leave out so many of them.")] = 0,
    contrasts: Annotated[str, typer.Option(help="Contrasts of the lesions, with commas.")] = "0.5,1",
    every: Annotated[int, typer.Option(help="Take every n-th training subject for the baselines.")] = 12,
    model: Annotated[str, typer.Option(help="Name or path.")] = "ixi-2mm",
) -> None:
    """Print the tables."""
    methods, segmentation = Methods(ixi, model, every), load_segmentation_model()
    patient_path = lesions / "patient07" / "patient07_space-MNI_T1w.nii.gz"
    patient = load_volume(patient_path)
    stripped = Volume((patient.data > 0).astype(np.uint8), patient.affine, {"kind": "labels"})
    mni = standardise(patient, methods.settings, stripped).affine  # the model's box in the space of the lesion masks
    masks = sorted((lesions / "masks").glob("*.nii.gz"))

    def lesion_share(path: Path, affine: NDArray[np.float64]) -> Grid:
        mask = load_volume(path)
        return resample(Volume(mask.data.astype(np.float32), mask.affine), affine, methods.generator.shape).data[0]

    rows: dict[tuple[str, str], list[tuple[float, ...]]] = defaultdict(list)
    chance: dict[str, list[float]] = defaultdict(list)
    outside: dict[str, list[tuple[float, float]]] = defaultdict(list)

    def count(group: str, one: Brain, maps: dict[str, Grid]) -> None:
        for name in (MODEL, FILTER_NORMALISED, COHORT):
            beyond = score(np.where(one.brain, maps[name], 0).astype(np.float32), one.brain, methods.spacing)
            outside[f"{group}\t{name}"].append((beyond, 100 * beyond / (one.brain.sum() * methods.spacing**3 / 1000)))

    for number, subject in enumerate(methods.generator.card.split.validation[skip : skip + brains], start=skip):
        real = methods.boxed(ixi / "IXI-T1" / f"{subject}-T1.nii.gz")
        count("IXI, held out", real, methods(real))
        share = lesion_share(masks[number % len(masks)], mni)
        for contrast in contrasts.split(","):
            box, truth = with_lesions(real.box, real.regions, share, float(contrast))
            found = segmentation.predict(box)
            one = Brain(
                box,
                found.regions,
                brain_mask(found.regions, methods.settings.closing_mm / methods.spacing),
                real.age,
                None,
            )
            truth &= one.brain
            chance[contrast].append(truth.sum() / one.brain.sum())
            for name, values in measures(methods(one), truth, one.brain).items():
                rows[contrast, name].append(values)
            sys.stderr.write(f"{subject}, contrast {contrast}: {truth.sum() * methods.spacing**3 / 1000:.1f} ml\n")
    for path in sorted(other.rglob("*T1w.nii.gz"))[skip : skip + brains] if other else ():
        one = methods.boxed(path)
        count("another scanner", one, methods(one))
        sys.stderr.write(f"{path.name}\n")
    boxed = box_scan(patient, None, methods.settings)
    one = methods.boxed(patient_path)
    truth = (lesion_share(lesions / "masks" / "patient07_lesions_space-MNI.nii.gz", boxed.affine) > 0.5) & one.brain
    maps = methods(one)
    count("the patient", one, maps)
    chance["the patient"].append(truth.sum() / one.brain.sum())
    for name, values in measures(maps, truth, one.brain).items():
        rows["the patient", name].append(values)
    white = TISSUE[one.regions] == "white"
    step = np.median(one.box[white]) - np.median(one.box[TISSUE[one.regions] == "grey"])
    around = ndimage.binary_dilation(truth, iterations=2) & ~truth & white
    sys.stderr.write(
        f"contrast of the patient's lesions: {(np.median(one.box[around]) - np.median(one.box[truth])) / step:.2f}\n"
    )

    writer = csv.writer(sys.stdout, delimiter="\t", lineterminator="\n")
    columns = ("darker: AUPRC", "best Dice", "either: AUPRC", "best Dice")
    writer.writerow(("contrast", "method", "brains", "chance", *columns))
    for (contrast, name), found in rows.items():
        means = np.mean(found, axis=0)
        writer.writerow(
            (contrast, name, len(found), f"{np.mean(chance[contrast]):.4f}", *(f"{one:.3f}" for one in means))
        )
    writer.writerow(("group", "method", "brains", "ml beyond 3", "% of the brain"))
    for group, found in outside.items():
        writer.writerow((*group.split("\t"), len(found), *(f"{one:.2f}" for one in np.mean(found, axis=0))))


if __name__ == "__main__":
    typer.run(main)
