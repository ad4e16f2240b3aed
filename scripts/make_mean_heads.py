"""Make `src/braindiffusion/example_data/mean_heads.npz`: mean head and mean brain, templates for orientation.

    python scripts/make_mean_heads.py IXI-2MM src/braindiffusion/example_data/mean_heads.npz

IXI-2MM is a folder with `IXI-T1/` and `labels/`, every label map on the grid of its volume. Every second volume is
used, so that the others can test the result.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from scipy import fft, ndimage

from braindiffusion.cohort.mask import brain_mask
from braindiffusion.cohort.qc.downsample import downsample
from braindiffusion.cohort.qc.orientation import GRID_MM, peak, place, stretch, unit
from braindiffusion.volume import load_volume

ROUNDS = 3  # each aligns all heads to the mean of the previous round


def mean(heads: list[np.ndarray]) -> np.ndarray:
    """Return the mean of heads (40, 40, 40), each aligned by a translation of whole voxels, centred."""
    middle = np.array(heads[0].shape) // 2
    moved = [np.roll(head, middle - np.rint(ndimage.center_of_mass(head)).astype(int), (0, 1, 2)) for head in heads]
    for _ in range(ROUNDS):
        template = np.conj(fft.rfftn(unit(np.mean(moved, 0))))
        shifts = [np.rint(peak(fft.irfftn(fft.rfftn(unit(head)) * template, s=head.shape))) for head in heads]
        moved = [np.roll(head, -shift.astype(int), (0, 1, 2)) for head, shift in zip(heads, shifts, strict=True)]
    return np.mean(moved, 0)


def main(
    source: Annotated[Path, typer.Argument(help="Folder with IXI-T1 and labels.")],
    out: Annotated[Path, typer.Argument(help="The file to write.")],
    every: Annotated[int, typer.Option(help="Use every n-th volume.")] = 2,
) -> None:
    """Compute and write the means."""
    heads, brains = [], []
    for path in sorted((source / "IXI-T1").iterdir())[::every]:
        (label_path,) = (source / "labels").glob(f"{path.name.removesuffix('.nii.gz')}*")
        volume, labels = load_volume(path), load_volume(label_path)
        brain = volume.data[0] * brain_mask(labels.data[0], 2)
        for data, kind in ((volume.data[0], heads), (brain, brains)):
            kind.append(place(stretch(downsample(data, volume.spacing, GRID_MM)))[0])
    means = np.stack([mean(heads), mean(brains)])
    np.savez_compressed(out, heads=(means * 255).round().clip(0, 255).astype(np.uint8))


if __name__ == "__main__":
    typer.run(main)
