"""The job `edit`: proposals of an edited scan, or the values of a sweep."""

from collections.abc import Iterator
from time import perf_counter

from braindiffusion.editing.plan import EditPlan
from braindiffusion.models.model_cache import release
from braindiffusion.runs import EditRequest, Event, Finished, Progress, Run

PREVIEW_SECONDS = 0.5


def edit(request: EditRequest, run: Run) -> Iterator[Event]:
    """Generate the proposals of an edit.

    Args:
        request: which scan, what is painted, how many proposals.
        run: gets the volumes where the request names no folder, and previews.

    Yields:
        Progress for each sampler step, previews where they were asked for, and each proposal as it is written.

    Raises:
        BrainDiffusionError: the scan or the mask cannot be used, or the model cannot edit them.
    """
    yield Progress(stage="segmenting the scan", step=0, total=1)
    plan = EditPlan(request, run)
    yield Progress(stage="segmenting the scan", step=1, total=1)
    previewed = perf_counter()
    try:
        for number in range(1, plan.number + 1):
            for step in plan.steps(number):
                if step.step:  # 0 is the initial noise
                    stage = f"{plan.noun} {number} of {plan.number}, level {step.level}"
                    yield Progress(stage=stage, step=step.step, total=step.of)
                due = step.step and perf_counter() - previewed > PREVIEW_SECONDS and not step.last
                if request.previews and due:
                    previewed = perf_counter()
                    yield plan.preview(step, number)
            yield plan.write(step, number)
        yield from plan.write_sweep()
    finally:
        release(plan.device)
    made = plan.number
    yield Finished(message=f"{made} {plan.noun}{'' if made == 1 else 's'} in {plan.out}")
