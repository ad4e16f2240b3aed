"""Measure inpainting on held-out brains: PSNR, SSIM and MSE inside holes, and the seam, beside baselines.

    python benchmarks/measure_inpainting.py .../ixi-2mm .../ms-lesions --brains 8

The brains are validation subjects of the model's card. Each gets one hole of each kind: a random ellipsoid (semi-axes
10 to 20 mm), the part of a lobe (cortex and white matter near it), and the lesions of a patient of the same number.
Voxels outside the brain mask are known. Intensities are in [0, 1]; figures are means over brains. SSIM is the mean of
its map inside the hole. Seam is the mean absolute difference across the border of the hole over that of the real brain,
and detail the mean absolute Laplacian inside the hole over that of the real brain.
"""

import csv
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import LinearNDInterpolator
from skimage.metrics import structural_similarity
from skimage.restoration import inpaint_biharmonic

from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.cohort.standardise import standardise, standardise_file
from braindiffusion.cohort.store import PreparedVolume
from braindiffusion.editing.inpainting import Inpainting
from braindiffusion.models.condition_tensors import as_condition
from braindiffusion.models.model_cache import cached_model
from braindiffusion.models.registry import find_model
from braindiffusion.regions import regions_of
from braindiffusion.segmentation import load_segmentation_model
from braindiffusion.volume import Volume, load_volume, resample

Mask = NDArray[np.bool_]
Grid = NDArray[np.float32]
LOBES = ("frontal cortex", "parietal cortex", "temporal cortex", "occipital cortex")
MARGIN = 4


def bounding_box(mask: Mask) -> tuple[slice, ...]:
    """Return the bounding box of a mask with a margin."""
    (found,) = ndimage.find_objects(ndimage.binary_dilation(mask, iterations=MARGIN).astype(int))
    return found


def ellipsoid(brain: Mask, rng: np.random.Generator, spacing: float) -> Mask:
    inner = np.argwhere(ndimage.binary_erosion(brain, iterations=5))
    centre = inner[rng.integers(len(inner))]
    axes = rng.uniform(10, 20, 3) / spacing
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    places = np.moveaxis(np.indices(brain.shape), 0, -1) - centre
    return (((places @ turn) / axes) ** 2).sum(-1) < 1


def lobe(regions: NDArray[np.uint8], names: dict[str, int], number: int, spacing: float) -> Mask:
    """Return a lobe's cortex on one side, closed, so that it holds the white matter of its gyri."""
    side = ("left", "right")[number % 2]
    cortex = regions == names[f"{side} {LOBES[number // 2 % 4]}"]
    closed = ndimage.binary_closing(np.pad(cortex, 4), iterations=2)[4:-4, 4:-4, 4:-4]
    inner = np.argwhere(cortex)
    centre = inner[np.random.default_rng(number).integers(len(inner))]
    places = np.moveaxis(np.indices(closed.shape), 0, -1) - centre
    return closed & (np.sqrt((places**2).sum(-1)) * spacing < 30)


def linear(volume: Grid, hole: Mask) -> Grid:
    border = ndimage.binary_dilation(hole, iterations=2) & ~hole
    filled = volume.copy()
    values = LinearNDInterpolator(np.argwhere(border), volume[border])(np.argwhere(hole))
    filled[hole] = np.where(np.isnan(values), volume[border].mean(), values)
    return filled


def biharmonic(volume: Grid, hole: Mask) -> Grid:
    where = bounding_box(hole)
    filled = volume.copy()
    filled[where] = inpaint_biharmonic(volume[where], hole[where], split_into_regions=True).clip(0, 1)
    return filled


def seam(volume: Grid, hole: Mask) -> float:
    total = count = 0.0
    for axis in range(3):
        a, b = (np.take(hole, range(i, hole.shape[axis] - 1 + i), axis) for i in (0, 1))
        border = a != b
        total += np.abs(np.diff(volume, axis=axis))[border].sum()
        count += border.sum()
    return total / count


def detail(volume: Grid, hole: Mask) -> float:
    return float(np.abs(ndimage.laplace(volume))[ndimage.binary_erosion(hole)].mean())


