"""The targets of the packaged model, met or missed."""

from collections.abc import Iterator

from braindiffusion.evaluation.compare import ALL_REGIONS, BELOW_HALF, BELOW_NYQUIST
from braindiffusion.runs.reports.evaluation import Evaluation, Figure, Row, Verdict

ALPHA = 0.05


def verdicts(evaluation: Evaluation) -> Iterator[Verdict]:
    """A verdict on every target whose figures are there."""
    seers = dict.fromkeys(row.group for row in evaluation.rows if row.name == "KID")
    for seer in seers:
        if (row := evaluation.row(seer, "KID")) and row.floor:
            yield _within(f"KID, {seer}", row, row.floor.high, f"KID ({seer})", "the floor's upper bound", 2.0, 1.2)
    for row in evaluation.rows:
        if row.group == "diversity":
            size = abs(row.generated.value)
            target = "MS-SSIM between brains within 0.03 of real"
            yield _verdict("diversity", row, target, size <= 0.03, "0.01", size <= 0.01)
    if (row := evaluation.row("volumes", ALL_REGIONS)) and row.floor:
        what = "median Wasserstein distance of region volumes"
        yield _within("region volumes", row, row.floor.value, what, "the floor", 1.5, 1.2)
    half, full = (evaluation.row("spectrum", name) for name in (BELOW_HALF, BELOW_NYQUIST))
    if half and full:
        target = "power within 1 dB of real below Nyquist/2"
        met, more = abs(half.generated.value) <= 1, abs(full.generated.value) <= 2
        yield _verdict("power spectrum", half, target, met, f"2 dB to Nyquist: {_text(full.generated)}", more)
    for space in evaluation.originality:
        yield Verdict(
            target=f"as far from training brains as new people ({space.space}): p > {ALPHA}",
            reached=f"p = {space.p:.3g}, median ratio {_text(space.ratio)}, people {_text(space.people)}",
            met=space.p > ALPHA,
            title=f"newness, {space.space}",
            group="originality",
            name=space.space,
        )
        copies = sum(one.copied for one in space.neighbours)
        yield Verdict(
            target=f"no copies ({space.space})",
            reached=f"{copies} copies",
            met=not copies,
            title=f"copies, {space.space}",
            group="copies",
            name=space.space,
        )
    asked = (("age", "age, correlation", 0.85, 0.95), ("regions", "regions, mean Dice", 0.80, 0.90))
    for title, name, least, most in asked:
        if row := evaluation.row("control", name):
            value = row.generated.value
            yield _verdict(f"{title} as asked", row, f"{name} >= {least}", value >= least, f">= {most}", value >= most)


def _within(title: str, row: Row, bound: float, what: str, of: str, times: float, stretch: float) -> Verdict:
    value = row.generated.value
    target = f"{what} within {times:g} x {of} ({bound:.3g})"
    return _verdict(title, row, target, value <= times * bound, f"{stretch:g} x", value <= stretch * bound)


def _verdict(title: str, row: Row, target: str, met: bool, stretch: str, stretch_met: bool) -> Verdict:
    # The stretch is more of the same: who misses the target misses it too.
    return Verdict(
        target=target,
        reached=f"{_text(row.generated)}{f' {row.unit}' if row.unit else ''}, {row.brains} brains",
        met=met,
        stretch=stretch,
        stretch_met=met and stretch_met,
        title=title,
        group=row.group,
        name=row.name,
    )


def _text(figure: Figure) -> str:
    return f"{figure.value:.3g} [{figure.low:.3g}, {figure.high:.3g}]"
