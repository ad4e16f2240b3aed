"""Measure inpainting on held-out brains: PSNR, SSIM and MSE inside holes, seam and detail, beside baselines.

    python benchmarks/measure_inpainting.py .../ixi-2mm .../ms-lesions

The brains are validation subjects of the model's card. Each gets one hole of each kind, within its brain mask: a random
ellipsoid (semi-axes 10 to 20 mm), a part of a lobe (cortex and the white matter of its gyri, 60 mm at most), and the
lesions of a patient. Intensities are in [0, 1]; figures are means over brains. SSIM is the mean of its map inside the
hole. Seam is the mean absolute difference across the border of the hole, over that of the real brain; detail the mean
absolute Laplacian inside the hole, over that of the real brain. "sampled" is guided by a region map whose hole has the
regions of a training subject; around the hole they are those of the subject's label map.

A second table is of files, through `braindiffusion.edit`: a whole head of IXI with an ellipsoid painted, and the
patient's scan of 1 mm with the lesions. It has how many voxels lie outside of the painted part, how many of them differ
from the scan's, whether the header is the same, and the seam over the same border of the scan as it is.
"""

import csv
import sys
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import nibabel as nib
import numpy as np
import torch
import typer
from numpy.typing import NDArray
from scipy import ndimage
from skimage.metrics import structural_similarity

import braindiffusion
from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.cohort.standardise import standardise, standardise_file
from braindiffusion.cohort.store import PreparedVolume
from braindiffusion.editing.inpainting import Inpainting
from braindiffusion.editing.proposal import conditioned, in_box
from braindiffusion.editing.sampled_regions import sample_regions
from braindiffusion.editing.scan import interpolate, linear_fill, painted_voxels
from braindiffusion.generation.anatomy import AnatomyLibrary, load_anatomy
from braindiffusion.generation.kept_levels import keep_levels
from braindiffusion.models.generator import EditableGenerator
from braindiffusion.models.model_cache import cached_model
from braindiffusion.models.registry import find_model
from braindiffusion.regions import region_index, regions_of
from braindiffusion.volume import Volume, load_volume, resample, save_volume

Mask = NDArray[np.bool_]
Grid = NDArray[np.float32]
LOBES = ("frontal cortex", "parietal cortex", "temporal cortex", "occipital cortex")
LOBE_RADIUS_MM = 30
COLUMNS = ("ml", "PSNR", "SSIM", "MSE", "seam", "detail")


def ellipsoid(brain: Mask, number: int, spacing: float) -> Mask:
    rng = np.random.default_rng(number)
    inner = np.argwhere(ndimage.binary_erosion(brain, iterations=5))
    centre = inner[rng.integers(len(inner))]
    axes = rng.uniform(10, 20, 3) / spacing
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    places = np.moveaxis(np.indices(brain.shape), 0, -1) - centre
    return (((places @ turn) / axes) ** 2).sum(-1) < 1


def lobe(regions: NDArray[np.uint8], number: int, spacing: float) -> Mask:
    side = ("left", "right")[number % 2]
    cortex = regions == region_index(f"{side} {LOBES[number // 2 % 4]}")
    closed = ndimage.binary_closing(np.pad(cortex, 4), iterations=2)[4:-4, 4:-4, 4:-4]
    inner = np.argwhere(cortex)
    centre = inner[np.random.default_rng(number).integers(len(inner))]
    places = np.moveaxis(np.indices(closed.shape), 0, -1) - centre
    return closed & (np.sqrt((places**2).sum(-1)) * spacing < LOBE_RADIUS_MM)


def seam(volume: Grid, hole: Mask) -> float:
    total = count = 0.0
    for axis in range(3):
        a, b = (np.take(hole, range(i, hole.shape[axis] - 1 + i), axis) for i in (0, 1))
        border = a != b
        total += np.abs(np.diff(volume, axis=axis))[border].sum()
        count += border.sum()
    return total / count


def detail(volume: Grid, hole: Mask) -> float:
    inner = ndimage.binary_erosion(hole)
    return float(np.abs(ndimage.laplace(volume))[inner if inner.any() else hole].mean())


def scores(made: Grid, real: Grid, hole: Mask) -> dict[str, float]:
    mse = float(((made - real)[hole] ** 2).mean())
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    _, similarity = structural_similarity(made, real, data_range=1, full=True, **window)
    return {
        "PSNR": -10 * np.log10(mse),
        "SSIM": float(similarity[hole].mean()),
        "MSE": mse,
        "seam": seam(made, hole) / seam(real, hole),
        "detail": detail(made, hole) / detail(real, hole),
    }


def inpainted(
    generator: EditableGenerator,
    filled: Grid,
    hole: Mask,
    first: int,
    regions: NDArray[np.uint8] | None = None,
    resampling: int = 1,
) -> Grid:
    """Return a brain in [-1, 1] whose hole is generated from a level on."""
    clean = in_box(filled, generator)
    edit = Inpainting(generator, clean, torch.from_numpy(hole), resampling=resampling)
    *_, step = generator.sample(
        [0],
        condition=conditioned(generator, {}, regions),
        hooks=[edit.window, keep_levels(generator, clean, first), edit],
        edit_band=edit.edit_band,
        sampler="ddim" if resampling > 1 else None,
    )
    return np.where(hole, step.volume()[0, 0].numpy(), filled)


def sampled(library: AnatomyLibrary, regions: NDArray[np.uint8], hole: Mask) -> NDArray[np.uint8]:
    """Return a region map whose hole has the regions of a training subject; nothing of what was there is used."""
    where = ndimage.distance_transform_edt(hole, return_distances=False, return_indices=True)
    return sample_regions(library, regions[tuple(where)], hole, seed=0)[0]


