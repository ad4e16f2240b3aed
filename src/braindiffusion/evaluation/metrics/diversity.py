"""Similarity of brains to each other (MS-SSIM over pairs), and to the real brain of the same name, if any."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from braindiffusion.evaluation.bootstrap import Numbers, around, of_one
from braindiffusion.evaluation.metrics import similarity
from braindiffusion.evaluation.sources import Source
from braindiffusion.runs import Event, Progress
from braindiffusion.runs.reports.evaluation import Estimate, Row, Spread

GROUPS = ("generated", "held_out", "training")
EQUAL = 100.0
"""PSNR in dB of equal brains: an infinite one has no mean."""
FEW, DRAWS = 4, 100
"""For each wanted pair: so many pairs are listed rather than drawn, and so many are drawn at most."""
NAME = "MS-SSIM between brains, less that between held-out ones"


@dataclass(frozen=True)
class Pairs:
    """Pairs of brains of one group, with their similarity.

    Attributes:
        rows: (P, 2).
        values: (P,) MS-SSIM.
    """

    rows: NDArray[np.intp]
    values: Numbers

    def mean(self, repeats: int, rng: np.random.Generator) -> tuple[float, Numbers]:
        """Return the mean and its bootstrap over brains, not pairs: a pair counts as often as both brains are drawn."""
        brains = int(self.rows.max()) + 1
        again = np.empty(repeats)
        for i in range(repeats):
            drawn = np.bincount(rng.integers(brains, size=brains), minlength=brains)
            weights = drawn[self.rows[:, 0]] * drawn[self.rows[:, 1]]
            again[i] = np.average(self.values, weights=weights) if weights.any() else self.values.mean()
        return float(self.values.mean()), again


def measure_pairs(
    groups: Mapping[str, Sequence[Source]], wanted: int, rng: np.random.Generator
) -> Generator[Event, None, dict[str, Pairs]]:
    """Measure the MS-SSIM of random pairs of each group, two brains in memory at a time.

    Args:
        groups: sources by the names of `GROUPS`.
        wanted: pairs of each group.
        rng: random generator.
    """
    people = {name: [one.person for one in groups[name]] for name in GROUPS}
    people["generated"] = [one.name for one in groups["generated"]]
    drawn = {name: draw_pairs(people[name], wanted, rng) for name in GROUPS}
    total, step = sum(map(len, drawn.values())), 0
    found = {}
    for name, rows in drawn.items():
        values = []
        for i, j in rows:
            values.append(similarity.ms_ssim(groups[name][i].read().voxels, groups[name][j].read().voxels))
            step += 1
            yield Progress(stage="pairs", step=step, total=total, message=name.replace("_", "-"))
        found[name] = Pairs(rows, np.array(values))
    return found


def diversity(pairs: Mapping[str, Pairs], repeats: int, rng: np.random.Generator) -> Row:
    """Return the mean MS-SSIM over pairs of generated brains, less that over pairs of held-out ones."""
    made, held_out, training = (pairs[name].mean(repeats, rng) for name in GROUPS)
    value, baseline = (around(one[0] - held_out[0], one[1] - held_out[1]) for one in (made, training))
    return Row(
        group="diversity",
        name=NAME,
        generated=Estimate.from_interval(value),
        real_baseline=Estimate.from_interval(baseline),
        brains=len(np.unique(pairs["generated"].rows)),
        held_out=len(np.unique(pairs["held_out"].rows)),
        spread=Spread(
            generated_mean=made[0],
            generated_sd=float(pairs["generated"].values.std()),
            real_mean=held_out[0],
            real_sd=float(pairs["held_out"].values.std()),
        ),
    )


def paired_similarity(
    made: Sequence[Source], real: Mapping[str, Source], repeats: int, rng: np.random.Generator
) -> Generator[Event, None, list[Row]]:
    """Compare generated brains with real ones of the same name, if any: PSNR, SSIM, MS-SSIM."""
    values = []
    counterparts = [(one, real[one.counterpart]) for one in made if one.counterpart in real]
    for step, (one, other) in enumerate(counterparts, start=1):
        a, b = one.read().voxels, other.read().voxels
        values.append([min(similarity.psnr(a, b), EQUAL), similarity.ssim(a, b), similarity.ms_ssim(a, b)])
        yield Progress(stage="paired similarity", step=step, total=len(counterparts), message=one.name)
    if not values:
        return []
    names = (("PSNR", "dB"), ("SSIM", ""), ("MS-SSIM", ""))
    return [
        Row(
            group="pairs",
            name=f"{name} with the real brain of the same name",
            unit=unit,
            generated=Estimate.from_interval(of_one(np.mean, column, repeats, rng)),
            brains=len(column),
        )
        for (name, unit), column in zip(names, np.array(values).T, strict=True)
    ]


def draw_pairs(people: Sequence[str], wanted: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw pairs of brains of different people, each pair once, (P, 2); all there are if fewer than `wanted`.

    Args:
        people: the person of each brain.
        wanted: pairs.
        rng: random generator.
    """
    who, count = np.array(people), len(people)
    if count * (count - 1) // 2 <= FEW * wanted:
        pairs = np.stack(np.triu_indices(count, 1), 1)
        return rng.permutation(pairs[who[pairs[:, 0]] != who[pairs[:, 1]]])[:wanted]
    drawn: set[tuple[int, int]] = set()
    for _ in range(DRAWS * wanted):
        i, j = rng.choice(count, 2, replace=False)
        if who[i] != who[j]:
            drawn.add((min(i, j), max(i, j)))
        if len(drawn) == wanted:
            break
    return np.array(sorted(drawn), np.intp)
