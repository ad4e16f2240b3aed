"""Make the picture of the README: three planes of generated brains beside three planes of real ones.

    python examples/make_pictures.py --out docs/pictures

Each brain is cut where its own bounding box is halved, and scaled by its own brightest percentile: nothing is picked
by hand.
"""

import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image, ImageDraw

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.jobs import perform
from braindiffusion.pretrained import DEFAULT_MODEL
from braindiffusion.runs import Failed, GenerateRequest, Run
from braindiffusion.samples import sample_t1_path
from braindiffusion.volume import Volume, load_volume

TALL = 208  # pixels, and mm, of a cell: the box that holds any adult brain is 160 x 208 x 176 mm
TITLE = 26


def generate(model: str, count: int, seed: int, folder: Path) -> list[Volume]:
    """Brains of a model, made by the same job as everywhere."""
    run = Run.create(GenerateRequest(model=model, num_samples=count, seed=seed, out=folder / "volumes"), root=folder)
    for event in perform(run):
        if isinstance(event, Failed):
            raise BrainDiffusionError(event.message)
    return [load_volume(path) for path in sorted((folder / "volumes").glob("sample_*.nii.gz"))]


def planes(volume: Volume) -> list[Image.Image]:
    """Sagittal, coronal and axial cut through the middle of the brain, a pixel a millimetre, upright."""
    data = volume.data[0].astype(np.float32)
    background = data.min()
    brain = data > background + 0.05 * (np.percentile(data, 99.9) - background)
    bounds = [np.flatnonzero(brain.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    data = data[tuple(slice(b[0], b[-1] + 1) for b in bounds)]
    grey = np.clip((data - background) / (np.percentile(data, 99.5) - background) * 255, 0, 255).astype(np.uint8)
    cuts = []
    for axis in range(3):
        cut = grey.take(grey.shape[axis] // 2, axis=axis)
        right, up = (volume.spacing[other] for other in range(3) if other != axis)
        size = round(cut.shape[0] * right), round(cut.shape[1] * up)
        cuts.append(Image.fromarray(np.ascontiguousarray(cut.T[::-1])).resize(size, Image.Resampling.BICUBIC))
    return cuts


def sheet(title: str, volumes: list[Volume]) -> Image.Image:
    """One column a brain, one row a plane, the title above."""
    picture = Image.new("L", (TALL * len(volumes), TITLE + 3 * TALL))
    ImageDraw.Draw(picture).text((8, 4), title, fill=255, font_size=16)
    for column, volume in enumerate(volumes):
        for row, cut in enumerate(planes(volume)):
            corner = column * TALL + (TALL - cut.width) // 2, TITLE + row * TALL + (TALL - cut.height) // 2
            picture.paste(cut, corner)
    return picture


def main(
    out: Annotated[Path, typer.Option(help="Folder of the pictures.")] = Path("docs/pictures"),
    model: Annotated[str, typer.Option(help="A packaged model's name, or a model's path.")] = DEFAULT_MODEL,
    count: Annotated[int, typer.Option(help="Brains of each kind.")] = 4,
    seed: Annotated[int, typer.Option(help="Seed of the first generated brain; the others follow.")] = 0,
    real: Annotated[list[Path] | None, typer.Option(help="Skull-stripped volumes; the samples by default.")] = None,
) -> None:
    """Make docs/pictures/real_vs_generated.png."""
    paths = real or [sample_t1_path(index) for index in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        made = generate(model, count, seed, Path(folder))
    left, right = (
        sheet(f"generated ({model}, seeds {seed} to {seed + count - 1})", made),
        sheet("real (IXI)", [load_volume(path) for path in paths[:count]]),
    )
    both = Image.new("L", (left.width + 12 + right.width, left.height), 96)
    both.paste(left, (0, 0))
    both.paste(right, (left.width + 12, 0))
    out.mkdir(parents=True, exist_ok=True)
    both.save(out / "real_vs_generated.png", optimize=True)
    print(f"Written: {out / 'real_vs_generated.png'}")


if __name__ == "__main__":
    typer.run(main)
