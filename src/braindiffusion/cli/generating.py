"""The commands that make brains."""

from pathlib import Path
from typing import Annotated

import typer

from braindiffusion.cli import working
from braindiffusion.cli.drive import drive, finish
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.generation.condition_args import from_flags, from_table
from braindiffusion.generation.reproduce import request_from_sidecar
from braindiffusion.models.registry import DEFAULT_MODEL
from braindiffusion.runs import DemoRequest, GenerateRequest

WITH_LIKE = ("like", "out", "device", "name")


def generate(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Option(
            "--model-path", "--model", help="A packaged model's name, or path of a model, checkpoint or training run."
        ),
    ] = DEFAULT_MODEL,
    num_samples: Annotated[
        int | None, typer.Option(help="How many brains; 1, or as many as the table has rows, by default.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Sample i has seed SEED + i, however many are asked for.")] = 0,
    out: Annotated[
        Path, typer.Option(help="Folder of the volumes. What this request has made there already is not made again.")
    ] = Path("generated"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make again what is there already.")] = False,
    like: Annotated[
        Path | None, typer.Option(help="JSON sidecar of a brain: make the very same again; it tells all else.")
    ] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option(
            help="FIELD=VALUE (repeatable): age=63, sex=F, 'volumes.left hippocampus=90%', regions=labels.nii.gz. "
            "`braindiffusion models NAME` tells what a model can be asked for."
        ),
    ] = None,
    conditions: Annotated[
        Path | None,
        typer.Option(help="Table (.csv, .tsv) with a column a field and a row a sample."),
    ] = None,
    guidance: Annotated[float, typer.Option(help="Scale: 1 is as learnt, 2 exaggerates what is asked for.")] = 1.0,
    guidance_interval: Annotated[
        tuple[float, float] | None, typer.Option(help="Only between these noise levels.")
    ] = None,
    guidance_rescale: Annotated[
        float, typer.Option(help="0 to 1: how much of the changed contrast is given back.")
    ] = 0.0,
    guidance_field: Annotated[list[str] | None, typer.Option(help="Guide by this field alone (repeatable).")] = None,
    autoguidance: Annotated[
        str | None,
        typer.Option(help="Guide away from this weaker model, such as an earlier checkpoint."),
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(help="ddim, ddpm, dpmpp_2m, heun or euler_flow; the model's own by default."),
    ] = None,
    steps: Annotated[
        list[int] | None,
        typer.Option(help="Sampler steps at every level, or once for each level; the model's own by default."),
    ] = None,
    levels: Annotated[
        int | None, typer.Option(help="Run only so many levels, coarse first: blurred brains, soon.")
    ] = None,
    eta: Annotated[float, typer.Option(help="DDIM's: 0 deterministic, 1 ancestral.")] = 0.0,
    batch_size: Annotated[int, typer.Option(help="Brains made at once.")] = 1,
    only: Annotated[
        list[int] | None,
        typer.Option(help="Write only the sample of this number (repeatable)."),
    ] = None,
    previews: Annotated[bool, typer.Option("--previews", help="Write previews while it goes on.")] = False,
    trajectory: Annotated[
        bool, typer.Option("--trajectory", help="Keep the way from noise to brain (4D NIfTI).")
    ] = False,
    device: working.Device = "auto",
    precision: working.Precisely = working.Precision.AUTO,
    name: working.RunName = None,
) -> None:
    """Make brains: `OUT/sample_001.nii.gz` ... with a JSON sidecar each.

    Stopped in the middle, the same command goes on. Under torchrun or srun the processes share the brains out.
    """
    if like is not None:
        _only_with_like(context)
        request = request_from_sidecar(like, out.absolute()).model_copy(update={"device": device})
    else:
        rows = len(from_table(conditions)) if conditions else 1
        request = working.make(
            GenerateRequest,
            model=working.whole_name(model),
            num_samples=rows if num_samples is None else num_samples,
            seed=seed,
            condition=from_flags(condition or ()),
            conditions=conditions and conditions.absolute(),
            guidance=guidance,
            guidance_interval=guidance_interval,
            guidance_rescale=guidance_rescale,
            guidance_fields=tuple(guidance_field) if guidance_field else None,
            autoguidance=autoguidance and working.whole_name(autoguidance),
            sampler=sampler,
            steps=tuple(steps) if steps else None,
            levels=levels,
            eta=eta,
            batch_size=batch_size,
            only=tuple(only) if only else None,
            out=out.absolute(),
            overwrite=overwrite,
            previews=previews,
            trajectory=trajectory,
            device=device,
            precision=precision.value,
        )
    finish(drive(working.new_run(request, name)))


def _only_with_like(context: typer.Context) -> None:
    """Raise where something is asked for that the sidecar decides."""
    for parameter in context.command.params:
        source = context.get_parameter_source(str(parameter.name))
        if source is not None and source.name == "COMMANDLINE" and parameter.name not in WITH_LIKE:
            raise BrainDiffusionError(f"--like makes the very same brain again: leave {parameter.opts[0]} out.")


def demo(
    out: Annotated[Path, typer.Option(help="Folder of the volumes.")] = Path("demo"),
    seed: int = 0,
    name: working.RunName = None,
) -> None:
    """Make one brain with the packaged model, with its way from noise to brain."""
    request = working.make(DemoRequest, out=out.absolute(), seed=seed)
    finish(drive(working.new_run(request, name)))
