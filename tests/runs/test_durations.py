"""Remaining time, and durations in words."""

from time import monotonic

import pytest

from braindiffusion.runs.durations import duration, seconds_left


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (89, "89 s"), (600, "10 min"), (7800, "2 h 10 min"), (273600, "3 d 4 h")]
)
def test_duration_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_remaining_time_goes_on_at_the_pace_so_far() -> None:
    assert seconds_left(monotonic() - 10, 5, 20) == pytest.approx(30, rel=0.01)
    assert seconds_left(monotonic(), 0, 20) is None
