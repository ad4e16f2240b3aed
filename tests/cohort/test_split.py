import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braindiffusion.cohort.store import split

IDS = [f"IXI{i:03d}-HH-{i}" for i in range(150)]


@given(st.sets(st.text(min_size=1), min_size=1), st.data())
def test_every_subject_is_on_one_side(ids: set[str], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, len(ids)))
    training, validation = split(ids, count)
    assert len(validation) == count
    assert sorted(training + validation) == sorted(ids)


def test_order_does_not_matter_and_the_seed_does() -> None:
    shuffled = random.Random(0).sample(IDS, len(IDS))
    assert split(shuffled, 30) == split(IDS, 30)
    assert split(IDS, 30, seed=1) != split(IDS, 30)


def test_it_stays_as_it_was() -> None:
    # A model's validation subjects must be the same next year: this is the split itself, not a property of it.
    assert split(IDS, 3)[1] == ["IXI013-HH-13", "IXI044-HH-44", "IXI046-HH-46"]


def test_a_newcomer_moves_at_most_one() -> None:
    before = set(split(IDS, 30)[1])
    after = set(split([*IDS, "IXI999-Guys-1"], 30)[1])
    assert len(before - after) <= 1


def test_too_many() -> None:
    with pytest.raises(ValueError, match="4 of 3"):
        split("abc", 4)
