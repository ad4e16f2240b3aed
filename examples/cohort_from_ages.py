"""Generate a cohort from a table of conditions: `python examples/cohort_from_ages.py --table ages.csv`.

Without a table, it generates women and men from 20 to 80 years. The columns of a table are conditions of the model (see
sample_with_conditions.py); each row is a brain.
"""

import csv
from pathlib import Path
from typing import Annotated

import typer

import braindiffusion
from braindiffusion.generation.condition_args import from_table


def write_ages(path: Path) -> None:
    """Write a table with a row for each decade and sex."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["age", "sex"])
        writer.writerows((age, sex) for age in range(20, 90, 10) for sex in ("F", "M"))


def main(
    table: Annotated[Path | None, typer.Option(help="`.csv` or `.tsv`, a row for each brain.")] = None,
    model: Annotated[str, typer.Option(help="A model that was trained with conditions.")] = "ixi-2mm",
    seed: int = 0,
    out: Annotated[Path, typer.Option(help="Folder for the volumes.")] = Path("cohort_from_ages"),
) -> None:
    """Generate a brain for each row of a table."""
    if table is None:
        out.mkdir(parents=True, exist_ok=True)
        table = out / "ages.csv"
        write_ages(table)
    rows = from_table(table)
    paths = braindiffusion.generate(out, model, len(rows), conditions=table.absolute(), seed=seed)
    for path, row in zip(paths, rows, strict=True):
        print(f"{path}: {row}")


if __name__ == "__main__":
    typer.run(main)
