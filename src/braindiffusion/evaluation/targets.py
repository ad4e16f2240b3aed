"""Quality targets of the packaged model, and the rule that decides whether one is met.

A target compares an estimate with a limit. Its outcome follows from the 95 % interval of the estimate:

- *met*: the whole interval is on the good side of the limit, and at least `MINIMUM` brains stand on each side.
- *missed*: the whole interval is on the bad side.
- *inconclusive*: anything else.

The minimum is needed because a bootstrap interval of a few brains is too narrow. A test that finds no difference
(memorization) and a count of copies that is zero prove nothing about a few brains either: below the minimum they are
inconclusive. A difference or a copy that is found counts at any number.
"""

from collections.abc import Iterator

from braindiffusion.evaluation.compare import ALL_REGIONS, BELOW_HALF, BELOW_NYQUIST, BLOCK_EDGES, CONTRAST, MOST, SULCI
from braindiffusion.runs.durations import counted
from braindiffusion.runs.reports.evaluation import (
    ADHERENCE,
    COPIES,
    MEMORIZATION,
    Estimate,
    Evaluation,
    Memorization,
    Outcome,
    Row,
    TargetResult,
)

ALPHA = 0.05
UNTRAINED = "uncnn"
"""Encoder that knows nothing of these brains: its target is stricter."""
MINIMUM = 20
"""Generated brains, and held-out brains, that a target needs to be met."""


def targets(evaluation: Evaluation) -> Iterator[TargetResult]:
    """Judge every target whose estimates the evaluation has."""
    for encoder in dict.fromkeys(row.group for row in evaluation.rows if row.name == "KID"):
        if (row := evaluation.row(encoder, "KID")) and row.real_baseline:
            limit, times = row.real_baseline.high, 1.5 if encoder == UNTRAINED else 2.0
            yield _within(
                f"KID, {encoder}", row, limit, f"KID ({encoder})", "the real baseline's upper bound", times, 1.2
            )
    for row in evaluation.rows:
        if row.group == "diversity":
            target = "MS-SSIM between brains within 0.03 of real"
            yield _result("diversity", row, target, _at_most(row, 0.03), "0.01", _at_most(row, 0.01))
    if (row := evaluation.row("volumes", ALL_REGIONS)) and row.real_baseline:
        what = "median Wasserstein distance of region volumes"
        yield _within("region volumes", row, row.real_baseline.value, what, "the real baseline", 1.5, 1.2)
    half, full = (evaluation.row("spectrum", name) for name in (BELOW_HALF, BELOW_NYQUIST))
    if half and full:
        target, stretch = "power within 1 dB of real below Nyquist/2", f"2 dB to Nyquist: {_text(full.generated)}"
        yield _result("power spectrum", half, target, _at_most(half, 1), stretch, _at_most(full, 2))
    for row in evaluation.rows:
        if row.group == "cortex" or row.name in (CONTRAST, BLOCK_EDGES, SULCI):
            yield from _like_people(row, min(len(evaluation.generated), MOST))
    for space in evaluation.memorization:
        yield from _memorization(space, min(len(space.ratios), len(space.real_baseline_ratios)))
    asked = (("age", "age, correlation", 0.90, 0.95), ("regions", "regions, mean Dice", 0.82, 0.90))
    for title, name, least, most in asked:
        if row := evaluation.row(ADHERENCE, name):
            met, more = _at_least(row, least), _at_least(row, most)
            yield _result(f"{title} as asked", row, f"{name} >= {least}", met, f">= {most}", more)


def too_few(generated: int, held_out: int) -> str:
    """Return a sentence that asks for more brains where no target can be met; empty where there are enough."""
    if min(generated, held_out) >= MINIMUM:
        return ""
    return (
        f"There are {generated} generated and {held_out} held-out brains: no target can be met with fewer than "
        f"{MINIMUM} of each, and most will be inconclusive."
    )


def _like_people(row: Row, count: int) -> Iterator[TargetResult]:
    """Judge whether the mean of generated brains lies where 95 % of people lie, both taken as normal."""
    if (spread := row.spread) is None:
        return
    half, around = 1.96 * spread.generated_sd / count**0.5, 1.96 * spread.real_sd
    mean = Estimate(value=spread.generated_mean, low=spread.generated_mean - half, high=spread.generated_mean + half)
    low, high = spread.real_mean - around, spread.real_mean + around
    yield TargetResult(
        target=f"mean {row.name} within the 95 % range of people ({low:.3g} to {high:.3g})",
        reached=f"{_text(mean)}, {counted(count, 'brain')}",
        outcome=_outcome(row, good=low <= mean.low and mean.high <= high, bad=mean.high < low or mean.low > high),
        title=row.name.partition(" (")[0],
        group=row.group,
        name=row.name,
    )


def _memorization(space: Memorization, brains: int) -> Iterator[TargetResult]:
    few = brains < MINIMUM
    yield TargetResult(
        target=f"as far from training brains as new people ({space.space}): p > {ALPHA}",
        reached=f"p = {space.p:.3g}, median ratio {_text(space.ratio)}, people {_text(space.real_baseline)}",
        outcome="missed" if space.p <= ALPHA else "inconclusive" if few else "met",
        title=f"novelty, {space.space}",
        group=MEMORIZATION,
        name=space.space,
    )
    copies = sum(one.copied for one in space.neighbours)
    yield TargetResult(
        target=f"no copies ({space.space})",
        reached=f"{copies} copies among {len(space.ratios)} brains",
        outcome="missed" if copies else "inconclusive" if few else "met",
        title=f"copies, {space.space}",
        group=COPIES,
        name=space.space,
    )


def _at_most(row: Row, limit: float) -> Outcome:
    """Judge the size of an estimate."""
    one = row.generated
    largest = max(abs(one.low), abs(one.high))
    smallest = 0.0 if one.low <= 0 <= one.high else min(abs(one.low), abs(one.high))
    return _outcome(row, good=largest <= limit, bad=smallest > limit)


def _at_least(row: Row, limit: float) -> Outcome:
    return _outcome(row, good=row.generated.low >= limit, bad=row.generated.high < limit)


def _outcome(row: Row, *, good: bool, bad: bool) -> Outcome:
    few = row.brains < MINIMUM or 0 < row.held_out < MINIMUM
    return "missed" if bad else "met" if good and not few else "inconclusive"


def _within(title: str, row: Row, bound: float, what: str, of: str, times: float, stretch: float) -> TargetResult:
    outcomes = [
        _outcome(row, good=row.generated.high <= factor * bound, bad=row.generated.low > factor * bound)
        for factor in (times, stretch)
    ]
    target = f"{what} within {times:g} x {of} ({bound:.3g})"
    return _result(title, row, target, outcomes[0], f"{stretch:g} x", outcomes[1])


def _result(title: str, row: Row, target: str, outcome: Outcome, stretch: str, more: Outcome) -> TargetResult:
    # The stretch goal is stricter: it cannot be met where the target is not.
    return TargetResult(
        target=target,
        reached=f"{_text(row.generated)}{f' {row.unit}' if row.unit else ''}, {row.brains} brains",
        outcome=outcome,
        stretch=stretch,
        stretch_outcome=more if outcome == "met" or more != "met" else outcome,
        title=title,
        group=row.group,
        name=row.name,
    )


def _text(estimate: Estimate) -> str:
    return f"{estimate.value:.3g} [{estimate.low:.3g}, {estimate.high:.3g}]"
