"""Whether a table of embeddings drives generation: embed brains, train on the table, generate, embed what came out.

    python benchmarks/measure_decoding.py .../ixi-2mm

What is prepared and the table stay in the folder `decoding` (or --work): another call takes them.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

import braindiffusion as bd
from braindiffusion.cohort.find import find
from braindiffusion.cohort.store import Cohort
from braindiffusion.segmentation.files import load_segmentation_model
from braindiffusion.training.plan import rows_of

NAME = "embedding"


def main(
    ixi: Annotated[Path, typer.Argument(help="Folder with IXI-T1 and labels.")],
    work: Annotated[Path, typer.Option(help="Folder for everything that is written.")] = Path("decoding"),
    subjects: Annotated[int, typer.Option(help="Subjects, the held-out ones included.")] = 60,
    held_out: Annotated[int, typer.Option(help="Subjects that are not trained on, whose embedding is decoded.")] = 12,
    preset: Annotated[str, typer.Option(help="Preset of the training.")] = "tiny",
    epochs: Annotated[float, typer.Option(help="Passes over the training subjects.")] = 20,
    levels: Annotated[int | None, typer.Option(help="Train and sample only so many levels, from the coarsest.")] = 3,
    guidance: Annotated[float, typer.Option(help="Guidance scale.")] = 1.0,
) -> None:
    """Print the correlation by dimension of asked and generated embedding, beside a shuffled baseline."""
    data, labels = ixi / "IXI-T1", ixi / "labels"
    chosen = tuple(item.subject for item in find(data, labels=labels) if not item.problem)[:subjects]
    segmentation = load_segmentation_model()
    plain = work / "plain.zarr"
    if not plain.exists():
        bd.prepare(data, plain, labels=labels, subjects=chosen)
    cohort = Cohort.open(plain)
    real = np.stack([segmentation.predict(np.asarray(v[0], np.float32)).embedding for v in cohort.volumes])
    table = work / f"{NAME}.tsv"
    lines = ["\t".join(["participant_id", *(f"e{n:03d}" for n in range(real.shape[1]))])]
    lines += ["\t".join([one.id, *map(str, row)]) for one, row in zip(cohort.subjects, real, strict=True)]
    table.write_text("\n".join(lines) + "\n")
    cohort = bd.prepare(data, plain, labels=labels, subjects=chosen, table=[table])  # nothing is prepared twice
    _, aside = rows_of(cohort, held_out)
    only = None if levels is None else tuple(range(levels))
    model = bd.train(plain, preset, conditions=(NAME,), epochs=epochs, validation_subjects=held_out, levels=only)
    made = []
    for number, row in enumerate(aside):
        asked = f"{table}#{cohort.subjects[row].id}"
        brain = model.sample(seed=number, condition={NAME: asked}, guidance=guidance)
        made.append(segmentation.predict(brain.data[0] * 2 - 1).embedding)
    report(real[aside], np.stack(made))


def report(asked: NDArray[np.float32], found: NDArray[np.float32], shuffles: int = 200) -> None:
    """Print correlations over brains, for each dimension, and whether the nearest asked embedding is the right one."""
    by_dimension = correlations(asked, found)
    rng = np.random.default_rng(0)
    shuffled = np.array([correlations(asked, found[rng.permutation(len(found))]) for _ in range(shuffles)])
    print(f"{len(asked)} held-out embeddings of {asked.shape[1]} dimensions, decoded and read back")
    quartiles = ", ".join(f"{q:.2f}" for q in np.nanquantile(by_dimension, (0.05, 0.25, 0.5, 0.75, 0.95)))
    print(f"correlation by dimension, at 5, 25, 50, 75, 95 %: {quartiles}")
    medians = np.nanmedian(shuffled, axis=1)
    print(f"  median {np.nanmedian(by_dimension):.2f}; shuffled {np.mean(medians):.2f}, "
          f"95 % of shuffles below {np.quantile(medians, 0.95):.2f}")  # fmt: skip
    above = np.nanmean(by_dimension > np.nanquantile(shuffled, 0.95, axis=0))
    print(f"  dimensions above 95 % of their own shuffles: {above:.0%} (chance 5%)")
    a, b = (x - x.mean(0) for x in (asked, found))
    cosine = (a @ b.T) / np.linalg.norm(a, axis=1)[:, None] / np.linalg.norm(b, axis=1)
    ranks = (cosine > np.diag(cosine)).sum(0) + 1
    print(f"  rank of the asked embedding among {len(asked)} by cosine: mean {ranks.mean():.1f} "
          f"(chance {(len(asked) + 1) / 2:.1f})")  # fmt: skip
    print("  ".join(f"{n:03d}:{r:+.2f}" for n, r in enumerate(by_dimension)))


def correlations(asked: NDArray[np.float32], found: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return Pearson's correlation of each column."""
    a, b = (np.asarray(x, np.float64) - x.mean(0) for x in (asked, found))
    with np.errstate(invalid="ignore"):
        return np.asarray((a * b).sum(0) / np.sqrt((a**2).sum(0) * (b**2).sum(0)))


if __name__ == "__main__":
    typer.run(main)
