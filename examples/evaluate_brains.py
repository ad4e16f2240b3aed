"""Are generated brains any good, and are they copies: `python examples/evaluate_brains.py REAL GENERATED`.

Both are prepared cohorts or folders of volumes; a report is written, and its targets are printed.
"""

from pathlib import Path
from typing import Annotated

import typer

import braindiffusion


def main(
    real: Annotated[Path, typer.Argument(help="Prepared cohort, or folder of volumes.")],
    generated: Annotated[Path, typer.Argument(help="Folder that `generate` wrote.")],
    model: Annotated[str | None, typer.Option(help="The model that made them: tells whom it was trained on.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("report"),
) -> None:
    """Compare two sets of brains."""
    report = braindiffusion.evaluate(real, generated, out=out, model=model)
    for target in report.targets:
        print(f"{target.outcome:<14}{target.target}")
    print(out / "report.html")


if __name__ == "__main__":
    typer.run(main)
