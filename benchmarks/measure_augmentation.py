"""Measure what synthetic brains add to the training of a segmentation network on few real ones.

    braindiffusion synthesize --num 200 --bids synthetic
    python benchmarks/measure_augmentation.py ixi.zarr synthetic

Three trainings of the same small U-Net with the same number of steps: on a few real brains of the cohort, on these and
the synthetic ones (every other example is synthetic), and on the synthetic ones alone. Each is tested on people whom
the generative model never saw: Dice of tissues, averaged over people. The real brains are training brains of the
generative model, which had seen more people than the 20 that the network sees: that is the advantage that is measured.
With --second, people of another scanner are tested, too. A folder that `generate --segmentation` wrote can take the
place of the dataset.
"""

import json
from pathlib import Path
from time import perf_counter
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
import typer
from scipy.stats import wilcoxon
from torch import Tensor, nn

from braindiffusion.cohort.store import Cohort
from braindiffusion.evaluation.sources import grouped
from braindiffusion.models.registry import find_model, read_card
from braindiffusion.regions import REGIONS
from braindiffusion.volume import load_volume

CLASSES = ("background", "csf", "cortex", "deep grey", "white", "cerebellum and brainstem")
WINDOW = (32, 32, 32)
WORDS = {"cortex": 2, "white matter": 4, "callosum": 4, "cerebell": 5, "brainstem": 5}


def class_of(name: str, tissue: str) -> int:
    if name == "background":
        return 0
    if tissue == "csf":
        return 1
    found = [value for word, value in WORDS.items() if word in name]
    return found[-1] if found else 3


TABLE = np.array([class_of(region.name, region.tissue) for region in REGIONS])
Brain = tuple[Tensor, Tensor]  # (x, y, z) in [-1, 1], (x, y, z) classes


class SmallUNet(nn.Module):
    """Two levels of a U-Net, 16 and 32 channels."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.first, self.below = self._block(1, width), self._block(width, 2 * width)
        self.last, self.head = self._block(3 * width, width), nn.Conv3d(width, len(CLASSES), 1)

    def _block(self, before: int, width: int) -> nn.Module:
        layers: list[nn.Module] = []
        for channels in (before, width):
            layers += [nn.Conv3d(channels, width, 3, padding=1), nn.InstanceNorm3d(width), nn.ReLU()]
        return nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.first(x)
        coarse = self.below(F.avg_pool3d(fine, 2))
        up = F.interpolate(coarse, scale_factor=2, mode="trilinear", align_corners=False)
        out: Tensor = self.head(self.last(torch.cat((fine, up), 1)))
        return out


def real_brain(cohort: Cohort, row: int) -> Brain:
    regions = grouped(np.asarray(cohort.labels[row]))
    return torch.from_numpy(np.asarray(cohort.volumes[row], np.float32)[0]), torch.from_numpy(TABLE[regions])


def synthetic_brains(folder: Path, most: int) -> list[Brain]:
    """Read the brains of a dataset of `synthesize`, or of a folder of `generate`."""
    pairs = [
        (
            path,
            folder / "derivatives/braindiffusion" / path.parent.relative_to(folder) / f"{path.name[:-11]}_dseg.nii.gz",
        )
        for path in sorted(folder.glob("sub-*/anat/*_T1w.nii.gz"))
    ] or [
        (path, path.with_name(f"{path.name[:-7]}_regions.nii.gz")) for path in sorted(folder.glob("sample_???.nii.gz"))
    ]
    return [
        (
            torch.from_numpy(load_volume(image).data[0].astype(np.float32) * 2 - 1),
            torch.from_numpy(TABLE[load_volume(labels).data[0].astype(int)]),
        )
        for image, labels in pairs[:most]
    ]


def window(brain: Brain, rng: np.random.Generator) -> Brain:
    """Cut a random window around a voxel of brain, mirrored at random, with another brightness and contrast."""
    volume, labels = brain
    inside = torch.nonzero(labels)
    centre = inside[int(rng.integers(len(inside)))].numpy()
    low = [int(np.clip(c - w // 2, 0, n - w)) for c, w, n in zip(centre, WINDOW, volume.shape, strict=True)]
    cut = tuple(slice(a, a + w) for a, w in zip(low, WINDOW, strict=True))
    image, map_ = volume[cut], labels[cut]
    if rng.integers(2):
        image, map_ = image.flip(0), map_.flip(0)
    gain = float(rng.uniform(0.9, 1.1))
    return (image + 1) * gain - 1 + float(rng.normal(0, 0.02)), map_


def train(groups: list[list[Brain]], steps: int, batch: int, seed: int) -> SmallUNet:
    """Train on windows: the examples of a batch are of each group in turn."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = SmallUNet()
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps)
    for step in range(steps):
        chosen = [groups[(step * batch + i) % len(groups)] for i in range(batch)]
        cut = [window(group[int(rng.integers(len(group)))], rng) for group in chosen]
        images, labels = (torch.stack(parts) for parts in zip(*cut, strict=True))
        logits = net(images[:, None])
        hot = F.one_hot(labels, len(CLASSES)).movedim(-1, 1).float()
        shares = logits.softmax(1)
        overlap = 2 * (shares * hot).sum((0, 2, 3, 4)) / (shares + hot).sum((0, 2, 3, 4)).clamp(min=1)
        loss = F.cross_entropy(logits, labels) + 1 - overlap[1:].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net.eval()


