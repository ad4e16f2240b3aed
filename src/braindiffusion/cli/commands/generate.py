"""The command `generate`: new brains, or the same one again."""

from pathlib import Path
from typing import Annotated

import typer

from braindiffusion.cli import runner
from braindiffusion.cli.options import Options, RunName, option, takes
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.generation.condition_args import from_table
from braindiffusion.runs.command import flags
from braindiffusion.runs.requests import GenerateRequest, RegenerateRequest

Reproduce = Annotated[Path | None, option(RegenerateRequest, "like")]
Asked = GenerateRequest | RegenerateRequest


@takes(GenerateRequest)
def generate(
    options: Options[GenerateRequest], context: typer.Context, like: Reproduce = None, name: RunName = None
) -> None:
    """Generate brains: `OUT/sample_001.nii.gz` ... with a JSON sidecar each.

    The same command continues after an interruption. Under torchrun or srun the processes share the samples.
    """
    runner.perform_request(requested(options, context, like), name)


def requested(options: Options[GenerateRequest], context: typer.Context, like: Path | None) -> Asked:
    """Return what is asked for: brains, as many as a table of conditions has rows, or one brain again.

    Raises:
        BrainDiffusionError: the table cannot be read, or something is asked for that the sidecar decides.
    """
    given = [
        str(one.name)
        for one in context.command.params
        if (source := context.get_parameter_source(str(one.name))) is not None and source.name == "COMMANDLINE"
    ]
    if like is None:
        table = options.values["conditions"]
        if table is None or "num_samples" in given:
            return options.request()
        return options.request(num_samples=len(from_table(table)))
    for field in given:
        if field not in {*RegenerateRequest.model_fields, "name"}:
            flag, ours = flags(GenerateRequest, field)[0], flags(RegenerateRequest, "like")[0]
            raise BrainDiffusionError(f"{ours} generates the very same brain again: leave {flag} out.")
    values = {name: options.values[name] for name in ("out", "device", "previews", "overwrite")}
    return Options(RegenerateRequest, {**values, "like": like}).request()
