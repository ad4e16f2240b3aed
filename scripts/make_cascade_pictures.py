"""Draw the pictures that explain the cascade: bands, levels, patches, and the sampling trajectory.

    python scripts/make_cascade_pictures.py

writes `cascade-bands.png`, `cascade-levels.png`, `cascade-patches.png` and `cascade-trajectory.png` into docs/pictures.
The real brain is the first packaged one, the generated one is that of the seed: nothing is selected by hand.
"""

import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from braindiffusion import prepare
from braindiffusion.example_data import samples_dir
from braindiffusion.models.cascade.cascade import Cascade
from braindiffusion.models.cascade.files import load_cascade
from braindiffusion.models.cascade.sampling import CascadeStep, sample_cascade
from braindiffusion.models.cascade.wavelet import haar
from braindiffusion.models.registry import DEFAULT_MODEL, find_model
from braindiffusion.training.patches import patch_centres

PIXELS = 3  # per voxel
LINE = 18
GREY = 200
SHOWN_STEPS = 5  # of each level
PATCHES = 4  # drawn for each level
BANDS = ("coarse", "z", "y", "y z", "x", "x z", "x y", "x y z")  # the axes that each band differences


def cut(volume: NDArray[np.float32], axis: int, low: float, high: float, height: int) -> Image.Image:
    """Return a central slice, upright, in grey, with a height in pixels."""
    plane = np.clip((volume.take(volume.shape[axis] // 2, axis=axis) - low) / (high - low), 0, 1) * 255
    upright = Image.fromarray(np.ascontiguousarray(plane.T[::-1]).astype(np.uint8))
    return upright.resize((round(upright.width * height / upright.height), height), Image.Resampling.NEAREST)


def table(rows: list[list[Image.Image]], beside: list[str], above: list[str] | None = None) -> Image.Image:
    """Return a table of pictures with names of rows and columns."""
    pen = ImageDraw.Draw(Image.new("L", (1, 1)))
    left = max(round(pen.textlength(line, font_size=13)) for text in beside for line in text.split("\n")) + 16
    width, height = max(p.width for row in rows for p in row) + 4, max(p.height for row in rows for p in row) + 4
    top = LINE + 6 if above else 0
    sheet = Image.new("L", (left + width * max(map(len, rows)), top + height * len(rows)))
    pen = ImageDraw.Draw(sheet)
    for column, text in enumerate(above or []):
        pen.text((left + column * width + width // 2, 4), text, fill=GREY, font_size=13, anchor="ma")
    for number, (row, text) in enumerate(zip(rows, beside, strict=True)):
        y = top + number * height
        pen.text((8, y + height // 2), text, fill=GREY, font_size=13, anchor="lm")
        for column, picture in enumerate(row):
            corner = left + column * width + (width - picture.width) // 2, y + (height - picture.height) // 2
            sheet.paste(picture, corner)
    return sheet


def bands_picture(brain: torch.Tensor) -> Image.Image:
    """Return the bands of a brain at three scales: each row decomposes the coarse band of the row above.

    Args:
        brain: (1, 1, x, y, z) in [-1, 1].
    """
    rows, names = [], []
    height = brain.shape[-1] * PIXELS * 2 // 3
    while brain.shape[-1] > 11:
        bands = haar(brain)[0, :, 0].numpy()
        spread = float(np.abs(bands[1:]).max()) / 3
        details = [cut(band, 1, -spread, spread, height) for band in bands[1:]]
        rows.append([cut(bands[0], 1, bands[0].min(), bands[0].max(), height), *details])
        names.append(" x ".join(map(str, bands.shape[1:])))
        brain = haar(brain)[:, 0]
    return table(rows, names, list(BANDS))


def real_levels(cascade: Cascade, brain: torch.Tensor) -> list[NDArray[np.float32]]:
    """Return the real brain at the resolution of each level."""
    config = cascade.config
    seen = []
    for level in range(config.number_of_levels):
        band, halvings = brain, config.depth - level
        for _ in range(halvings):
            band = haar(band)[:, 0]
        seen.append(CascadeStep(level, 1, 1, 0.0, band, band.clone, halvings).smooth()[0, 0].numpy())
    return seen


def levels_picture(cascade: Cascade, steps: list[CascadeStep], brain: torch.Tensor) -> Image.Image:
    """Return a generated and a real brain after each level."""
    generated = [step.smooth()[0, 0].numpy() for step in steps if step.step == step.of]
    rows = [
        [cut(volume, 0, -1, 1, volume.shape[2] * PIXELS) for volume in volumes]
        for volumes in (generated, real_levels(cascade, brain))
    ]
    spacing = cascade.config.spacing
    edges = [spacing * 2 ** (cascade.config.depth - level) for level in range(len(generated))]
    return table(rows, ["generated", "real"], [f"level {n}: {edge:g} mm" for n, edge in enumerate(edges)])


def patches_picture(cascade: Cascade, brain: torch.Tensor, inside: torch.Tensor, seed: int) -> Image.Image:
    """Return training patches of each level, drawn into a brain.

    Args:
        cascade: the model.
        brain: (1, 1, x, y, z) in [-1, 1].
        inside: (x, y, z), true in the brain.
        seed: of the draws.
    """
    height = brain.shape[-1] * PIXELS
    rng = np.random.default_rng(seed)
    row, names = [], []
    for level, config in enumerate(cascade.config.levels):
        edge = 2 ** cascade.config.halvings(level)  # voxels of a site
        grid = cascade.config.grid(level)
        size = tuple(min(config.patch or n, n) for n in grid)
        share = torch.nn.functional.avg_pool3d(inside[None, None].float(), edge)[0, 0]
        picture = cut(brain[0, 0].numpy(), 1, -1, 1, height)
        pen = ImageDraw.Draw(picture)
        centres = patch_centres(share, size)
        for centre in centres[rng.integers(len(centres), size=PATCHES)] if config.patch else ():
            x, z = ((centre[axis] - size[axis] // 2) * edge * PIXELS for axis in (0, 2))
            wide, high = (size[axis] * edge * PIXELS for axis in (0, 2))
            pen.rectangle((x, height - z - high, x + wide - 1, height - z - 1), outline=255, width=2)
        millimetres = " x ".join(f"{n * edge * cascade.config.spacing:g}" for n in size)
        row.append(picture)
        names.append(f"level {level}: {millimetres} mm" if config.patch else f"level {level}: whole volume")
    return table([row], [""], names)


def trajectory_picture(steps: list[CascadeStep]) -> Image.Image:
    """Return the denoised estimate at some steps of every level, with their noise levels."""
    rows, names = [], []
    for level in range(steps[-1].level + 1):
        own = [step for step in steps if step.level == level]
        chosen = [own[n] for n in np.linspace(0, len(own) - 1, SHOWN_STEPS).round().astype(int)]
        row = []
        for step in chosen:
            volume = step.smooth()[0, 0].numpy()
            picture = cut(volume, 1, -1, 1, volume.shape[2] * PIXELS)
            ImageDraw.Draw(picture).text((4, 2), f"noise {step.sigma:.2g}", fill=GREY, font_size=12)
            row.append(picture)
        rows.append(row)
        names.append(f"level {level}\n{own[0].of} steps")
    return table(rows, names)


def main(
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("docs/pictures"),
    model: Annotated[str, typer.Option(help="Name of a packaged model, or a path.")] = DEFAULT_MODEL,
    seed: Annotated[int, typer.Option(help="Seed of the generated brain and the patches.")] = 0,
) -> None:
    """Draw the pictures."""
    out.mkdir(parents=True, exist_ok=True)
    cascade, card = load_cascade(find_model(model))
    with tempfile.TemporaryDirectory() as folder:
        samples = samples_dir()
        wanted = {name: card.preprocessing[name] for name in ("spacing", "shape")}
        cohort = prepare(samples / "IXI-T1", Path(folder) / "one.zarr", labels=samples / "labels", workers=1, **wanted)
        brain = torch.from_numpy(np.asarray(cohort.volumes[0], dtype=np.float32))[None]
        inside = torch.from_numpy(np.asarray(cohort.masks[0]) > 0)
    steps = list(sample_cascade(cascade, [seed]))
    pictures = {
        "bands": bands_picture(brain),
        "levels": levels_picture(cascade, steps, brain),
        "patches": patches_picture(cascade, brain, inside, seed),
        "trajectory": trajectory_picture(steps),
    }
    for name, picture in pictures.items():
        path = out / f"cascade-{name}.png"
        picture.quantize(64, dither=Image.Dither.NONE).save(path, optimize=True)
        print(f"Written: {path}")


if __name__ == "__main__":
    typer.run(main)
