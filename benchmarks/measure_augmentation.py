"""Measure what synthetic brains add to the training of a segmentation network on few real ones.

    python benchmarks/measure_augmentation.py ixi.zarr ds002748.zarr --synthetic synthetic

Trainings of the same small U-Net with the same number of steps: on a few real brains of the cohort, and on these and
the synthetic ones (every other example is synthetic). All examples are mirrored, rotated, scaled, deformed elastically,
and varied in brightness, contrast, bias field and noise, as is usual without synthetic brains. With --all-kinds
three more: on the synthetic brains alone, and both kinds without that variation. Brains are averaged to 4 mm and
segmented whole, into ten groups of regions, so that a training ends within minutes on one core.

Without --synthetic, 20 brains (or --num) are synthesized first, into the folder `synthetic`; a second call takes those.

Each is tested on people whom the generative model never saw: Dice of the groups, averaged over people. The real brains
are training brains of the generative model, which had seen more people than the network sees: that is the advantage
that is measured. People of a second scanner are tested, too, if their cohort is given.
"""

import json
from collections import defaultdict
from itertools import product
from pathlib import Path
from time import process_time
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
import typer
from scipy.stats import wilcoxon
from torch import Tensor, nn

import braindiffusion
from braindiffusion.cohort.store import Cohort
from braindiffusion.evaluation.sources import grouped
from braindiffusion.models.registry import find_model, read_card
from braindiffusion.regions import REGIONS
from braindiffusion.training.augment import Warp, augment
from braindiffusion.volume import load_volume

GROUPS = {
    "sulcal csf": ("sulcal csf",),
    "ventricles": ("ventricle",),
    "cerebellar white": ("cerebellar white",),
    "cerebellar cortex": ("cerebell",),
    "cortex": ("cortex",),
    "hippocampus and amygdala": ("hippocampus", "amygdala"),
    "striatum": ("caudate", "putamen", "pallidum"),
    "thalamus": ("thalamus", "diencephalon"),
    "white": ("white matter", "callosum"),
    "brainstem": ("brainstem",),
}
"""Groups of regions, by parts of their names; the first that fits counts."""
CLASSES = ("background", *GROUPS)


def class_of(name: str) -> int:
    words = (number for number, parts in enumerate(GROUPS.values(), 1) if any(part in name for part in parts))
    return 0 if name == "background" else next(words)


TABLE = torch.tensor([class_of(region.name) for region in REGIONS])
AIR, MARGIN = -0.9, 2
NUM = 20
Brain = tuple[Tensor, Tensor]  # (x, y, z) in [-1, 1], (x, y, z) regions


