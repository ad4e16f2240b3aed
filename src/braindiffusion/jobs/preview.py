"""The job `preview`: a blurred brain within a second or two, of what somebody is about to ask for.

The coarse levels run with a fraction of their steps; what finer levels would add is interpolated. The brain has the
anatomy of the one that the full generation makes: coarse bands correlate by 0.998, measured with the packaged model.
It is shown as soon as its voxels are `FIRST_MM` wide, and sharpened until they are `ENOUGH_MM`.
"""

from collections.abc import Iterator

from braindiffusion.devices import choose_device, choose_precision
from braindiffusion.diffusion.samplers import SamplerName
from braindiffusion.generation.guidance import guidance_from
from braindiffusion.generation.inputs import Conditions
from braindiffusion.generation.outputs import Sample, as_volume
from braindiffusion.generation.sampling import sample_cascade
from braindiffusion.models.cascade import trained_levels
from braindiffusion.models.cascade.config import CascadeConfig
from braindiffusion.models.model_cache import cached_model, release
from braindiffusion.models.registry import find_model
from braindiffusion.runs import Event, Finished, PreviewRequest, Progress, Run

FIRST_MM, ENOUGH_MM = 8.0, 4.0
SAMPLER: SamplerName = "dpmpp_2m"
"""Of second order, at one evaluation a step: it can do with few."""
SHARE, FEWEST = 5, 3
"""Of a level's own steps one in so many, and no fewer than these."""


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
    cascade, card = cached_model(find_model(asked.model), device)
    config = cascade.config
    conditions = Conditions(asked, config)
    guidance, _ = guidance_from(asked, cascade, asked=bool(conditions))
    last = _last_level(config, min(trained_levels(card), asked.levels or config.number_of_levels))
    steps = tuple(max(FEWEST, level.steps // SHARE) for level in config.levels)
    sample = Sample(1, asked.seed, run.results)
    try:
        for step in sample_cascade(
            cascade,
            [asked.seed],
            condition=conditions.tensors([1], device),
            guidance=guidance,
            sampler=SAMPLER,
            steps=steps,
            until=last,
            dtype=choose_precision(device, asked.precision),
        ):
            yield Progress(stage=f"level {step.level}", step=step.step, total=step.of)
            shown = step.level == last or config.spacing * 2**step.halvings <= FIRST_MM
            if shown and step.step == step.of:
                told = sample.preview(as_volume(step.smooth()[0], cascade), run.results)
                yield told.model_copy(update={"kind": "volume"}) if step.level == last else told
    finally:
        release(device)
    yield Finished()


def _last_level(config: CascadeConfig, levels: int) -> int:
    """The first of these levels whose voxels are small enough; the last where none are."""
    sizes = [config.spacing * 2 ** (config.halvings(i) - (config.bands(i) > 1)) for i in range(levels)]
    return next((i for i, millimetres in enumerate(sizes) if millimetres <= ENOUGH_MM), levels - 1)
