"""Rows and curves of the report, from the measures of three groups of brains."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from braindiffusion.evaluation.bootstrap import GroupRows, Interval, Numbers, Statistic, around, compare
from braindiffusion.evaluation.brain_measures import BINS, BrainMeasures, frequencies, shared_measures, unit
from braindiffusion.evaluation.metrics import distances
from braindiffusion.runs.reports.evaluation import Curve, Estimate, Row, Spread

MOST = 1000
"""Brains of a group that are compared pair by pair; of more, a random sample."""

CONTRAST = "grey-white contrast"
BLOCK_EDGES = "block edges"
SULCI = "sulcal continuity"
GROUPS = {"volume": "volumes", "tissue": "tissues", "asymmetry": "asymmetry", "cortex": "cortex", "texture": "texture"}
"""Groups of the report, by what a measure's name begins with; all others are of the group `shape`."""
ALL_REGIONS = "all regions, median"
JOINTLY = "all regions, jointly"
BELOW_HALF = "largest deviation below Nyquist/2"
BELOW_NYQUIST = "largest deviation below Nyquist"


@dataclass(frozen=True)
class Comparison:
    """A comparison of generated, held-out and training brains.

    Attributes:
        generated: measures of generated brains.
        held_out: measures of held-out brains.
        training: measures of training brains.
        spacing: mm, isotropic.
        repeats: repetitions of the bootstrap.
        rng: random generator.
    """

    generated: Sequence[BrainMeasures]
    held_out: Sequence[BrainMeasures]
    training: Sequence[BrainMeasures]
    spacing: float
    repeats: int
    rng: np.random.Generator

    @cached_property
    def chosen(self) -> list[BrainMeasures]:
        """The brains that are compared: at most `MOST` of a group, generated first, training last."""
        return [brain for group in self._drawn for brain in group]

    @cached_property
    def _drawn(self) -> list[Sequence[BrainMeasures]]:
        return [self._draw(group) for group in (self.generated, self.held_out, self.training)]

    def _draw(self, group: Sequence[BrainMeasures]) -> Sequence[BrainMeasures]:
        if len(group) <= MOST:
            return group
        return [group[i] for i in self.rng.choice(len(group), MOST, replace=False)]

    @cached_property
    def groups(self) -> GroupRows:
        """Rows of `chosen` that belong to each group."""
        ends = np.cumsum([len(group) for group in self._drawn])
        return GroupRows(*(np.arange(end - len(group), end) for end, group in zip(ends, self._drawn, strict=True)))

    @cached_property
    def real(self) -> NDArray[np.intp]:
        """Rows of real brains."""
        return np.concatenate([self.groups.held_out, self.groups.training])

    def table(self, measures: Sequence[str]) -> Numbers:
        """Return measures of the chosen brains, (N, K)."""
        return np.array([[brain.quantities[name] for name in measures] for brain in self.chosen])

    def row(self, group: str, name: str, statistic: Statistic, unit: str = "") -> Row:
        """Return an estimate with its real baseline."""
        ours, baseline = compare(statistic, self.groups, self.repeats, self.rng)
        return self._row(group, name, unit, Estimate.from_interval(ours), Estimate.from_interval(baseline))

    def _row(
        self, group: str, name: str, unit: str, ours: Estimate, baseline: Estimate, spread: Spread | None = None
    ) -> Row:
        count, others = self.groups.size, len(self.groups.held_out)
        return Row(
            group=group,
            name=name,
            unit=unit,
            generated=ours,
            real_baseline=baseline,
            brains=count,
            held_out=others,
            spread=spread,
        )

    def fidelity(self) -> Iterator[Row]:
        """Yield distances between sets of features, each feature in standard deviations of real brains."""
        for encoder in self.chosen[0].features:
            features = np.array([brain.features[encoder] for brain in self.chosen], np.float64)
            features = distances.standardised(features, self.real, one_unit=True)
            kernels = {"KID": distances.polynomial_kernel, "MMD, Gaussian": distances.gaussian_kernel}
            for name, kernel in kernels.items():
                yield self.row(encoder, name, distances.mmd_squared(kernel(features)))
            yield self.row(encoder, "Fréchet distance", distances.frechet(features))

    def measures(self) -> Iterator[Row]:
        """Yield the Wasserstein distance of every measure in standard deviations of real brains, and of all regions."""
        names = shared_measures(self.chosen)
        table = self.table(names)
        scaled = distances.standardised(table, self.real)
        statistic = distances.wasserstein(scaled)
        regions = [i for i, name in enumerate(names) if name.startswith("volume: ")]

        def with_median(a: NDArray[np.intp], b: NDArray[np.intp]) -> Numbers:
            each = np.asarray(statistic(a, b))
            return np.append(each, np.median(each[regions]) if regions else np.nan)

        ours, baseline = compare(with_median, self.groups, self.repeats, self.rng)
        if regions:
            last = len(names)
            yield self._row(
                "volumes", ALL_REGIONS, "SD", Estimate.from_interval(ours, last), Estimate.from_interval(baseline, last)
            )
            yield self.row("volumes", JOINTLY, distances.energy_distance(scaled[:, regions]))
        made, real = table[self.groups.generated], table[self.real]
        for i, name in enumerate(names):
            kind, _, what = name.partition(": ")
            spread = Spread(
                generated_mean=made[:, i].mean(),
                generated_sd=made[:, i].std(),
                real_mean=real[:, i].mean(),
                real_sd=real[:, i].std(),
            )
            group = GROUPS.get(kind, "shape")
            title = f"{what or name}{f' ({unit(name)})' if unit(name) else ''}"
            yield self._row(
                group, title, "SD", Estimate.from_interval(ours, i), Estimate.from_interval(baseline, i), spread
            )

    def intensities(self) -> tuple[Row, Curve]:
        """Return the distance of the mean intensity histograms, and their curves."""
        histograms = np.array([brain.histogram for brain in self.chosen])
        row = self.row("texture", "intensity histogram", distances.histogram_distance(histograms, 1 / BINS))
        means = []
        for rows in (self.groups.generated, self.real):
            again = [histograms[self.rng.choice(rows, len(rows))].mean(0) for _ in range(self.repeats)]
            means.append(around(histograms[rows].mean(0), np.array(again)))
        middles = (np.arange(BINS) + 0.5) / BINS
        return row, self._curve("intensity", middles, "share of the range", "share of the brain", *means)

    def power(self) -> tuple[list[Row], Curve]:
        """Return the largest deviations of the radial power spectrum from held-out brains (dB), and its curve."""
        spectra = np.array([brain.spectrum for brain in self.chosen])
        ours, baseline = compare(distances.decibels(spectra), self.groups, self.repeats, self.rng)
        rings = spectra.shape[1]
        cycles = frequencies(rings, self.spacing)
        rows = []
        for name, until in ((BELOW_HALF, rings // 2), (BELOW_NYQUIST, rings)):
            rows.append(self._row("spectrum", name, "dB", _largest(ours, until), _largest(baseline, until)))
        return rows, self._curve(
            "power spectrum", cycles, "cycles per mm", "dB, against held-out brains", ours, baseline
        )

    def _curve(self, name: str, x: Numbers, x_unit: str, unit: str, ours: Interval, baseline: Interval) -> Curve:
        figures = [[Estimate.from_interval(interval, i) for i in range(len(x))] for interval in (ours, baseline)]
        return Curve(
            name=name,
            x=[round(float(v), 5) for v in x],
            x_unit=x_unit,
            unit=unit,
            generated=figures[0],
            real_baseline=figures[1],
        )


def _largest(interval: Interval, until: int) -> Estimate:
    """Return the deviation that is largest in size, with its own interval."""
    return Estimate.from_interval(interval, int(np.abs(interval.value[:until]).argmax()))
