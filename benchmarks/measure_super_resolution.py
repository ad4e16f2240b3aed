"""Measure super-resolution on held-out brains: PSNR, SSIM and detail, beside trilinear and B-spline interpolation.

    python benchmarks/measure_super_resolution.py cohort.zarr

The cohort is prepared as the model's training data; the brains are validation subjects of the model's card. Each is
averaged over blocks of `--times` voxels along each axis, and brought back to its own grid. Figures are means over the
brains, inside the brain mask, intensities in [0, 1]. Detail is the mean absolute Laplacian, over that of the real one.
One sampling step gives the mean of the possible brains rather than one of them.
"""

import csv
import sys
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer
from nibabel.affines import apply_affine
from numpy.typing import NDArray
from scipy import ndimage
from skimage.metrics import structural_similarity

import braindiffusion
from braindiffusion.cohort.store import Cohort
from braindiffusion.editing.scan import upsampled
from braindiffusion.models.registry import find_model, read_card
from braindiffusion.volume import Volume, load_volume, save_volume

Grid = NDArray[np.float32]
COLUMNS = ("PSNR", "SSIM", "detail")


def averaged(volume: Volume, times: int) -> Volume:
    """Return the average over blocks of voxels."""
    x, y, z = volume.shape
    blocks = volume.data[0].reshape(x // times, times, y // times, times, z // times, times).mean((1, 3, 5))
    affine = volume.affine @ np.diag([times, times, times, 1.0])
    affine[:3, 3] = apply_affine(volume.affine, np.full(3, (times - 1) / 2))
    return Volume(blocks[None], affine)


def interpolated(coarse: Grid, times: int, order: int) -> Grid:
    return ndimage.zoom(coarse, times, order=order, mode="nearest", grid_mode=True)


def scores(made: Grid, real: Grid, mask: NDArray[np.bool_]) -> dict[str, float]:
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    _, similarity = structural_similarity(made, real, data_range=1, full=True, **window)
    inner = ndimage.binary_erosion(mask, iterations=2)
    detail = [np.abs(ndimage.laplace(one))[inner].mean() for one in (made, real)]
    return {
        "PSNR": -10 * np.log10(((made - real)[mask] ** 2).mean()),
        "SSIM": similarity[mask].mean(),
        "detail": detail[0] / detail[1],
    }


def main(
    cohort: Annotated[Path, typer.Argument(help="Prepared cohort.")],
    brains: Annotated[int, typer.Option(help="Held-out brains.")] = 2,
    times: Annotated[int, typer.Option(help="How much coarser the scans are.")] = 2,
    steps: Annotated[str, typer.Option(help="Sampling steps of the generated levels, with commas.")] = "1,6",
    model: Annotated[str, typer.Option(help="Name or path.")] = "ixi-2mm",
) -> None:
    """Print the table."""
    store = Cohort.open(cohort)
    row_of = {subject.id: row for row, subject in enumerate(store.subjects)}
    held = [name for name in read_card(find_model(model)).split.validation if name in row_of][:brains]
    rows: dict[str, list[dict[str, float]]] = defaultdict(list)
    for subject in held:
        row = row_of[subject]
        real = (store.volumes[row][0].astype(np.float32) + 1) / 2
        mask = np.asarray(store.masks[row], bool)
        coarse = averaged(Volume(real[None], store.affines[row]), times)
        made = {
            "trilinear": interpolated(coarse.data[0], times, 1),
            "B-spline": interpolated(coarse.data[0], times, 3),
            "B-spline, averages kept": upsampled(coarse, store.preprocessing.spacing).data[0],
        }
        with TemporaryDirectory() as folder:
            save_volume(coarse, Path(folder) / "coarse.nii.gz")
            for number in map(int, steps.split(",")):
                out = Path(folder) / str(number)
                how = {"super_resolution": True, "steps": number, "model": model}
                (path,) = braindiffusion.edit(Path(folder) / "coarse.nii.gz", None, out, **how)
                made[f"model, {number} step{'' if number == 1 else 's'}"] = load_volume(path).data[0]
        for name, volume in made.items():
            rows[name].append(scores(volume.astype(np.float32), real, mask))
            sys.stderr.write(f"{subject} {name} {rows[name][-1]}\n")
    writer = csv.writer(sys.stdout, delimiter="\t", lineterminator="\n")
    writer.writerow(("method", "brains", *COLUMNS))
    for name, found in rows.items():
        writer.writerow((name, len(found), *(f"{np.mean([one[column] for one in found]):.3g}" for column in COLUMNS)))


if __name__ == "__main__":
    typer.run(main)
