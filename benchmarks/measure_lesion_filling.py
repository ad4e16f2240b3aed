"""Measure lesion filling: do region volumes of a brain with lesions come back to those without, once these are filled?

    python benchmarks/measure_lesion_filling.py .../ixi-2mm .../ms-lesions

Lesions of patients are put into held-out brains, as in `measure_anomaly.py`, and filled: by the biharmonic equation,
and by the model from several first levels on, with the region map of a training subject in the holes (the default of
`braindiffusion edit`) and without. Each is segmented. Error: the sum over regions of how much their volumes differ from
those of the brain without lesions, in ml; white: the difference of the cerebral white matter. PSNR is inside the hole,
intensities in [0, 1].

A second table is of a real patient's scan of 1 mm, as it is and filled, through `braindiffusion.edit`: median and
standard deviation of the intensities of the lesions, ml of white matter and brain as they are segmented, and the
largest change of a region.
"""

import csv
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import torch
import typer
from measure_anomaly import Grid, with_lesions
from measure_inpainting import inpainted, sampled
from scipy import ndimage

import braindiffusion
from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.cohort.standardise import standardise
from braindiffusion.editing.scan import box_scan, interpolate, painted_voxels
from braindiffusion.generation.anatomy import load_anatomy
from braindiffusion.models.model_cache import cached_model
from braindiffusion.models.registry import find_model
from braindiffusion.regions import region_index, volumes_ml
from braindiffusion.segmentation import load_segmentation_model
from braindiffusion.volume import Volume, load_volume, resample

WHITE = [region_index(f"{side} cerebral white matter") for side in ("left", "right")]


def of_patient(scan: Path, mask: Path, model: str) -> Iterator[tuple[str, ...]]:
    """Yield the rows of a patient's scan: as it is, filled by the model and by interpolation; around the lesions."""
    before, segmentation = load_volume(scan), load_segmentation_model()
    hole = painted_voxels(before, load_volume(mask))
    with TemporaryDirectory() as folder:
        (path,) = braindiffusion.edit(scan, mask, folder, model=model)
        filled = load_volume(path)
    low, high = float(before.data.min()), float(before.data.max())
    whole = (before.data[0].astype(np.float32) - low) / (high - low) * 2 - 1
    smooth = (interpolate(whole, hole) + 1) / 2 * (high - low) + low
    around = ndimage.binary_dilation(hole, iterations=2) & ~hole & (before.data[0] > 0)
    first = None
    for name, volume in (("as it is", before), ("model", filled), ("biharmonic", replace(before, data=smooth[None]))):
        ml = volumes_ml(segmentation.predict_volume(volume).regions, before.spacing)[1:]
        first = ml if first is None else first
        inside = volume.data[0][hole]
        figures = np.median(inside), inside.std()
        white, changed = ml[[index - 1 for index in WHITE]].sum(), np.abs(ml - first).max()
        yield (name, *(f"{one:.0f}" for one in figures), f"{white:.2f}", f"{ml.sum():.2f}", f"{changed:.2f}")
    yield ("around the lesions", *(f"{one(before.data[0][around]):.0f}" for one in (np.median, np.std)), "", "", "")


def main(
    ixi: Annotated[Path, typer.Argument(help="Folder with IXI-T1.")],
    lesions: Annotated[Path, typer.Argument(help="Folder with masks and patient07.")],
    brains: Annotated[int, typer.Option(help="Held-out brains; 0 prints the patient alone.")] = 1,
    contrast: Annotated[float, typer.Option(help="Of the lesions, see measure_anomaly.py.")] = 1.0,
    levels: Annotated[str, typer.Option(help="First levels that generate, with commas.")] = "2",
    model: Annotated[str, typer.Option(help="Name or path.")] = "ixi-2mm",
) -> None:
    """Print the tables."""
    generator, segmentation = cached_model(find_model(model), torch.device("cpu")), load_segmentation_model()
    settings = Preprocessing(**generator.card.preprocessing)
    patient_path = lesions / "patient07" / "patient07_space-MNI_T1w.nii.gz"
    patient, library = load_volume(patient_path), load_anatomy(find_model(model))
    stripped = Volume((patient.data > 0).astype(np.uint8), patient.affine, {"kind": "labels"})
    mni = standardise(patient, settings, stripped).affine
    masks = sorted((lesions / "masks").glob("*.nii.gz"))
    rows: dict[str, list[tuple[float, ...]]] = defaultdict(list)

    def volumes(box: Grid) -> np.ndarray:
        return volumes_ml(segmentation.predict(box).regions, generator.spacing)[1:]

    for number, subject in enumerate(generator.card.split.validation[:brains]):
        real = box_scan(load_volume(ixi / "IXI-T1" / f"{subject}-T1.nii.gz"), None, settings)
        mask = load_volume(masks[number % len(masks)])
        share = resample(Volume(mask.data.astype(np.float32), mask.affine), mni, generator.shape).data[0]
        box, _ = with_lesions(real.box, real.regions, share, contrast)
        hole = box != real.box
        smooth = interpolate(box, hole)
        made = {"lesions": box, "biharmonic interpolation": smooth}
        for first in map(int, levels.split(",")):
            made[f"first level {first}, no region map"] = inpainted(generator, smooth, hole, first)
            if library is not None:
                given = sampled(library, segmentation.predict(smooth).regions, hole)
                made[f"first level {first}, sampled"] = inpainted(generator, smooth, hole, first, given)
        before = volumes(real.box)
        for name, one in made.items():
            change = volumes(one) - before
            psnr = -10 * np.log10((((one - real.box)[hole] / 2) ** 2).mean())
            white = change[[index - 1 for index in WHITE]].sum()
            rows[name].append((hole.sum() * generator.spacing**3 / 1000, np.abs(change).sum(), white, psnr))
        sys.stderr.write(f"{subject}\n")
    writer = csv.writer(sys.stdout, delimiter="\t", lineterminator="\n")
    writer.writerow(("filled by", "brains", "hole, ml", "error, ml", "white, ml", "PSNR"))
    for name, found in rows.items():
        writer.writerow((name, len(found), *(f"{one:.2f}" for one in np.mean(found, axis=0))))
    writer.writerow(
        ("the patient", "median", "standard deviation", "white, ml", "brain, ml", "largest change of a region")
    )
    for row in of_patient(patient_path, lesions / "masks" / "patient07_lesions_space-MNI.nii.gz", model):
        writer.writerow(row)


if __name__ == "__main__":
    typer.run(main)
