"""Build the normative table of a model: mean and spread of its residual in its training subjects.

    python scripts/build_normative.py build/ixi-2mm.zarr --model build/ixi-2mm/best

Takes the training subjects of the model's card from the cohort. One takes eight seconds on one core.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.progress import track

from braindiffusion.cohort.mask import brain_mask
from braindiffusion.cohort.store import Cohort
from braindiffusion.editing.anomaly import NOISE_LEVELS, Person, residuals, score
from braindiffusion.editing.normative import class_statistics, fit_normative, save_normative
from braindiffusion.models.model_cache import cached_model
from braindiffusion.models.registry import find_model
from braindiffusion.segmentation import load_segmentation_model


def main(
    data: Annotated[Path, typer.Argument(help="The cohort, on the model's grid.")],
    model: Annotated[str, typer.Option(help="Folder or name of the model.")],
    every: Annotated[int, typer.Option(help="Take every n-th training subject.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Folder of the table; that of the model by default.")] = None,
) -> None:
    """Write normative.json into the model's folder."""
    cohort, folder = Cohort.open(data), find_model(model)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)  # before the work of minutes
    generator, segmentation = cached_model(folder, torch.device("cpu")), load_segmentation_model()
    training = set((generator.card.split.train or [])[::every])
    rows = [row for row, subject in enumerate(cohort.subjects) if subject.id in training]
    closing = cohort.preprocessing.closing_mm / cohort.preprocessing.spacing
    people, seen = [], []
    for row in track(rows, description="Residuals"):
        subject, box = cohort.subjects[row], np.asarray(cohort.volumes[row], np.float32)
        regions = segmentation.predict(box[0]).regions
        brain = brain_mask(regions, closing)
        person = Person(regions, subject.age, subject.sex)
        condition = person.condition(generator)
        found = list(residuals(generator, torch.from_numpy(box)[None], condition, torch.from_numpy(brain), (0,)))
        residual = torch.stack(found).mean(0)[0, 0].numpy()
        people.append(class_statistics(residual, regions, brain, subject.age, subject.sex))
        seen.append((residual.astype(np.float16), regions, brain, subject.age, subject.sex))
    table = fit_normative(people, NOISE_LEVELS, cohort.preprocessing.spacing)
    scores = [score(table.normalised(*one), one[2], table.spacing) for one in seen]
    path = save_normative(table.model_copy(update={"scores": tuple(round(one, 2) for one in scores)}), out or folder)
    typer.echo(f"{path}: {len(people)} subjects, {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    typer.run(main)