class SmallUNet(nn.Module):
    """A U-Net of two levels on blocks of 2 x 2 x 2 voxels, which are its channels beside their place: fast on a CPU."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.first, self.below = self._layer(8 + 3, width), self._layer(width, 2 * width)
        self.further = self._layer(2 * width, 2 * width)
        self.up, self.last = self._layer(3 * width, width), self._layer(width, width)
        self.head = nn.Conv3d(width, 8 * len(CLASSES), 1)

    def _layer(self, before: int, width: int) -> nn.Module:
        return nn.Sequential(nn.Conv3d(before, width, 3, padding=1), nn.InstanceNorm3d(width), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[2:]
        x = F.pad(x, [part for side in reversed(size) for part in (0, -side % 4)], value=-1)
        a, b, c = (side // 2 for side in x.shape[2:])
        blocks = x.reshape(-1, a, 2, b, 2, c, 2).permute(0, 2, 4, 6, 1, 3, 5).reshape(-1, 8, a, b, c)
        place = torch.stack(torch.meshgrid(*(torch.linspace(-1, 1, n) for n in (a, b, c)), indexing="ij"))
        fine = self.first(torch.cat((blocks, place.expand(len(x), -1, -1, -1, -1)), 1))
        coarse = self.further(self.below(F.avg_pool3d(fine, 2)))
        fine = self.last(self.up(torch.cat((fine, F.interpolate(coarse, scale_factor=2)), 1)))
        out = self.head(fine).reshape(-1, len(CLASSES), 2, 2, 2, a, b, c).permute(0, 1, 5, 2, 6, 3, 7, 4)
        return out.reshape(-1, len(CLASSES), 2 * a, 2 * b, 2 * c)[..., : size[0], : size[1], : size[2]]


def coarser(volume: np.ndarray, regions: np.ndarray, factor: int) -> Brain:
    """Average a brain (x, y, z) in [-1, 1], cut out with a margin; a voxel is of the region that most of it is of."""
    image = F.avg_pool3d(torch.from_numpy(np.asarray(volume, np.float32))[None], factor)[0]
    cells = torch.arange(image.numel()).reshape(image.shape)
    for axis in range(3):
        cells = cells.repeat_interleave(factor, axis)
    number = image.numel() * len(REGIONS)
    counts = torch.bincount((cells * len(REGIONS) + torch.from_numpy(regions)).flatten(), minlength=number)
    named = counts.reshape(*image.shape, len(REGIONS)).argmax(-1).to(torch.uint8)
    there = (image > AIR).nonzero()
    low, high = (there.amin(0) - MARGIN).clamp(min=0), there.amax(0) + 1 + MARGIN
    cut = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return image[cut], named[cut]


def real_brain(cohort: Cohort, row: int, voxel: float) -> Brain:
    regions = grouped(np.asarray(cohort.labels[row]))
    return coarser(np.asarray(cohort.volumes[row])[0], regions, round(voxel / cohort.preprocessing.spacing))


def synthetic_brains(folder: Path, most: int | None, voxel: float) -> list[Brain]:
    """Read the brains of a dataset of `synthesize`, or of a folder of `generate`; None reads all."""
    pairs = [
        (
            path,
            folder / "derivatives/braindiffusion" / path.parent.relative_to(folder) / f"{path.name[:-11]}_dseg.nii.gz",
        )
        for path in sorted(folder.glob("sub-*/anat/*_T1w.nii.gz"))
    ] or [
        (path, path.with_name(f"{path.name[:-7]}_regions.nii.gz")) for path in sorted(folder.glob("sample_???.nii.gz"))
    ]
    made = []
    for path, labels in pairs[:most]:
        image = load_volume(path)
        regions = load_volume(labels).data[0].astype(int)
        made.append(coarser(image.data[0] * 2.0 - 1, regions, round(voxel / image.spacing[0])))
    if not made:
        raise typer.BadParameter(f"{folder} has no brains with region maps: name a dataset of `synthesize`.")
    return made


def augmented(brain: Brain, voxel: float, rng: np.random.Generator) -> Brain:
    """Mirror, rotate, scale and deform a brain, and vary its bias field, contrast and noise."""
    volume, regions = brain
    key = (int(rng.integers(2**31)), 0, 1)
    copies = augment(volume[None], (volume > AIR).float()[None], regions, voxel, key, Warp(elastic=6.0, bias=0.2))
    moved, _, named = copies[int(rng.integers(2))]
    noise = torch.from_numpy(rng.normal(0, 0.02, volume.shape)).float()
    bright = ((moved[0] + 1) / 2).clamp(0, 1).pow(float(np.exp(rng.normal(0, 0.2)))) * float(rng.uniform(0.9, 1.1))
    return torch.where(moved[0] > AIR, bright * 2 - 1 + noise, -1.0), named


def train(groups: list[list[Brain]], steps: int, seed: int, voxel: float, *, vary: bool = True) -> SmallUNet:
    """Train on one brain a step, of each group in turn. Rare classes weigh more, by the root of their frequency."""
    torch.manual_seed(seed)
    counts = torch.zeros(len(CLASSES))
    for volume, regions in (brain for group in groups for brain in group):
        counts += torch.bincount(TABLE[regions[volume > AIR].long()], minlength=len(CLASSES))
    weight = (counts.sum() / counts.clamp(min=1)).sqrt()
    weight = weight / weight.mean()
    rng = np.random.default_rng(seed)
    net = SmallUNet()
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps)
    for step in range(steps):
        group = groups[step % len(groups)]
        brain = group[int(rng.integers(len(group)))]
        volume, regions = augmented(brain, voxel, rng) if vary else brain
        there = volume > AIR  # all else is background
        logits, labels = net(volume[None, None])[0][:, there], TABLE[regions[there].long()]
        shares, hot = logits.softmax(0), F.one_hot(labels, len(CLASSES)).T.float()
        overlap = 2 * (shares * hot).sum(1) / (shares + hot).sum(1).clamp(min=1)
        loss = F.cross_entropy(logits.T, labels, weight) + 1 - overlap[1:].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net.eval()


@torch.inference_mode()
def scores(net: SmallUNet, people: list[Brain]) -> np.ndarray:
    """Return the Dice of each class but background, (people, classes)."""
    found = []
    for volume, regions in people:
        guess, labels = net(volume[None, None])[0].argmax(0), TABLE[regions.long()]
        guess[volume <= AIR] = 0
        pairs = [((guess == c), (labels == c)) for c in range(1, len(CLASSES))]
        found.append([float(2 * (a & b).sum() / max(1, int(a.sum() + b.sum()))) for a, b in pairs])
    return np.array(found)


def main(
    cohort: Annotated[Path, typer.Argument(help="Prepared cohort with label maps that the model was trained on.")],
    second: Annotated[Path | None, typer.Argument(help="Cohort of another scanner, with label maps.")] = None,
    synthetic: Annotated[
        Path | None, typer.Option(help="Dataset of `synthesize`, or folder of `generate --segmentation`.")
    ] = None,
    num: Annotated[int | None, typer.Option(help="Most synthetic brains to train on; by default all.")] = None,
    model: Annotated[str, typer.Option(help="The generative model: its card tells who was held out.")] = "ixi-2mm",
    real: Annotated[int, typer.Option(help="Real brains to train on.")] = 20,
    people: Annotated[int, typer.Option(help="Most people of each scanner to test on.")] = 30,
    steps: Annotated[int, typer.Option(help="Steps of each training, one brain each.")] = 250,
    repeats: Annotated[int, typer.Option(help="Trainings of each kind, each from another seed.")] = 2,
    all_kinds: Annotated[bool, typer.Option("--all-kinds", help="Three kinds of trainings more, see above.")] = False,
    voxel: Annotated[float, typer.Option(help="Voxel size in mm to which brains are averaged.")] = 4.0,
) -> None:
    """Print the Dice with and without synthetic brains."""
    store, card = Cohort.open(cohort), read_card(find_model(model))
    rows = {subject.id: row for row, subject in enumerate(store.subjects)}
    learnt = [real_brain(store, rows[name], voxel) for name in (card.split.train or []) if name in rows][:real]
    held = [name for name in card.split.validation if name in rows][:people]
    tested = {"held-out": [real_brain(store, rows[name], voxel) for name in held]}
    if second is not None:
        other = Cohort.open(second)
        tested["second scanner"] = [real_brain(other, row, voxel) for row in range(min(people, len(other)))]
    if synthetic is None:
        synthetic = Path("synthetic")
        braindiffusion.synthesize(synthetic, num or NUM, model, age="20:80")
    made = synthetic_brains(synthetic, num, voxel)
    kinds = {"real": ([learnt], True), "real and synthetic": ([learnt, made], True)}
    if all_kinds:
        kinds |= {
            "synthetic": ([made], True),
            "real, not augmented": ([learnt], False),
            "real and synthetic, not augmented": ([learnt, made], False),
        }
    found: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)
    for seed, (kind, (groups, vary)) in product(range(repeats), kinds.items()):
        begun = process_time()
        net = train(groups, steps, seed, voxel, vary=vary)
        spent = process_time() - begun
        for name, some in tested.items():
            found[kind, name].append(scores(net, some))
            dice = found[kind, name][-1].mean()
            typer.echo(f"{kind}, seed {seed}, {spent:.0f} processor seconds; {name}: Dice {dice:.4f}", err=True)
    told: dict[str, object] = {"real": len(learnt), "synthetic": len(made), "steps": steps, "repeats": repeats}
    for (kind, name), each in found.items():
        by_class = {c: round(float(d), 3) for c, d in zip(CLASSES[1:], np.mean(each, (0, 1)), strict=True)}
        by_seed = [round(float(one.mean()), 4) for one in each]
        mean = round(float(np.mean(each)), 4)
        told[f"{kind}: {name}"] = {"people": len(each[0]), "mean_dice": mean, "of each seed": by_seed, **by_class}
    for name in tested:
        for how in ("", ", not augmented") if all_kinds else ("",):
            with_, without = (np.mean(found[f"{kind}{how}", name], (0, 2)) for kind in ("real and synthetic", "real"))
            gain, p = float((with_ - without).mean()), float(wilcoxon(with_, without).pvalue)
            clear = p < 0.05
            verdict = "help" if gain > 0 and clear else "hurt" if gain < 0 and clear else "make no clear difference"
            told[f"gain{how}: {name}"] = {"mean_dice": round(gain, 4), "p": round(p, 4), "synthetic brains": verdict}
    typer.echo(json.dumps(told, indent=2))


if __name__ == "__main__":
    typer.run(main)
