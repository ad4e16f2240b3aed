"""Generate a brain with conditions: `python examples/sample_with_conditions.py --age 70 --sex F`.

Without conditions, it lists those of the model.
"""

from pathlib import Path
from typing import Annotated

import typer

import braindiffusion


def main(
    age: Annotated[float | None, typer.Option(help="Years.")] = None,
    sex: Annotated[str | None, typer.Option(help="F or M.")] = None,
    guidance: Annotated[float, typer.Option(help="Guidance scale; 1 is no guidance.")] = 1.5,
    seed: Annotated[int, typer.Option(help="Seed of the brain.")] = 0,
    model: Annotated[str, typer.Option(help="Name of a packaged model, or path of a model or a training run.")] = (
        "ixi-2mm"
    ),
    out: Annotated[Path, typer.Option(help="Volume to write.")] = Path("conditional.nii.gz"),
) -> None:
    """Generate one brain with the given conditions."""
    chosen = braindiffusion.load_model(model)
    conditions = {name: value for name, value in {"age": age, "sex": sex}.items() if value is not None}
    if not conditions:
        print(f"Conditions of {chosen.name}:")
        for name, choices in chosen.conditions.items():
            print(f"  {name}: {choices}")
        return
    brain = chosen.sample(seed=seed, guidance=guidance, **conditions)
    braindiffusion.save_volume(brain, out)
    print(f"{conditions}: {out}")


if __name__ == "__main__":
    typer.run(main)
