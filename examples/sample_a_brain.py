"""Load a model and make brains: `python examples/sample_a_brain.py --count 2`.

In memory it is one line: `brain = braindiffusion.load_model("ixi-2mm").sample(seed=0)`.
"""

from pathlib import Path
from typing import Annotated

import typer

import braindiffusion


def main(
    model: Annotated[str, typer.Option(help="A packaged model's name, or path of a model or a training run.")] = (
        "ixi-2mm"
    ),
    count: Annotated[int, typer.Option(help="How many brains.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the first; the others follow.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder of the volumes.")] = Path("generated"),
) -> None:
    """Make brains as NIfTI files, a JSON sidecar beside each, and look at what was written."""
    for path in braindiffusion.generate(out, model, count, seed=seed):
        volume = braindiffusion.load_volume(path)
        print(f"{path}: {volume.shape} voxels of {volume.spacing} mm")


if __name__ == "__main__":
    typer.run(main)
