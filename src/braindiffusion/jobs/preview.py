"""The job `preview`: a low-resolution brain of a request, within a second or two.

The coarse levels run with a fraction of their steps, or the model's distilled one does; what finer levels would add is
interpolated. The brain has the anatomy of the one that the full generation makes.
It is shown as soon as its voxels are `FIRST_MM` wide, and sharpened until they are `ENOUGH_MM`.
"""

import time
from collections.abc import Iterator
from pathlib import Path

from braindiffusion.devices import choose_device, choose_precision
from braindiffusion.diffusion.samplers import SamplerName
from braindiffusion.generation.guidance import guidance_from
from braindiffusion.generation.inputs import Conditions
from braindiffusion.generation.outputs import Sample, as_volume
from braindiffusion.generation.placement import Placement
from braindiffusion.models.model_cache import cached_model, release
from braindiffusion.models.registry import find_model, read_card
from braindiffusion.runs import Event, Finished, GenerateRequest, PreviewRequest, Progress, Run

FIRST_MM, ENOUGH_MM = 8.0, 4.0
SAMPLER: SamplerName = "dpmpp_2m"
"""Of second order, at one evaluation a step: it can do with few."""
SHARE, FEWEST = 5, 3
"""Of a level's own steps one in so many, and no fewer than these."""
REST_SECONDS, RESTS = 0.05, 8
"""After the first volume the job can be cancelled so often, at this interval: who still moves a slider does not wait
for a step of a finer level, which takes as long as a preview."""
GUIDANCE = ("guidance", "guidance_interval", "guidance_rescale", "guidance_fields", "autoguidance")
"""Fields of a request that a distilled model cannot follow."""


def preview(request: PreviewRequest, run: Run) -> Iterator[Event]:
    """Show the first brain of a request, coarsely, twice where two levels are worth it.

    Sampler, steps, eta and rescaling are left out of account: they decide the texture, which is not seen here.

    Args:
        request: what would be asked for.
        run: its `results` get the volume.

    Yields:
        a step, and the brain whenever it has become sharper, always in the same file: a `preview`, which a viewer that
        is busy may leave out, and last a `volume`, which it may not.

    Raises:
        BrainDiffusionError: as `generate`.
    """
    asked = request.request
    device = choose_device(asked.device)
    generator = cached_model(_quick_model(asked), device)
    conditions = Conditions(asked, generator, quick=True)
    placement = Placement(asked, generator, conditions)
    guidance, _ = guidance_from(asked, generator, asked=conditions.names)
    sizes = generator.voxel_sizes[: asked.levels]
    last = next((i for i, millimetres in enumerate(sizes) if millimetres <= ENOUGH_MM), len(sizes) - 1)
    steps = None if generator.card.distilled else tuple(max(FEWEST, n // SHARE) for n in generator.steps())
    sample = Sample(1, asked.seed, run.results)
    try:
        for step in generator.sample(
            [asked.seed],
            condition=conditions.tensors([1], device),
            hooks=[guidance] if guidance else [],
            sampler=SAMPLER,
            steps=steps,
            levels=last + 1,
            dtype=choose_precision(device, asked.precision),
        ):
            if not step.step:  # the initial noise
                continue
            yield (progress := Progress(stage=f"level {step.level}", step=step.step, total=step.of))
            shown = step.level == last or sizes[step.level] <= FIRST_MM
            if shown and step.step == step.of:
                volume = placement.place(as_volume(step.smooth()[0], generator.spacing), 1)
                artifact = sample.preview(volume, run.results)
                if step.level == last:
                    yield artifact.model_copy(update={"kind": "volume"})
                    continue
                yield artifact
                for _ in range(RESTS):
                    time.sleep(REST_SECONDS)
                    yield progress
    finally:
        release(device)
    yield Finished()


def _quick_model(asked: GenerateRequest) -> Path:
    """Return the distilled model of the one that is asked for, if it has one and no other guidance is asked for."""
    folder = find_model(asked.model)
    settings = read_card(folder).fast
    if settings is None or settings.model is None:
        return folder
    if any(getattr(asked, name) != GenerateRequest.model_fields[name].default for name in GUIDANCE):
        return folder
    return find_model(settings.model)
