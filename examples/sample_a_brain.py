"""Load a model and generate brains: `python examples/sample_a_brain.py --count 2`.

In memory, one line suffices: `brain = braindiffusion.load_model("ixi-2mm").sample(seed=0)`.
"""

from pathlib import Path
from typing import Annotated

import typer

import braindiffusion


def main(
    model: Annotated[str, typer.Option(help="Name of a packaged model, or path of a model or a training run.")] = (
        "ixi-2mm"
    ),
    count: Annotated[int, typer.Option(help="Number of brains.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the first brain; the next ones follow.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for the volumes.")] = Path("generated"),
) -> None:
    """Generate brains as NIfTI files with JSON sidecars, and print their shapes."""
    for path in braindiffusion.generate(out, model, count, seed=seed):
        volume = braindiffusion.load_volume(path)
        print(f"{path}: {volume.shape} voxels of {volume.spacing} mm")


if __name__ == "__main__":
    typer.run(main)