def of_file(path: Path, mask: Volume, model: str) -> tuple[int, int, bool, str]:
    """Return the figures of a file: voxels outside of a mask, how many an edit changes, same header, seam."""
    with TemporaryDirectory() as folder:
        save_volume(mask, Path(folder) / "mask.nii.gz")
        (made,) = braindiffusion.edit(path, Path(folder) / "mask.nii.gz", Path(folder) / "edited", model=model)
        before, after = load_volume(path), load_volume(made)
        same = nib.load(made).header.binaryblock == nib.load(path).header.binaryblock
    painted = painted_voxels(before, mask)
    a, b = before.data[0], after.data[0]
    ratio = seam(b.astype(np.float32), painted) / seam(a.astype(np.float32), painted)
    return np.count_nonzero(~painted), np.count_nonzero((a != b)[~painted]), same, f"{ratio:.3g}"


def main(
    ixi: Annotated[Path, typer.Argument(help="Folder with IXI-T1 and labels.")],
    lesions: Annotated[Path, typer.Argument(help="Folder with masks and patient07.")],
    brains: Annotated[int, typer.Option(help="Held-out brains; 0 prints the table of files alone.")] = 3,
    skip: Annotated[int, typer.Option(help="Leave out so many of them.")] = 0,
    model: Annotated[str, typer.Option(help="Name or path.")] = "ixi-2mm",
    levels: Annotated[str, typer.Option(help="First levels that generate, with commas.")] = "0,2",
    kinds: Annotated[str, typer.Option(help="Kinds of holes, with commas.")] = "ellipsoid,lobe,lesions",
    resampling: Annotated[int, typer.Option(help="Passes through each noise level (RePaint).")] = 1,
    files: Annotated[bool, typer.Option(help="Print the table of files, too.")] = True,
) -> None:
    """Print the tables."""
    generator = cached_model(find_model(model), torch.device("cpu"))
    settings = Preprocessing(**generator.card.preprocessing)

    def prepared(subject: str) -> PreparedVolume:
        labels = ixi / "labels" / f"{subject}-T1_DLMUSE.nii.gz"
        return standardise_file(ixi / "IXI-T1" / f"{subject}-T1.nii.gz", labels, settings)

    def intensities(one: PreparedVolume) -> Grid:
        return (one.volume[0].astype(np.float32) + 1) / 2

    mean = np.mean(
        [intensities(prepared(one)) for one in (generator.card.split.train or [])[:: 12 if brains else 200]], axis=0
    )
    patient_path = lesions / "patient07" / "patient07_space-MNI_T1w.nii.gz"
    patient = load_volume(patient_path)
    brain = Volume((patient.data > 0).astype(np.uint8), patient.affine, {"kind": "labels"})
    mni = standardise(patient, settings, brain).affine  # the model's box in the space of the lesion masks
    masks = sorted((lesions / "masks").glob("*.nii.gz"))
    rows: dict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)

    library = load_anatomy(find_model(model))

    def generated(filled: Grid, hole: Mask, first: int, regions: NDArray[np.uint8] | None = None) -> Grid:
        return (inpainted(generator, filled * 2 - 1, hole, first, regions, resampling) + 1) / 2

    for number, subject in enumerate(generator.card.split.validation[skip : skip + brains], start=skip):
        one = prepared(subject)
        real, regions = intensities(one), regions_of(one.labels.astype(np.int64))
        for kind in kinds.split(","):
            if kind == "ellipsoid":
                hole = ellipsoid(one.mask, number, generator.spacing)
            elif kind == "lobe":
                hole = lobe(regions, number, generator.spacing)
            else:
                hole = resample(load_volume(masks[number]), mni, generator.shape).data[0] > 0.25
            hole &= one.mask
            holed = np.where(hole, np.float32(0), real)
            smooth = (interpolate(holed * 2 - 1, hole) + 1) / 2
            made = {"mean brain": np.where(hole, mean, real), "linear": linear_fill(holed, hole), "biharmonic": smooth}
            made |= {f"first level {n}": generated(smooth, hole, n) for n in map(int, levels.split(","))}
            if library is not None:
                given = sampled(library, regions, hole)
                for n in map(int, levels.split(",")):
                    made[f"first level {n}, sampled"] = generated(smooth, hole, n, given)
            for name, volume in made.items():
                rows[kind, name].append(scores(volume.astype(np.float32), real, hole) | {"ml": hole.sum() * 0.008})
            sys.stderr.write(f"{subject} {kind}\n")
    writer = csv.writer(sys.stdout, delimiter="\t", lineterminator="\n")
    writer.writerow(("hole", "method", "brains", *COLUMNS))
    for (kind, name), found in rows.items():
        means = [np.mean([row[column] for row in found]) for column in COLUMNS]
        writer.writerow((kind, name, len(found), *(f"{value:.4g}" for value in means)))
    if files:
        subject = generator.card.split.validation[skip]
        one = prepared(subject)
        hole = ellipsoid(one.mask, skip, generator.spacing) & one.mask
        painted = Volume(hole[None].astype(np.uint8), one.affine, {"kind": "labels"})
        writer.writerow(("file", "voxels outside", "of which differ", "same header", "seam"))
        head = ixi / "IXI-T1" / f"{subject}-T1.nii.gz"
        lesion = load_volume(lesions / "masks" / "patient07_lesions_space-MNI.nii.gz")
        for name, path, mask in (("head, ellipsoid", head, painted), ("patient, lesions", patient_path, lesion)):
            writer.writerow((name, *of_file(path, mask, model)))


if __name__ == "__main__":
    typer.run(main)
