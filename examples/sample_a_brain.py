"""Load a model and make brains: `python examples/sample_a_brain.py --count 2`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from braindiffusion import load_volume
from braindiffusion.jobs import perform
from braindiffusion.pretrained import DEFAULT_MODEL
from braindiffusion.runs import Finished, GenerateRequest, Run


def main(
    model: Annotated[str, typer.Option(help="A packaged model's name, or path of a model or a training run.")] = (
        DEFAULT_MODEL
    ),
    count: Annotated[int, typer.Option(help="How many brains.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the first; the others follow.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder of the volumes.")] = Path("generated"),
) -> None:
    """Make brains, and look at what was written."""
    run = Run.create(GenerateRequest(model=model, num_samples=count, seed=seed, out=out.absolute()))
    *_, last = perform(run)
    if not isinstance(last, Finished):
        raise SystemExit(last.message)
    for number in range(1, count + 1):
        volume = load_volume(out / f"sample_{number:03d}.nii.gz")
        sidecar = json.loads((out / f"sample_{number:03d}.json").read_text())
        print(f"seed {sidecar['seed']}: {volume.shape} voxels of {volume.spacing} mm, {sidecar['steps']} steps")


if __name__ == "__main__":
    typer.run(main)
