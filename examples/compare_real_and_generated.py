"""Show real and generated brains side by side: `python examples/compare_real_and_generated.py real.nii.gz made.nii.gz`.

Without volumes, it uses a packaged scan and the example of the packaged model. evaluate_brains.py compares many
brains by numbers.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

import braindiffusion
from braindiffusion.example_data import sample_t1_path


def size_in_litres(volume: braindiffusion.Volume) -> float:
    """Return the volume brighter than a tenth of the maximum: the brain, in a skull-stripped scan."""
    data = volume.data[0]
    return float((data > 0.1 * np.percentile(data, 99.9)).sum() * np.prod(volume.spacing) / 1e6)


def main(
    volumes: Annotated[list[Path] | None, typer.Argument(help="Two to four skull-stripped volumes.")] = None,
    out: Annotated[Path, typer.Option(help="Page to write; .png and .svg work too.")] = Path("comparison.html"),
) -> None:
    """Write a page with linked surfaces and slices."""
    paths = volumes or [sample_t1_path(), braindiffusion.load_model().path / "example.nii.gz"]
    for path in paths:
        volume = braindiffusion.load_volume(path)
        print(f"{path.name}: {volume.shape} voxels of {volume.spacing} mm, {size_in_litres(volume):.2f} l")
    braindiffusion.show(*paths, title="the same position in each brain", path=out)
    print(out)


if __name__ == "__main__":
    typer.run(main)
