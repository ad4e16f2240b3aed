"""The job `nearest`: the training brain and the held-out brain nearest to one brain."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from braindiffusion.cohort.nearest import low_pass, neighbours, neighbours_of_people, views
from braindiffusion.evaluation.groups import choose_real_groups, read_group
from braindiffusion.evaluation.measure import VOXELS
from braindiffusion.evaluation.metrics.memorization import SUSPICIOUS
from braindiffusion.evaluation.sources import Brain, find_brains
from braindiffusion.files import write_whole
from braindiffusion.runs import ArtifactWritten, Event, Finished, NearestRequest, Progress, Run
from braindiffusion.runs.reports.nearest import NEAREST, Match, Nearest, Normal
from braindiffusion.volume import Volume, save_volume

MIDDLE = (2.5, 50.0, 97.5)
"""Percentiles of the middle 95 % and the median."""


def find_nearest(request: NearestRequest, run: Run) -> Iterator[Event]:
    """Find the training brain and the held-out brain that are nearest to a brain, and write all three into one box.

    Args:
        request: the brain, and where the real ones are.
        run: gets `nearest.json` and the three volumes.

    Yields:
        Progress for each brain, Warned for what is left out, ArtifactWritten for the volumes, Finished.

    Raises:
        BrainDiffusionError: the brain cannot be read, or there are too few real ones.
    """
    groups = choose_real_groups(request.real, request.labels, request.model, asked_by=(request.brain,))
    (ours,) = find_brains((request.brain,), groups.preprocessing)
    brain = ours.read()
    training = yield from read_group("training", groups.training)
    held_out = yield from read_group("held-out", groups.held_out)
    found = neighbours(views(_vector(brain)), training.vectors, held_out.vectors)
    people = neighbours_of_people(training.vectors, held_out.vectors, held_out.people, views)
    yield Progress(stage="nearest", step=0, total=1)
    matches = {}
    for what, group, row, distance, normal in (
        ("training", training, found.training, found.to_training, [one.to_training for one in people]),
        ("held_out", held_out, found.held_out, found.to_held_out, [one.to_held_out for one in people]),
    ):
        source = group.sources[row]
        path = run.results / f"nearest_{what}.nii.gz"
        _write(source.read(), path)
        low, median, high = np.percentile(normal, MIDDLE)
        person = source.subject
        matches[what] = Match(
            name=source.name,
            age=None if person is None else person.age,
            sex=None if person is None else person.sex,
            distance=distance,
            people=Normal(median=float(median), low=float(low), high=float(high)),
            volume=path,
        )
    result = Nearest(
        brain=ours.name,
        space=VOXELS,
        threshold=SUSPICIOUS * min(min(one.to_training, one.to_held_out) for one in people),
        model=groups.model,
        **matches,
    )
    _write(brain, run.results / "brain.nii.gz")
    write_whole(run.results / NEAREST, result.model_dump_json(indent=1) + "\n")
    yield Progress(stage="nearest", step=1, total=1)
    yield ArtifactWritten(kind="volume", path=str(run.results / "brain.nii.gz"), name=ours.name)
    for what, match in matches.items():
        name = f"{match.name} (nearest {what.replace('_', '-')} brain)"
        yield ArtifactWritten(kind="volume", path=str(match.volume), name=name)
    yield Finished(message=result.summary)


def _vector(brain: Brain) -> NDArray[np.float32]:
    return low_pass(brain.voxels, brain.spacing)


def _write(brain: Brain, path: Path) -> None:
    """Write a brain in the model's box around the origin, so that all three overlay."""
    affine = np.diag([brain.spacing] * 3 + [1.0])
    affine[:3, 3] = -brain.spacing * (np.array(brain.voxels.shape) - 1) / 2
    save_volume(Volume(brain.voxels[None], affine), path)
