"""A brain is measured once, and again when anything changed that its measures depend on."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from braindiffusion.evaluation import measure_cache
from braindiffusion.evaluation.brain_measures import BrainMeasures
from braindiffusion.evaluation.encoders.encoder import BrainMeasurer
from braindiffusion.evaluation.measure_cache import CachedMeasurer
from braindiffusion.evaluation.sources import Brain

MakeBrain = Callable[[int], Brain]


def encode(brain: Brain) -> np.ndarray:
    return brain.voxels[::4, 4, 4].astype(np.float32)


@pytest.fixture
def measurer() -> BrainMeasurer:
    return BrainMeasurer(encoders={"mine": encode})


def same(one: BrainMeasures, other: BrainMeasures) -> bool:
    np.testing.assert_array_equal(one.features["mine"], other.features["mine"])
    np.testing.assert_array_equal(one.histogram, other.histogram)
    np.testing.assert_array_equal(one.spectrum, other.spectrum)
    np.testing.assert_equal(one.age, other.age)
    return (one.name, one.quantities, one.dice) == (other.name, other.quantities, other.dice)


def test_a_brain_is_measured_once(measurer: BrainMeasurer, make_brain: MakeBrain, tmp_path: Path) -> None:
    brain = make_brain(1)
    first, second = (CachedMeasurer(measurer, tmp_path / "measures") for _ in range(2))
    measured, again = first.measure(brain, brain.labels), second.measure(brain, brain.labels)
    assert (first.found, second.found) == (0, 1)
    assert same(measured, again)
    assert same(again, measurer.measure(brain, brain.labels))
    assert again.dice


def test_what_changed_is_measured_again(measurer: BrainMeasurer, make_brain: MakeBrain, tmp_path: Path) -> None:
    brain = make_brain(1)
    assert brain.labels is not None
    CachedMeasurer(measurer, tmp_path).measure(brain)
    voxels, labels = brain.voxels.copy(), brain.labels.copy()
    voxels[10, 10, 10] += 0.01
    labels[10, 10, 10] += 1
    for changed in ({"voxels": voxels}, {"labels": labels}, {"name": "another"}, {"spacing": 2.0}):
        after = CachedMeasurer(measurer, tmp_path)
        after.measure(replace(brain, **changed))
        assert after.found == 0, changed
    others = (
        CachedMeasurer(measurer, tmp_path, weights=["of another model"]),
        CachedMeasurer(BrainMeasurer(encoders={"yours": encode}), tmp_path),
        CachedMeasurer(BrainMeasurer(), tmp_path),
    )
    for other in others:
        other.measure(brain)
        assert other.found == 0
    asked = CachedMeasurer(measurer, tmp_path)
    assert asked.measure(brain, labels).dice
    assert asked.found == 0


def test_other_code_measures_again(
    measurer: BrainMeasurer, make_brain: MakeBrain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    CachedMeasurer(measurer, tmp_path).measure(make_brain(1))
    monkeypatch.setattr(measure_cache, "_code", lambda: "changed")
    changed = CachedMeasurer(measurer, tmp_path)
    changed.measure(make_brain(1))
    assert changed.found == 0


@pytest.mark.parametrize("damage", [b"", b"PK", b"no archive", "cut", "turned"])
def test_a_damaged_file_is_written_anew(
    damage: bytes | str, measurer: BrainMeasurer, make_brain: MakeBrain, tmp_path: Path
) -> None:
    measured = CachedMeasurer(measurer, tmp_path).measure(make_brain(1))
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    turned = (
        whole[: len(whole) // 2]
        + bytes(255 - one for one in whole[len(whole) // 2 :][:50])
        + whole[len(whole) // 2 + 50 :]
    )
    file.write_bytes({"cut": whole[:-40], "turned": turned}.get(str(damage), damage))
    again, after = CachedMeasurer(measurer, tmp_path), CachedMeasurer(measurer, tmp_path)
    assert same(again.measure(make_brain(1)), measured)
    assert same(after.measure(make_brain(1)), measured)
    assert (again.found, after.found) == (0, 1)


def test_a_folder_that_cannot_be_written_costs_only_time(
    measurer: BrainMeasurer, make_brain: MakeBrain, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    cached = CachedMeasurer(measurer, tmp_path / "file" / "measures")
    assert same(cached.measure(make_brain(1)), measurer.measure(make_brain(1)))


def test_the_oldest_go(
    measurer: BrainMeasurer, make_brain: MakeBrain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure_cache, "MOST", 2)
    first = CachedMeasurer(measurer, tmp_path)
    for number in range(4):
        first.measure(replace(make_brain(1), name=f"s{number}"))
    assert len(list(tmp_path.iterdir())) == 4
    CachedMeasurer(measurer, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_another_evaluation_may_delete_what_this_one_counts(
    measurer: BrainMeasurer, make_brain: MakeBrain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure_cache, "MOST", 1)
    gone = tmp_path / "gone.npz"
    monkeypatch.setattr(Path, "glob", lambda folder, pattern: iter([gone, tmp_path / "other.npz"]))
    assert CachedMeasurer(measurer, tmp_path).measure(make_brain(1)).name == make_brain(1).name
