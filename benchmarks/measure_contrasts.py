"""Measure several contrasts as channels: how alike the contrasts of a real patient are, and those of a generated brain.

    python benchmarks/measure_contrasts.py .../ms-lesions

T1w, T2w, FLAIR and T1w with contrast agent of one patient, and the same mirrored, are prepared at 4 mm, trained on with
the preset `tiny`, and generated. One person teaches no anatomy: what is measured is that channels are
learnt together. Correlations are over the brain.
"""

import csv
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer

import braindiffusion
from braindiffusion.cohort.store import Cohort
from braindiffusion.volume import Volume, load_volume, save_volume

CONTRASTS = ("T1", "T2", "FLAIR", "T1ce")
PAIRS = ((0, 3), (0, 2), (0, 1))


def main(
    lesions: Annotated[Path, typer.Argument(help="Folder with patient07.")],
    epochs: Annotated[float, typer.Option(help="Passes over the two brains.")] = 60,
    levels: Annotated[int, typer.Option(help="Levels to train, from the coarsest.")] = 2,
    spacing: Annotated[float, typer.Option(help="Voxel size in mm.")] = 4.0,
) -> None:
    """Print the table."""
    with TemporaryDirectory() as folder:
        work = Path(folder)
        patients = work / "patients"
        patients.mkdir()
        for path in (lesions / "patient07").glob("*.nii.gz"):
            volume = load_volume(path)
            save_volume(volume, patients / path.name)
            mirrored = Volume(np.ascontiguousarray(volume.data[:, ::-1]), volume.affine)
            save_volume(mirrored, patients / path.name.replace("patient07", "mirrored07"))
        store = work / "patients.zarr"
        braindiffusion.prepare(patients, store, modality=",".join(CONTRASTS), skull="keep", spacing=spacing)
        cohort = Cohort.open(store)
        real, brain = np.asarray(cohort.volumes[1], np.float32), np.asarray(cohort.masks[1], bool)
        model = braindiffusion.train(store, "tiny", epochs=epochs, validation_subjects=0, levels=tuple(range(levels)))
        made = model.sample()
    writer = csv.writer(sys.stdout, delimiter="\t", lineterminator="\n")
    writer.writerow(("correlation", *(f"{CONTRASTS[a]}, {CONTRASTS[b]}" for a, b in PAIRS)))
    for name, volume, where in (("real", real, brain), ("generated", made.data, made.data[0] > 0)):
        between = np.corrcoef([channel[where] for channel in volume])
        writer.writerow((name, *(f"{between[pair]:.2f}" for pair in PAIRS)))


if __name__ == "__main__":
    typer.run(main)
