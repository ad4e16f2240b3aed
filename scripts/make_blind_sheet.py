"""Draw generated and held-out brains in three planes, shuffled, and write into another file which is which.

    braindiffusion generate --num-samples 12 --seed 100 --out generated
    python scripts/make_blind_sheet.py --generated generated --cohort ixi.zarr

writes `docs/pictures/blind_sheet.png` and `docs/blind_sheet_key.tsv`. Generated brains are the first of the folder by
name, real ones are drawn by the seed from the subjects that the model never saw. All are drawn in the same way: from
the same grid, through the centre of the bounding box of the brain, with their own contrast limits. Look first, note
your answers, then open the key.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from make_pictures import TALL, grey_planes
from PIL import Image, ImageDraw

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.evaluation.groups import choose_real_groups
from braindiffusion.evaluation.sources import Source, find_brains
from braindiffusion.files import write_whole
from braindiffusion.models.registry import DEFAULT_MODEL
from braindiffusion.volume import Volume

COLUMNS = 4
GAP = 12
WIDTH = 3 * TALL  # pixels of one brain


def draw(brains: list[Source]) -> Image.Image:
    """Return a table of numbered brains, three planes each."""
    rows = -(-len(brains) // COLUMNS)
    columns = min(COLUMNS, len(brains))
    picture = Image.new("L", (columns * (WIDTH + GAP) - GAP, rows * (TALL + GAP) - GAP), 0)
    pen = ImageDraw.Draw(picture)
    for number, source in enumerate(brains):
        brain = source.read()
        row, column = divmod(number, COLUMNS)
        left, top = column * (WIDTH + GAP), row * (TALL + GAP)
        affine = np.diag([brain.spacing] * 3 + [1.0])
        for plane, cut in enumerate(grey_planes(Volume(brain.voxels[None], affine))):
            picture.paste(cut, (left + plane * TALL + (TALL - cut.width) // 2, top + (TALL - cut.height) // 2))
        pen.text((left + 4, top + 4), str(number + 1), fill=255, font_size=16)
    return picture


def main(
    generated: Annotated[Path, typer.Option(help="Folder of generated brains.")],
    cohort: Annotated[Path, typer.Option(help="Preprocessed cohort with the held-out subjects.")],
    model: Annotated[str, typer.Option(help="Name or path of the model, whose card has the split.")] = DEFAULT_MODEL,
    count: Annotated[int, typer.Option(help="Brains of each kind.")] = 12,
    seed: Annotated[int, typer.Option(help="Seed of the drawn people and of the order.")] = 0,
    sheet: Annotated[Path, typer.Option(help="The picture to write.")] = Path("docs/pictures/blind_sheet.png"),
    key: Annotated[Path, typer.Option(help="The table to write.")] = Path("docs/blind_sheet_key.tsv"),
) -> None:
    """Draw a blind sheet and write its key."""
    groups = choose_real_groups((cohort,), None, model)
    made = find_brains((generated,), groups.preprocessing)
    if min(len(made), len(groups.held_out)) < count:
        raise BrainDiffusionError(
            f"There are {len(made)} generated and {len(groups.held_out)} held-out brains: {count} of each are needed."
        )
    rng = np.random.default_rng(seed)
    real = [groups.held_out[i] for i in rng.choice(len(groups.held_out), count, replace=False)]
    kinds = [("generated", one) for one in made[:count]] + [("real", one) for one in real]
    shuffled = [kinds[i] for i in rng.permutation(len(kinds))]
    sheet.parent.mkdir(parents=True, exist_ok=True)
    draw([source for _, source in shuffled]).save(sheet, optimize=True)
    lines = [f"{number}\t{kind}\t{source.name}" for number, (kind, source) in enumerate(shuffled, start=1)]
    write_whole(key, "\n".join(["number\tkind\tname", *lines]) + "\n")
    print(f"Written: {sheet}, {key}")


if __name__ == "__main__":
    typer.run(main)