def scores(made: Grid, real: Grid, hole: Mask) -> dict[str, float]:
    mse = float(((made - real)[hole] ** 2).mean())
    _, similarity = structural_similarity(
        made, real, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    return {
        "PSNR": -10 * np.log10(mse), "SSIM": float(similarity[hole].mean()), "MSE": mse,
        "seam": seam(made, hole) / seam(real, hole),
        "detail": detail(made, hole) / detail(real, hole),
    }  # fmt: skip


def main(
    ixi: Annotated[Path, typer.Argument(help="Folder with IXI-T1 and labels.")],
    lesions: Annotated[Path, typer.Argument(help="Folder with masks and patient07.")],
    brains: Annotated[int, typer.Option(help="Held-out brains.")] = 8,
    skip: Annotated[int, typer.Option(help="Leave out so many.")] = 0,
    model: Annotated[str, typer.Option(help="Name or path.")] = "ixi-2mm",
    variants: Annotated[str, typer.Option(help="Ways of the model, with commas.")] = "plain,segmented",
    kinds: Annotated[str, typer.Option(help="Kinds of holes.")] = "ellipsoid,lobe,lesions",
    baselines: Annotated[bool, typer.Option(help="Measure the baselines, too.")] = True,
) -> None:
    """Print the table."""
    generator = cached_model(find_model(model), torch.device("cpu"))
    settings = Preprocessing(**generator.card.preprocessing)
    from braindiffusion.regions import REGIONS

    names = {region.name: region.index for region in REGIONS}

    def prepared(subject: str) -> PreparedVolume:
        return standardise_file(
            ixi / "IXI-T1" / f"{subject}-T1.nii.gz", ixi / "labels" / f"{subject}-T1_DLMUSE.nii.gz", settings
        )

    held_out = generator.card.split.validation[skip : skip + brains]
    mean = np.zeros(generator.shape, np.float32)
    if baselines:
        train = generator.card.split.train[::6]
        mean = np.mean([(prepared(one).volume[0].astype(np.float32) + 1) / 2 for one in train], axis=0)
    patient = load_volume(lesions / "patient07" / "patient07_space-MNI_T1w.nii.gz")
    patient_brain = Volume((patient.data > 0).astype(np.uint8), patient.affine, {"kind": "labels"})
    box = standardise(patient, settings, patient_brain)
    masks = sorted((lesions / "masks").glob("*.nii.gz"))
    segmentation = load_segmentation_model()
    rows: dict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)

    def sampled(volume: Grid, hole: Mask, regions: NDArray[np.uint8] | None, **options) -> Grid:
        clean = torch.from_numpy(volume * 2 - 1)[None, None]
        resampling, window, seeds = (options.pop(key, 1) for key in ("resampling", "window", "seeds"))
        edit = Inpainting(generator, clean, torch.from_numpy(hole), resampling=resampling)
        condition = None
        if regions is not None:
            condition = as_condition(generator.conditions, {"regions": regions}, generator.shape, batch=seeds)
        *_, step = generator.sample(
            list(range(seeds)),
            condition=condition,
            hooks=[edit.window, edit] if window else [edit],
            edit_band=edit.edit_band,
            **options,
        )
        made = (step.volume().mean(0)[0].numpy() + 1) / 2
        return np.where(hole, made, volume)

    def segmented(volume: Grid) -> NDArray[np.uint8]:
        return segmentation.predict(volume * 2 - 1).regions

    for number, subject in enumerate(held_out, start=skip):
        one = prepared(subject)
        real = (one.volume[0].astype(np.float32) + 1) / 2
        brain, regions = one.mask, regions_of(one.labels.astype(np.int64))
        rng = np.random.default_rng(number)
        drawn: dict[str, Callable[[], Mask]] = {
            "ellipsoid": lambda brain=brain, rng=rng: ellipsoid(brain, rng, generator.spacing),
            "lobe": lambda regions=regions, number=number: lobe(regions, names, number, generator.spacing),
            "lesions": lambda number=number: resample(
                load_volume(masks[number]), box.affine, generator.shape
            ).data[0] > 0.25,
        }  # fmt: skip
        for kind in kinds.split(","):
            hole = drawn[kind]() & brain
            holed = np.where(hole, 0, real).astype(np.float32)
            made: dict[str, Grid] = {}
            if baselines:
                made |= {"mean brain": np.where(hole, mean, real), "linear": linear(holed, hole)}
                made["biharmonic"] = biharmonic(holed, hole)
            for variant in variants.split(",") if variants else []:
                begun = perf_counter()
                way, *extra = variant.split(":")
                options = {key: int(value) for key, value in (pair.split("=") for pair in extra)}
                if way == "plain":
                    made[variant] = sampled(holed, hole, None, **options)
                elif way == "true":
                    made[variant] = sampled(holed, hole, regions, **options)
                elif way == "segmented":
                    made[variant] = sampled(holed, hole, segmented(linear(holed, hole)), **options)
                elif way == "partial":
                    known = segmented(linear(holed, hole))
                    made[variant] = sampled(holed, hole, np.where(hole, np.uint8(255), known), **options)
                elif way == "twice":
                    first = made.get("plain")
                    first = sampled(holed, hole, None) if first is None else first
                    made[variant] = sampled(holed, hole, segmented(first), **options)
                print(f"  {variant} {perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
            for name, volume in made.items():
                rows[kind, name].append(scores(volume.astype(np.float32), real, hole) | {"ml": hole.sum() * 0.008})
            print(subject, kind, f"{hole.sum() * 0.008:.1f} ml", {n: round(rows[kind, n][-1]["PSNR"], 2) for n in made},
                  file=sys.stderr, flush=True)  # fmt: skip
    writer = csv.writer(sys.stdout, delimiter="\t")
    columns = ("ml", "PSNR", "SSIM", "MSE", "seam", "detail")
    writer.writerow(("hole", "method", "brains", *columns))
    for (kind, name), found in rows.items():
        means = [np.mean([row[column] for row in found]) for column in columns]
        writer.writerow((kind, name, len(found), *(f"{value:.4g}" for value in means)))


if __name__ == "__main__":
    typer.run(main)
