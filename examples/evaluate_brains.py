"""Evaluate generated brains against real ones: `python examples/evaluate_brains.py REAL GENERATED`.

Both are preprocessed cohorts or folders of volumes. The script writes a report and prints which targets are met.
"""

from pathlib import Path
from typing import Annotated

import typer

import braindiffusion


def main(
    real: Annotated[Path, typer.Argument(help="Preprocessed cohort, or folder of volumes.")],
    generated: Annotated[Path, typer.Argument(help="Folder written by `generate`.")],
    model: Annotated[str | None, typer.Option(help="Their model: its card lists the training subjects.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("report"),
) -> None:
    """Compare generated brains with real ones."""
    report = braindiffusion.evaluate(real, generated, out=out, model=model)
    for target in report.targets:
        print(f"{target.outcome:<14}{target.target}")
    print(out / "report.html")


if __name__ == "__main__":
    typer.run(main)
