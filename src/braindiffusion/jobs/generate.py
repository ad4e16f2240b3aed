"""The jobs `generate`, `regenerate` and `demo`: brains as NIfTI with sidecars, previews and trajectories."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braindiffusion.generation.outputs import Sample
from braindiffusion.generation.plan import GenerationPlan
from braindiffusion.generation.reproduce import request_from_sidecar
from braindiffusion.models.model_cache import release
from braindiffusion.runs import (
    ArtifactWritten,
    DemoRequest,
    Event,
    Finished,
    GenerateRequest,
    Progress,
    RegenerateRequest,
    Run,
    Warned,
)
from braindiffusion.runs.durations import counted, seconds_left
from braindiffusion.runs.sidecar import load_sidecar, sidecar_path
from braindiffusion.volume import Volume

FEW = 20
"""Up to this number of samples, progress is reported by level; of more, by finished samples."""


def generate(request: GenerateRequest, run: Run) -> Iterator[Event]:
    """Make brains; several processes of one launch share them out.

    Args:
        request: which model, how many, which seeds, what to make.
        run: gets the volumes where the request names no folder, and previews and trajectories.

    Yields:
        Progress for each sampler step, previews where they were asked for, and each volume as it is written; those that
        are there already are reported, too.

    Raises:
        BrainDiffusionError: the model cannot be loaded or cannot be asked for that, the device is not there, or the
            folder holds brains of another request.
    """
    yield from perform_plan(GenerationPlan(request, run, segment_sample))


def perform_plan(plan: GenerationPlan) -> Iterator[Event]:
    """Make the brains of a plan that are this process's. Events and errors as in `generate`."""
    try:
        yield from _make(plan)
    finally:
        release(plan.device)


def _make(plan: GenerationPlan) -> Iterator[Event]:
    request = plan.request
    total = sum(plan.wants(number) for numbers in plan.shard.batches(request) for number in numbers)
    done = made = 0
    begun = monotonic()
    used = plan.generator.card.level_steps[: len(plan.generator.steps())][: request.levels]
    if untrained := [str(level) for level, steps in enumerate(used) if not steps]:
        msg = f"Not trained, so that noise is generated there: level {', '.join(untrained)} of the model"
        yield Warned(message=f"{msg}. Train all levels from 0 on.")
    for numbers in plan.shard.batches(request):
        wanted = [number for number in numbers if plan.wants(number)]
        missing = [number for number in wanted if number not in plan.there]
        for number in wanted:
            if number in plan.there:
                done += 1
                yield from plan.sample(number).written()
                if request.segmentation:
                    yield plan.sample(number).regions
        if not missing:
            continue
        batch = [plan.sample(number) for number in numbers]
        for step in plan.steps(numbers):
            if step.step and request.num_samples <= FEW:
                yield Progress(stage=f"{_name(batch)} level {step.level}", step=step.step, total=step.of)
            elif step.step:  # 0 is the initial noise
                left = seconds_left(begun, made, made + total - done)
                where = f"{_name(batch)}, level {step.level}"
                yield Progress(stage="brains", step=done, total=total, seconds_left=left, message=where)
            yield from plan.shown(step, batch)
        for index, sample in enumerate(batch):
            if sample.number in missing:
                yield from plan.written(step, index, sample)
        made += len(missing)
        done += len(missing)
    yield Finished(message=f"{counted(total, 'brain')} in {plan.out}{plan.shard}")


def _name(batch: Sequence[Sample]) -> str:
    first, final = batch[0], batch[-1]
    return f"sample {first.number}" if first is final else f"samples {first.number}-{final.number}"


def segment_sample(volume: Volume) -> NDArray[np.uint8]:
    """Return the region map that the packaged segmentation model finds in the first channel of a volume."""
    from braindiffusion.segmentation import load_segmentation_model

    return load_segmentation_model().predict_volume(replace(volume, data=volume.data[:1])).regions


def regenerate(request: RegenerateRequest, run: Run) -> Iterator[Event]:
    """Make the brain of a sidecar again, and compare it with what was made then.

    Args:
        request: which sidecar.
        run: gets the volume where the request names no folder.

    Yields:
        as `generate`; a warning where the new brain is not the old one to the last bit.

    Raises:
        BrainDiffusionError: the sidecar does not tell enough, its model is gone or has changed, or as `generate`.
    """
    sidecar = load_sidecar(request.like)
    again = request_from_sidecar(request.like, request.out or run.results)
    made: dict[str, Any] = {}
    finished: Event = Finished()
    own = {name: getattr(request, name) for name in ("device", "previews", "overwrite")}
    for event in perform_plan(
        GenerationPlan(again.model_copy(update=own), run, segment_sample, like=request.like, resume=False)
    ):
        if isinstance(event, Finished):
            finished = event
            continue
        if isinstance(event, ArtifactWritten) and event.kind == "volume":
            made |= _fingerprint(load_sidecar(sidecar_path(Path(event.path))))
        yield event
    (channel, was), *_ = _fingerprint(sidecar).items()
    if was is None:
        yield finished  # a sidecar of an earlier version: there is nothing to compare with
    elif made.get(channel) == was:
        yield Finished(message="The very same brain, to the last bit")
    else:
        yield Warned(
            message="The brain is not the old one to the last bit: other processors, versions of torch and numbers of "
            "threads round in another way, which may show in the texture but not in the anatomy."
        )
        yield finished


def _fingerprint(sidecar: dict[str, Any]) -> dict[str, Any]:
    """Return the hash of the voxels, under the name of the channel: files may be renamed."""
    return {str(sidecar.get("channel")): sidecar.get("voxels_sha256")}


def demo(request: DemoRequest, run: Run) -> Iterator[Event]:
    """Generate one brain, its previews and its trajectory. Arguments, events and errors as in `generate`."""
    full = GenerateRequest(
        seed=request.seed, out=request.out, previews=True, trajectory=True, overwrite=request.overwrite
    )
    yield from perform_plan(GenerationPlan(full, run, segment_sample, resume=False))
