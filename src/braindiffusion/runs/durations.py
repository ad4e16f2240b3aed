"""Time that a job still takes; durations, and numbers and names of things, in words."""

from collections.abc import Sequence
from time import monotonic


def seconds_left(begun: float, done: int, total: int) -> float | None:
    """Estimate the remaining time from the mean time of the steps so far.

    Args:
        begun: `time.monotonic()` before the first of these steps.
        done: Steps done since then.
        total: Steps in all.

    Returns:
        Seconds; None before the first step.
    """
    return (monotonic() - begun) / done * (total - done) if done > 0 else None


def duration(seconds: float) -> str:
    """Return a duration in words.

    Examples:
        >>> [duration(seconds) for seconds in (40, 170, 7800, 273600)]
        ['40 s', '3 min', '2 h 10 min', '3 d 4 h']
    """
    whole = round(seconds)
    if whole < 90:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


def counted(number: int, noun: str) -> str:
    """Return a number of things in words.

    Examples:
        >>> [counted(number, "volume") for number in (0, 1, 2)]
        ['0 volumes', '1 volume', '2 volumes']
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def listed(names: Sequence[str], most: int = 5) -> str:
    """Return names in words: the first ones, and how many more there are.

    Examples:
        >>> listed(["IXI012", "IXI013"]), listed(["IXI012", "IXI013", "IXI014"], most=2)
        ('IXI012, IXI013', 'IXI012, IXI013 and 1 more')
    """
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
