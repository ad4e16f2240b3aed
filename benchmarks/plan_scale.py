"""Plan a training on many volumes from what a few cost here: storage, preprocessing, training, price.

    python benchmarks/plan_scale.py cohort.zarr T1w.nii.gz ... --volumes 50000

The store gives the bytes of a volume, and each file is preprocessed into its box, in processor seconds. Operations of
the networks are counted, not run. Hours of a GPU follow from them by a throughput that is assumed, as are the passes
and the price. Prints a Markdown table that says which is which.
"""

import argparse
import sys
import time
from pathlib import Path

import torch
from torch._subclasses import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from braindiffusion.cohort.standardise import standardise_file
from braindiffusion.cohort.store import Cohort
from braindiffusion.conditions import ConditionSchema
from braindiffusion.models.cascade import Cascade
from braindiffusion.training.presets import preset


def bytes_of(cohort: Cohort) -> float:
    """Bytes on the disk for each subject of a store."""
    return sum(path.stat().st_size for path in cohort.path.rglob("*") if path.is_file()) / len(cohort)


def seconds_of(files: list[Path], cohort: Cohort) -> float:
    """Processor seconds to read a volume, resample it and cut out its box; the first imports what it needs."""
    how = cohort.preprocessing.model_copy(update={"skull": "keep"})
    begun = 0.0
    for number, path in enumerate([files[0], *files]):
        if number == 1:
            begun = time.process_time()
        standardise_file(path, None, how)
    return (time.process_time() - begun) / len(files)


def operations_of(cohort: Cohort, name: str) -> list[float]:
    """Floating-point operations of a training step on one sample of each level, three times those of a forward pass.

    A sample is a patch where the level learns from patches, else a whole volume.
    """
    how = cohort.preprocessing
    recipe = preset(name)
    found = []
    with FakeTensorMode():
        cascade = Cascade(recipe.cascade(how.shape, how.spacing, cohort.volumes.shape[1], ConditionSchema()))
        for number, config in enumerate(cascade.config.levels):
            level = cascade.level(number)
            grid = [min(side, config.patch or side) for side in level.grid]
            coarse = torch.empty(1, 1, *grid) if level.has_coarse else None
            noise = torch.empty(1)
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                x, where = torch.empty(1, level.outputs, *grid), torch.empty(1, 3, *grid)
                level(x, noise, coarse, noise if level.has_coarse else None, where)
            found.append(3.0 * counter.get_total_flops())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("store", type=Path, help="a prepared cohort of the resolution that is planned")
    parser.add_argument("files", type=Path, nargs="+", help="volumes that are preprocessed to measure it")
    parser.add_argument("--volumes", type=int, default=50_000)
    parser.add_argument("--preset", default="gpu-80gb")
    parser.add_argument("--passes", type=float, default=40, help="samples of each volume, at each level")
    parser.add_argument("--cores", type=int, default=64)
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument(
        "--tflops", type=float, default=200.0, help="what a GPU reaches: an H100 in bfloat16 peaks at 990"
    )
    parser.add_argument("--price", type=float, default=3.0, help="of a GPU for an hour")
    given = parser.parse_args()
    cohort = Cohort.open(given.store)
    size, seconds = bytes_of(cohort), seconds_of(given.files, cohort)
    operations = operations_of(cohort, given.preset)
    hours = sum(operations) * given.volumes * given.passes / (given.tflops * 1e12) / 3600
    box, spacing = " x ".join(map(str, cohort.preprocessing.shape)), cohort.preprocessing.spacing
    per_level = ", ".join(f"{one / 1e12:.2f}" for one in operations)
    raw = sum(path.stat().st_size for path in given.files) / len(given.files)
    rows = [
        ("raw volume", f"{raw / 1e6:.1f} MB", f"measured on {len(given.files)}"),
        ("prepared volume", f"{size / 1e6:.2f} MB", f"measured on {len(cohort)}, {box} voxels of {spacing:g} mm"),
        (f"prepared cohort of {given.volumes:,}", f"{size * given.volumes / 1e9:,.0f} GB", "extrapolated"),
        ("preprocessing a volume", f"{seconds:.1f} s of one core", f"measured on {len(given.files)}"),
        (
            f"preprocessing all on {given.cores} cores",
            f"{seconds * given.volumes / given.cores / 3600:.1f} hours",
            "extrapolated",
        ),
        ("a training step on a sample, by level", f"{per_level} TFLOP", f"counted, preset {given.preset}"),
        (
            f"training, {given.passes:g} samples of each volume a level",
            f"{hours:,.0f} GPU hours",
            f"at {given.tflops:g} TFLOP/s: assumed",
        ),
        (f"on {given.gpus} GPUs", f"{hours / given.gpus:,.0f} hours", "without loss to communication: assumed"),
        ("price", f"{hours * given.price:,.0f}", f"at {given.price:g} for a GPU hour: assumed"),
    ]
    lines = ["| | | |", "|---|---|---|", *("| " + " | ".join(row) + " |" for row in rows)]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
