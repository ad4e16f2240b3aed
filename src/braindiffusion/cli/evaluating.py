"""The command that says how good generated brains are."""

from pathlib import Path
from typing import Annotated

import typer

from braindiffusion.cli import working
from braindiffusion.cli.drive import drive, finish
from braindiffusion.runs import EvaluateRequest


def evaluate(
    real: Annotated[
        list[Path], typer.Option(help="Prepared cohort (.zarr), folder of volumes, or a volume (repeatable).")
    ],
    generated: Annotated[list[Path], typer.Option(help="The same, or a run of generate (repeatable).")],
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("report"),
    model: Annotated[
        str | None,
        typer.Option(help="Its card tells who was trained on; by default the packaged one that the sidecars name."),
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Folder of region label maps of the real volumes.")] = None,
    reader: Annotated[
        str, typer.Option(help="Measures regions, age and embedding: auto, none, a name or a path.")
    ] = "auto",
    features: Annotated[
        list[Path] | None,
        typer.Option(help="More features: .csv, .npz, .npy, or weights of MedicalNet or RadImageNet (repeatable)."),
    ] = None,
    pairs: Annotated[int, typer.Option(help="Pairs of brains for diversity, in each group.")] = 100,
    repeats: Annotated[int, typer.Option(help="Repetitions of every bootstrap.")] = 500,
    seed: Annotated[int, typer.Option(help="Of every draw.")] = 0,
    name: working.RunName = None,
) -> None:
    """Compare generated brains with real ones: `OUT/report.html` and `OUT/evaluation.json`."""
    request = working.make(
        EvaluateRequest,
        real=tuple(path.absolute() for path in real),
        generated=tuple(path.absolute() for path in generated),
        out=out.absolute(),
        model=model and working.whole_name(model),
        labels=labels and labels.absolute(),
        reader=working.whole_name(reader),
        features=tuple(path.absolute() for path in features or ()),
        pairs=pairs,
        repeats=repeats,
        seed=seed,
    )
    finish(drive(working.new_run(request, name)))
