"""Ask for a brain: `python examples/sample_with_conditions.py --condition age=70 --condition sex=F`.

Without a condition it tells what the model can be asked for.
"""

from pathlib import Path
from typing import Annotated

import typer

from braindiffusion.conditions import ConditionSchema
from braindiffusion.generation.asking import from_flags
from braindiffusion.jobs import perform
from braindiffusion.pretrained import DEFAULT_MODEL, find_model, read_card
from braindiffusion.runs import Finished, GenerateRequest, Run


def main(
    model: Annotated[str, typer.Option(help="A packaged model's name, or path of a model or a training run.")] = (
        DEFAULT_MODEL
    ),
    condition: Annotated[list[str] | None, typer.Option(help="FIELD=VALUE, repeatable; 90% is a percentile.")] = None,
    guidance: Annotated[float, typer.Option(help="1 is what was learnt, more exaggerates.")] = 1.5,
    seed: int = 0,
    out: Annotated[Path, typer.Option(help="Folder of the volume.")] = Path("asked"),
) -> None:
    """Make one brain as it is asked for."""
    schema = ConditionSchema.model_validate(read_card(find_model(model))["configuration"].get("condition", {}))
    if not condition:
        fields = ", ".join(f"{field.name} ({field.kind})" for field in schema.fields)
        print(f"{model} can be asked for: {fields or 'nothing, it was trained without conditions'}.")
        return
    asked = from_flags(condition)
    run = Run.create(GenerateRequest(model=model, condition=asked, guidance=guidance, seed=seed, out=out.absolute()))
    *_, last = perform(run)
    if not isinstance(last, Finished):
        raise SystemExit(last.message)
    print(f"{asked}: {out / 'sample_001.nii.gz'}")


if __name__ == "__main__":
    typer.run(main)
