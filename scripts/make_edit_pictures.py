"""Draw the pictures of the pages on editing: `python scripts/make_edit_pictures.py`.

writes into `docs/pictures` what each operation makes of packaged scans, in one row: `regenerated.png`, `changed.png`,
`finer.png`, `varied.png` and `interpolated.png`. Slices go through the middle of what is edited; no proposal is chosen,
the first is of seed 0. With a patient's folder (`patient07` with its lesion masks beside it), `anomaly_map.png` and
`contrasts.png`.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

import braindiffusion
from braindiffusion.example_data import sample_labels_path, sample_t1_path
from braindiffusion.regions import region_index, regions_of
from braindiffusion.volume import Volume, load_volume, save_volume

CELL, TITLE = 230, 22
COARSE_MM = 4.0
RADIUS_MM = 14.0
SPREADS = 6.0
CONTRASTS = ("T1w", "T2w", "FLAIR", "T1w with contrast agent")


def slice_of(volume: Volume, plane: float, limits: tuple[float, float]) -> Image.Image:
    """Return an axial slice in grey, one height for all; `plane` is its height in mm."""
    z = round(float((np.linalg.inv(volume.affine) @ [0, 0, plane, 1])[2]))
    data = volume.data[0][..., z].astype(np.float32)
    grey = ((data - limits[0]) / (limits[1] - limits[0])).clip(0, 1) * 255
    upright = Image.fromarray(np.ascontiguousarray(grey.astype(np.uint8).T[::-1]))
    x, y, _ = np.array(volume.shape) * volume.spacing
    return upright.resize((round(CELL * x / y), CELL), Image.Resampling.NEAREST)


def limits_of(volume: Volume) -> tuple[float, float]:
    """Return the contrast limits of a skull-stripped scan, from its background."""
    return float(volume.data[0, 0, 0, 0]), float(np.percentile(volume.data, 99.9))


def row(cells: Sequence[tuple[str, Image.Image]], path: Path) -> None:
    """Write pictures side by side, each under its title."""
    whole = Image.new("RGB", (sum(cell.width + 6 for _, cell in cells) - 6, CELL + TITLE))
    pen, left = ImageDraw.Draw(whole), 0
    for title, cell in cells:
        pen.text((left + 5, 3), title, fill=(230,) * 3, font_size=13)
        whole.paste(cell.convert("RGB"), (left, TITLE))
        left += cell.width + 6
    path.parent.mkdir(parents=True, exist_ok=True)
    whole.save(path, optimize=True)
    print(f"Written: {path}")


def middle(marked: NDArray[np.bool_], volume: Volume) -> float:
    """Return the height in mm of the slice with most of what is marked."""
    z = int(marked.sum((0, 1)).argmax())
    return float((volume.affine @ [0, 0, z, 1])[2])


def regenerated(out: Path, work: Path) -> None:
    """A ball in the left hemisphere is regenerated three times."""
    scan = load_volume(sample_t1_path())
    regions = regions_of(load_volume(sample_labels_path()).data[0])
    cortex = np.argwhere(regions == region_index("left frontal cortex"))
    centre = cortex[np.abs(cortex - cortex.mean(0)).sum(1).argmin()]
    places = np.moveaxis(np.indices(scan.shape), 0, -1)
    hole = np.sqrt((((places - centre) * scan.spacing) ** 2).sum(-1)) < RADIUS_MM
    save_volume(Volume(hole[None].astype(np.uint8), scan.affine, {"kind": "labels"}), work / "mask.nii.gz")
    paths = braindiffusion.edit(sample_t1_path(), work / "mask.nii.gz", work / "regenerated", num_proposals=3)
    plane, limits = middle(hole, scan), limits_of(scan)
    holed = replace(scan, data=np.where(hole, limits[1], scan.data))
    cells = [("scan", scan), ("painted", holed)]
    cells += [(f"proposal {number}", load_volume(path)) for number, path in enumerate(paths, 1)]
    row([(name, slice_of(volume, plane, limits)) for name, volume in cells], out / "regenerated.png")


def changed(out: Path, work: Path) -> None:
    """The same brain at other ages, with detail that is generated."""
    scan = load_volume(sample_t1_path())
    cells = [("scan", scan)]
    for age in (20, 50, 80):
        how = {"change": {"age": age}, "condition": {"sex": "F"}}
        (path,) = braindiffusion.edit(sample_t1_path(), None, work / str(age), **how)
        cells.append((f"age {age}", load_volume(path)))
    ventricle = regions_of(load_volume(sample_labels_path()).data[0]) == region_index("left lateral ventricle")
    plane, limits = middle(ventricle, scan), limits_of(scan)
    row([(name, slice_of(volume, plane, limits)) for name, volume in cells], out / "changed.png")


def varied(out: Path, work: Path) -> None:
    """The same brain with other detail, three times."""
    paths = braindiffusion.edit(sample_t1_path(), None, work / "varied", num_proposals=3)
    scan = load_volume(sample_t1_path())
    cells = [("scan", scan), *((f"variation {number}", load_volume(path)) for number, path in enumerate(paths, 1))]
    row([(name, slice_of(volume, 10, limits_of(scan))) for name, volume in cells], out / "varied.png")


def interpolated(out: Path, work: Path) -> None:
    """The anatomy of the one with the detail of the other, and the reverse."""
    one, other = sample_t1_path(0), sample_t1_path(1)
    scans = load_volume(one), load_volume(other)
    mixed = [
        load_volume(braindiffusion.edit(*pair, second=second)[0])
        for pair, second in (((one, None, work / "a"), other), ((other, None, work / "b"), one))
    ]
    names = ("first", "the first, second's detail", "the second, first's detail", "second")
    cells = zip(names, (scans[0], *mixed, scans[1]), strict=True)
    row([(name, slice_of(volume, 10, limits_of(volume))) for name, volume in cells], out / "interpolated.png")


def finer(out: Path, work: Path) -> None:
    """A scan averaged to large voxels, interpolated and generated."""
    scan = load_volume(sample_t1_path())
    times = round(COARSE_MM / scan.spacing[0])
    x, y, z = (n // times * times for n in scan.shape)
    blocks = scan.data[0][:x, :y, :z].astype(np.float32).reshape(x // times, times, y // times, times, -1, times)
    affine = scan.affine @ np.diag([times, times, times, 1.0])
    affine[:3, 3] = (scan.affine @ [*((times - 1) / 2,) * 3, 1])[:3]
    coarse = Volume(blocks.mean((1, 3, 5))[None], affine)
    save_volume(coarse, work / "coarse.nii.gz")
    (path,) = braindiffusion.edit(work / "coarse.nii.gz", None, work / "finer", super_resolution=True)
    smooth = ndimage.zoom(coarse.data[0], times, order=3, mode="nearest", grid_mode=True)
    spline = Volume(smooth[None], scan.affine)
    names = (f"scan of {COARSE_MM:g} mm", "cubic B-spline", "generated", f"the real one, {scan.spacing[0]:g} mm")
    cells = zip(names, (coarse, spline, load_volume(path), scan), strict=True)
    row([(name, slice_of(volume, 10, limits_of(scan))) for name, volume in cells], out / "finer.png")


def anomaly_map(out: Path, patient: Path) -> None:
    """A patient's scan, the expert's lesions, and the map."""
    scan = load_volume(patient / "patient07_space-MNI_T1w.nii.gz")
    lesions = load_volume(patient.parent / "masks" / "patient07_lesions_space-MNI.nii.gz").data[0] > 0
    found = braindiffusion.anomaly(patient / "patient07_space-MNI_T1w.nii.gz")
    plane = middle(lesions, scan)
    grey = slice_of(scan, plane, limits_of(scan))
    marked = grey.convert("RGB")
    marked.paste((213, 94, 0), mask=slice_of(replace(scan, data=lesions[None].astype(float)), plane, (0, 1)))
    cells = [
        ("scan", grey),
        ("lesions of the expert", marked),
        (f"map, {-SPREADS:g} to {SPREADS:g} spreads", slice_of(found, plane, (-SPREADS, SPREADS))),
    ]
    row(cells, out / "anomaly_map.png")


def contrasts(out: Path, patient: Path) -> None:
    """The four contrasts of a patient, as the channels that a model learns."""
    files = [patient / f"patient07_space-MNI_{name}.nii.gz" for name in ("T1w", "T2w", "FLAIRw", "T1POSTw")]
    volumes = [load_volume(path) for path in files]
    row(
        [(name, slice_of(one, 20, limits_of(one))) for name, one in zip(CONTRASTS, volumes, strict=True)],
        out / "contrasts.png",
    )


OF_SAMPLES: tuple[Callable[[Path, Path], None], ...] = (regenerated, finer, changed, varied, interpolated)
OF_PATIENT: tuple[Callable[[Path, Path], None], ...] = (anomaly_map, contrasts)


def main(
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("docs/pictures"),
    patient: Annotated[Path | None, typer.Option(help="Folder of patient07.")] = None,
    only: Annotated[str, typer.Option(help="Names of pictures, with commas; by default all.")] = "",
) -> None:
    """Draw the pictures."""
    chosen = set(only.split(",")) if only else {one.__name__ for one in (*OF_SAMPLES, *OF_PATIENT)}
    with tempfile.TemporaryDirectory() as folder:
        for draw in OF_SAMPLES:
            if draw.__name__ in chosen:
                draw(out, Path(folder))
    for draw in OF_PATIENT:
        if patient is not None and draw.__name__ in chosen:
            draw(out, patient)


if __name__ == "__main__":
    typer.run(main)
