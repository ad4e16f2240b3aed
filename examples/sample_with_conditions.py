"""Ask for a brain: `python examples/sample_with_conditions.py --age 70 --sex F`.

Without a wish it tells what the model can be asked for.
"""

from pathlib import Path
from typing import Annotated

import typer

import braindiffusion


def main(
    age: Annotated[float | None, typer.Option(help="Years.")] = None,
    sex: Annotated[str | None, typer.Option(help="F or M.")] = None,
    guidance: Annotated[float, typer.Option(help="1 is what was learnt, more exaggerates.")] = 1.5,
    seed: Annotated[int, typer.Option(help="The same seed with another age keeps the rest comparable.")] = 0,
    model: Annotated[str, typer.Option(help="A packaged model's name, or path of a model or a training run.")] = (
        "ixi-2mm"
    ),
    out: Annotated[Path, typer.Option(help="The volume.")] = Path("asked.nii.gz"),
) -> None:
    """Make one brain as it is asked for."""
    chosen = braindiffusion.load_model(model)
    asked = {name: value for name, value in {"age": age, "sex": sex}.items() if value is not None}
    if not asked:
        print(f"{chosen.name} can be asked for:")
        for name, choices in chosen.conditions.items():
            print(f"  {name}: {choices}")
        return
    brain = chosen.sample(seed=seed, guidance=guidance, **asked)
    braindiffusion.save_volume(brain, out)
    print(f"{asked}: {out}")


if __name__ == "__main__":
    typer.run(main)
