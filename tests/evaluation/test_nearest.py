"""The nearest real brain of one brain, and what is normal between people."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from braindiffusion.cli import app
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.evaluation.groups import choose_real_groups
from braindiffusion.jobs import perform
from braindiffusion.runs import ArtifactWritten, Failed, Finished, NearestRequest, Run
from braindiffusion.runs.reports.nearest import Match, Nearest, Normal, read_nearest
from braindiffusion.volume import load_volume


def test_a_copy_is_found_with_its_person(
    people: Path, write: Callable, make_person: Callable, tmp_runs: Path, tmp_path: Path
) -> None:
    copy = write("copy", make_person(4)[0]) / "copy.nii.gz"
    result = CliRunner().invoke(app, ["nearest", str(copy), "--real", str(people), "--name", "mine"])
    assert result.exit_code == 0, result.output
    run = Run.open(tmp_runs / "mine")
    found = read_nearest(run.results)
    who = found.training if found.training.distance < found.held_out.distance else found.held_out
    assert who.name == "s04"
    assert (who.age, who.sex) == (28.0, "M")
    assert who.distance < 0.05
    assert found.training.people.low <= found.training.people.median <= found.training.people.high
    boxes = [load_volume(event.path) for event in run.events() if isinstance(event, ArtifactWritten)]
    assert len(boxes) == 3
    assert len({(one.shape, one.affine.tobytes()) for one in boxes}) == 1  # upon each other


def test_a_new_person_is_as_far_away_as_people_are(
    people: Path, write: Callable, make_person: Callable, tmp_runs: Path
) -> None:
    brain = write("new", make_person(300)[0]) / "new.nii.gz"
    run = Run.create(NearestRequest(brain=brain, real=(people,)))
    events = list(perform(run))
    assert isinstance(events[-1], Finished), events[-1]
    found = read_nearest(run.results)
    assert not found.copied
    assert events[-1].message == found.summary


def test_a_copy_is_found_among_people_who_were_scanned_twice(
    sessions: Path, write: Callable, make_person: Callable
) -> None:
    """The smallest distance between two people is not that between two scans of one person."""
    groups = choose_real_groups((sessions,), None, None)
    row = int(groups.training[0].person.removeprefix("sub-"))
    voxels, labels = make_person(row)
    noise = 0.05 * np.random.default_rng(0).standard_normal(voxels.shape) * (labels > 0)
    copy = write("copy", (voxels + noise).clip(0, 1).astype(np.float32)) / "copy.nii.gz"
    run = Run.create(NearestRequest(brain=copy, real=(sessions,)))
    events = list(perform(run))
    assert isinstance(events[-1], Finished), events[-1]
    found = read_nearest(run.results)
    assert found.training.name.startswith(f"sub-{row:02d}")
    assert found.copied
    assert found.held_out.people.low > 2 * found.training.distance


def test_a_few_brains_tell_nothing(people: Path, write: Callable, make_person: Callable, tmp_runs: Path) -> None:
    write("p0", make_person(0)[0], "few")
    few = write("p1", make_person(1)[0], "few")
    run = Run.create(NearestRequest(brain=few / "p0.nii.gz", real=(few,)))
    last = list(perform(run))[-1]
    assert isinstance(last, Failed)
    assert "Too few" in last.message


def said(distance: float, threshold: float = 0.1) -> str:
    def match(distance: float) -> Match:
        normal = Normal(median=0.4, low=0.3, high=0.5)
        return Match(name="s01", distance=distance, people=normal, volume=Path("x.nii.gz"))

    return Nearest(
        brain="b", space="voxels", training=match(distance), held_out=match(0.4), threshold=threshold
    ).summary


@pytest.mark.parametrize(
    ("distance", "words"), [(0.05, "A copy"), (0.2, "Suspiciously"), (0.4, "As new as a person"), (0.9, "Unlike")]
)
def test_the_verdict_in_plain_words(distance: float, words: str) -> None:
    assert said(distance).startswith(words)


def test_a_run_without_an_answer_is_told(tmp_path: Path) -> None:
    with pytest.raises(BrainDiffusionError, match="cannot be read"):
        read_nearest(tmp_path)
    (tmp_path / "nearest.json").write_text("{}")
    with pytest.raises(BrainDiffusionError, match="is not what"):
        read_nearest(tmp_path)
