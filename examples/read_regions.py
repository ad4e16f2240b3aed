"""Read the regions of a T1w scan: `python examples/read_regions.py scan.nii.gz`.

Writes a label map, a page that shows it, and prints the volume of every region. With `--labels` a label map that is
there already (DLMUSE) is taken instead of the reader.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from braindiffusion import Volume, load_volume, save_volume
from braindiffusion.figures.page import write_figure
from braindiffusion.figures.region_overlay import region_overlay
from braindiffusion.regions import REGIONS, group, volumes_ml
from braindiffusion.samples import sample_t1_path


def main(
    scan: Annotated[Path | None, typer.Argument(help="A T1w volume; a sample by default.")] = None,
    labels: Annotated[Path | None, typer.Option(help="Its DLMUSE label map.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of label map and page.")] = Path("regions"),
) -> None:
    """Read regions, and show them."""
    volume = load_volume(scan or sample_t1_path())
    if labels is None:
        from braindiffusion.reader import load_reader

        reading = load_reader().read_volume(volume)
        print(f"brain age: {reading.age:.0f} years")
        regions = reading.regions
    else:
        regions = group(load_volume(labels).data[0])
    label_map = Volume(regions[None], volume.affine, {"kind": "labels"})
    save_volume(label_map, out / "regions.nii.gz")
    write_figure(region_overlay(volume, label_map), out / "regions.html")
    for region, size in zip(REGIONS, volumes_ml(regions, float(np.prod(volume.spacing)) ** (1 / 3)), strict=True):
        if region.index:
            print(f"{region.name:<32}{size:8.1f} ml")


if __name__ == "__main__":
    typer.run(main)