@torch.inference_mode()
def scores(net: SmallUNet, people: list[Brain]) -> np.ndarray:
    """Return the Dice of each class but background, (people, classes)."""
    found = []
    for volume, labels in people:
        guess = net(volume[None, None]).argmax(1)[0]
        guess[volume <= -1] = 0  # background of a skull-stripped brain
        pairs = [((guess == c), (labels == c)) for c in range(1, len(CLASSES))]
        found.append([float(2 * (a & b).sum() / max(1, int(a.sum() + b.sum()))) for a, b in pairs])
    return np.array(found)


def main(
    cohort: Annotated[Path, typer.Argument(help="Prepared cohort with label maps that the model was trained on.")],
    synthetic: Annotated[Path, typer.Argument(help="Dataset of `synthesize`, or folder of `generate --segmentation`.")],
    model: Annotated[str, typer.Option(help="The generative model: its card tells who was held out.")] = "ixi-2mm",
    second: Annotated[Path | None, typer.Option(help="Cohort of another scanner, all of whom are tested.")] = None,
    real: Annotated[int, typer.Option(help="Real brains to train on.")] = 20,
    num: Annotated[int, typer.Option(help="Most synthetic brains to train on.")] = 200,
    people: Annotated[int, typer.Option(help="Most held-out people to test on.")] = 30,
    steps: Annotated[int, typer.Option(help="Steps of each training.")] = 1000,
    batch: Annotated[int, typer.Option(help="Windows of a step.")] = 4,
    repeats: Annotated[int, typer.Option(help="Trainings of each kind, each from another seed.")] = 1,
) -> None:
    """Print the Dice with and without synthetic brains."""
    store, card = Cohort.open(cohort), read_card(find_model(model))
    rows = {subject.id: row for row, subject in enumerate(store.subjects)}
    learnt = [real_brain(store, rows[name]) for name in (card.split.train or []) if name in rows][:real]
    tested = {"held-out": [real_brain(store, rows[name]) for name in card.split.validation if name in rows][:people]}
    if second is not None:
        other = Cohort.open(second)
        tested["second scanner"] = [real_brain(other, row) for row in range(min(people, len(other)))]
    made = synthetic_brains(synthetic, num)
    kinds = {"real": [learnt], "real and synthetic": [learnt, made], "synthetic": [made]}
    told: dict[str, object] = {"real": len(learnt), "synthetic": len(made), "steps": steps, "repeats": repeats}
    by_kind: dict[str, dict[str, np.ndarray]] = {}
    for kind, groups in kinds.items():
        begun = perf_counter()
        nets = [train(groups, steps, batch, seed) for seed in range(repeats)]
        by_kind[kind] = {name: np.mean([scores(net, some) for net in nets], 0) for name, some in tested.items()}
        for name, found in by_kind[kind].items():
            by_class = {c: round(float(d), 4) for c, d in zip(CLASSES[1:], found.mean(0), strict=True)}
            told[f"{kind}: {name}"] = {"people": len(found), "mean_dice": round(float(found.mean()), 4), **by_class}
        typer.echo(f"{kind}: {perf_counter() - begun:.0f} s", err=True)
    for name in tested:
        with_, without = (by_kind[kind][name].mean(1) for kind in ("real and synthetic", "real"))
        gain, p = float((with_ - without).mean()), float(wilcoxon(with_, without).pvalue)
        verdict = (
            "helps" if gain > 0 and p < 0.05 else "hurts" if gain < 0 and p < 0.05 else "makes no clear difference"
        )
        told[f"gain: {name}"] = {"mean_dice": round(gain, 4), "p": round(p, 4), "verdict": f"augmentation {verdict}"}
    typer.echo(json.dumps(told, indent=2))


if __name__ == "__main__":
    typer.run(main)
