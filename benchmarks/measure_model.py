"""What a model's brains are like beside held-out ones: spectrum, volume, and whether they are copies.

    braindiffusion prepare .../IXI-T1 --labels .../labels --participants .../participants.tsv --out ixi.zarr
    python benchmarks/measure_model.py ixi.zarr --count 8

The split is that of the card. A first look with small numbers and no intervals: a full evaluation is another matter.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from braindiffusion.cohort.store import Cohort
from braindiffusion.generation.sample import sample_cascade
from braindiffusion.model import load_model

Brains = NDArray[np.float32]
BINS = 10


def spectrum(brains: Brains) -> NDArray[np.float64]:
    """Mean power of (n, x, y, z) in BINS rings of spatial frequency, up to Nyquist (0.5 cycles a voxel)."""
    power = (np.abs(np.fft.fftn(brains, axes=(1, 2, 3))) ** 2).mean(0)
    frequencies = np.meshgrid(*(np.fft.fftfreq(n) for n in power.shape), indexing="ij")
    ring = np.floor(np.sqrt(sum(f**2 for f in frequencies)) * 2 * BINS).astype(int)
    sums = np.bincount(ring.ravel(), power.ravel())[:BINS]
    return sums / np.bincount(ring.ravel())[:BINS]


def nearest(brains: Brains, others: Brains) -> NDArray[np.float64]:
    """Root mean square distance of each brain to the nearest of the others, at 8 mm (for voxels of 2 mm)."""

    def low(volumes: Brains) -> NDArray[np.float64]:
        n, x, y, z = volumes.shape
        blocks = volumes.reshape(n, x // 4, 4, y // 4, 4, z // 4, 4)
        return blocks.mean((2, 4, 6), dtype=np.float64).reshape(n, -1)

    a, b = low(brains), low(others)
    return np.array([np.sqrt(((b - one) ** 2).mean(1)).min() for one in a])


def main(
    cohort: Annotated[Path, typer.Argument(help="The prepared cohort that the model was trained on.")],
    model: Annotated[str, typer.Option(help="Packaged name or path.")] = "ixi-2mm",
    count: Annotated[int, typer.Option(help="Brains to generate, seeds from 0.")] = 8,
) -> None:
    """Print the figures."""
    cascade, card = load_model(model)
    cascade.to(memory_format=torch.channels_last_3d)
    store = Cohort.open(cohort)
    row = {subject.id: i for i, subject in enumerate(store.subjects)}

    def brains(part: str) -> Brains:
        return np.stack([np.asarray(store.volumes[row[name]], np.float32)[0] for name in card["split"][part]])

    made = []
    for seed in range(count):
        *_, last = sample_cascade(cascade, [seed])
        made.append(last.volume()[0, 0].numpy())
    generated, training, held_out = np.stack(made), brains("train"), brains("validation")

    decibel = 10 * np.log10(spectrum(generated) / spectrum(held_out))
    print("power, generated over held-out, dB by ring of spatial frequency up to Nyquist:")
    print("  " + " ".join(f"{value:+.1f}" for value in decibel))
    for name, group in (("generated", generated), ("held out", held_out)):
        litres = (group > -0.8).sum((1, 2, 3)) * store.preprocessing.spacing**3 / 1e6
        print(f"brain volume, {name}: {litres.mean():.2f} +- {litres.std():.2f} l")
    print(f"nearest training brain of generated: median {np.median(nearest(generated, training)):.3f}")
    print(f"nearest training brain of held out: median {np.median(nearest(held_out, training)):.3f}")


if __name__ == "__main__":
    typer.run(main)
