"""Measure lesion filling: do region volumes of a brain with lesions come back to those without, once these are filled?

    python benchmarks/measure_lesion_filling.py .../ixi-2mm .../ms-lesions --brains 2

Lesions of patients are put into held-out brains, as in `measure_anomaly.py`, and filled: by the biharmonic equation,
and by the model from several first levels on. Each is segmented. Error: the sum over regions of how much their volumes
differ from those of the brain without lesions, in ml; white: the difference of the cerebral white matter. PSNR is
inside the hole, intensities in [0, 1].
"""

import csv
import sys
from collections import defaultdict
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from measure_anomaly import Grid, Mask, with_lesions

from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.cohort.standardise import standardise
from braindiffusion.editing.inpainting import Inpainting
from braindiffusion.editing.scan import box_scan, interpolate
from braindiffusion.editing.variation import keep_levels
from braindiffusion.models.model_cache import cached_model
from braindiffusion.models.registry import find_model
from braindiffusion.regions import region_index, volumes_ml
from braindiffusion.segmentation import load_segmentation_model
from braindiffusion.volume import Volume, load_volume, resample

WHITE = [region_index(f"{side} cerebral white matter") for side in ("left", "right")]


def main(
    ixi: Annotated[Path, typer.Argument(help="Folder with IXI-T1.")],
    lesions: Annotated[Path, typer.Argument(help="Folder with masks and patient07.")],
    brains: Annotated[int, typer.Option(help="Held-out brains.")] = 2,
    contrast: Annotated[float, typer.Option(help="Of the lesions, see measure_anomaly.py.")] = 1.0,
    levels: Annotated[str, typer.Option(help="First levels that generate, with commas.")] = "0,2",
    model: Annotated[str, typer.Option(help="Name or path.")] = "ixi-2mm",
) -> None:
    """Print the table."""
    generator, segmentation = cached_model(find_model(model), torch.device("cpu")), load_segmentation_model()
    settings = Preprocessing(**generator.card.preprocessing)
    patient = load_volume(lesions / "patient07" / "patient07_space-MNI_T1w.nii.gz")
    stripped = Volume((patient.data > 0).astype(np.uint8), patient.affine, {"kind": "labels"})
    mni = standardise(patient, settings, stripped).affine
    masks = sorted((lesions / "masks").glob("*.nii.gz"))
    rows: dict[str, list[tuple[float, ...]]] = defaultdict(list)

    def generated(filled: Grid, hole: Mask, first: int) -> Grid:
        clean = torch.from_numpy(filled)[None, None]
        edit = Inpainting(generator, clean, torch.from_numpy(hole))
        hooks = [edit.window, keep_levels(generator, clean, first), edit]
        *_, step = generator.sample([0], hooks=hooks, edit_band=edit.edit_band)
        return np.where(hole, step.volume()[0, 0].numpy(), filled)

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
        made |= {f"first level {first}": generated(smooth, hole, first) for first in map(int, levels.split(","))}
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


if __name__ == "__main__":
    typer.run(main)
