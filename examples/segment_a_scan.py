"""Segment a T1w scan into regions: `python examples/segment_a_scan.py scan.nii.gz`.

Writes a label map and a page that shows it, and prints the volume of every region. With `--labels`, an existing label
map (DLMUSE) is used instead of the segmentation model.
"""

from pathlib import Path
from typing import Annotated

import typer

import braindiffusion
from braindiffusion import Volume
from braindiffusion.example_data import sample_t1_path
from braindiffusion.regions import REGIONS, group, volumes_ml


def main(
    scan: Annotated[Path | None, typer.Argument(help="A T1w volume; a sample by default.")] = None,
    labels: Annotated[Path | None, typer.Option(help="Its DLMUSE label map.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for label map and page.")] = Path("regions"),
) -> None:
    """Segment a scan and show its regions."""
    brain = braindiffusion.load_volume(scan or sample_t1_path())
    if labels is None:
        regions = braindiffusion.segment(brain)
        sizes = regions.metadata["volumes_ml"]
        print(f"brain age: {regions.metadata['age']:.0f} years")
    else:
        grouped = group(braindiffusion.load_volume(labels).data[0])
        regions = Volume(grouped[None], brain.affine, {"kind": "labels"})
        side = float(brain.spacing[0] * brain.spacing[1] * brain.spacing[2]) ** (1 / 3)
        sizes = {region.name: volumes_ml(grouped, side)[region.index] for region in REGIONS[1:]}
    braindiffusion.save_volume(regions, out / "regions.nii.gz")
    braindiffusion.show(brain, regions=regions, path=out / "regions.html")
    for name, size in sizes.items():
        print(f"{name:<32}{size:8.1f} ml")


if __name__ == "__main__":
    typer.run(main)
