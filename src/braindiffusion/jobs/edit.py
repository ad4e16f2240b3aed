"""The job `edit`: proposals of an edited scan, or the values of a sweep."""

from collections.abc import Iterator
from time import perf_counter

from braindiffusion.editing.plan import ANIMATION, EditPlan
from braindiffusion.figures.animation import write_animation
from braindiffusion.models.model_cache import release
from braindiffusion.runs import ArtifactWritten, EditRequest, Event, Finished, Progress, Run
from braindiffusion.runs.durations import counted

PREVIEW_SECONDS = 0.5


def edit(request: EditRequest, run: Run) -> Iterator[Event]:
    """Generate the proposals of an edit.

    Args:
        request: which scan, what is painted, how many proposals.
        run: gets the volumes where the request names no folder, and previews.

    Yields:
        Progress for each sampler step of the levels that are generated, previews where they were asked for, and each
        proposal as it is written.

    Raises:
        BrainDiffusionError: the scan or the mask cannot be used, or the model cannot edit them.
    """
    yield Progress(stage="segmenting the scan", step=0, total=1)
    plan = EditPlan(request, run)
    yield Progress(stage="segmenting the scan", step=1, total=1)
    previewed = perf_counter()
    try:
        for number in range(1, plan.number + 1):
            which = f"{plan.noun} {number} of {plan.number}"
            for step in plan.steps(number):
                if step.step and step.level >= plan.first_level:  # 0 is the initial noise
                    yield Progress(stage=f"{which}, level {step.level}", step=step.step, total=step.of)
                due = step.step and perf_counter() - previewed > PREVIEW_SECONDS and not step.last
                if request.previews and due:
                    previewed = perf_counter()
                    yield plan.preview(step, number)
            if step.level < plan.first_level:  # no level is generated
                yield Progress(stage=f"{which}, deformed", step=1, total=1)
            yield plan.write(step, number)
        if plan.is_sweep:
            yield plan.write_sweep()
            yield write_animation_of(plan)
    finally:
        release(plan.device)
    made = plan.number
    yield Finished(message=f"{counted(made, plan.noun)} in {plan.out}")


def write_animation_of(plan: EditPlan) -> ArtifactWritten:
    """Write the sweep of a plan that is done as an animation."""
    with plan.outputs.writing():
        path = write_animation(plan.sweep(), plan.captions(), plan.out / ANIMATION, centre=plan.centre())
    return ArtifactWritten(kind="figure", path=str(path), name="animation")
