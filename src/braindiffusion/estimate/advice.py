"""Advice for a training that does not fit into memory: the mildest change that makes it fit."""

from collections.abc import Callable, Iterator

from braindiffusion.runs import TrainRequest
from braindiffusion.runs.requests import label
from braindiffusion.training.plan import preset_of
from braindiffusion.training.presets import PRESETS, Preset

Changes = dict[str, int | bool | str]
PATCHES = (48, 32, 24, 16)
"""Patch sizes to try; smaller ones see no anatomy."""
FEW = 4
"""Batch size below which steps are noisy and a GPU is idle: other changes are tried first."""


def mildest_change(request: TrainRequest, fits: Callable[[Preset], bool]) -> Changes:
    """Return fields of the request with values that make it fit; empty where there are none.

    Half the batch size is tried first, then smaller patches of the fine levels, gradient checkpointing, both, smaller
    batches, and last a smaller preset.

    Args:
        request: a training that does not fit.
        fits: whether a preset with its batch sizes fits.
    """
    chosen = preset_of(request)
    most = max(recipe.batch_size for recipe in chosen.recipes)
    for least in dict.fromkeys(max(1, least) for least in (most // 2, min(FEW, most // 2), 1)):
        for way in _ways(request, chosen):
            if size := _batch_size(request, way, (least, most), fits):
                smaller: Changes = {"batch_size": size} if size < most else {}
                return smaller | way
    return next((smaller for smaller in _smaller(chosen) if fits(_with(request, smaller))), {})


def in_words(changes: Changes) -> str:
    """Return the changes as advice: "use batch size 4, gradient checkpointing"."""
    if not changes:
        return "take a device with more memory"
    words = (
        label(TrainRequest, name).lower() + ("" if value is True else f" {value}") for name, value in changes.items()
    )
    return f"use {', '.join(words)}"


def _ways(request: TrainRequest, chosen: Preset) -> Iterator[Changes]:
    """Yield changes besides the batch size, mildest first."""
    edges = [level.patch for level in chosen.levels if not any(level.unet.attention)]
    smaller = [patch for patch in PATCHES if any(edge is None or edge > patch for edge in edges)]
    patches: list[Changes] = [{"patch": patch} for patch in smaller]
    again: list[Changes] = [] if request.checkpointing else [{"checkpointing": True}]
    yield {}
    yield from patches[:-1]
    yield from again
    yield from patches[-1:]
    yield from (patch | once for once in again for patch in patches)


def _batch_size(
    request: TrainRequest, way: Changes, sizes: tuple[int, int], fits: Callable[[Preset], bool]
) -> int | None:
    """Return the largest batch size between two that fits. The smallest is tried first: it decides most often."""
    least, most = sizes

    def works(size: int) -> bool:
        return fits(_with(request, way | {"batch_size": size}))

    if not works(least):
        return None
    if way and fits(_with(request, way)):
        return most
    size = least
    while 2 * size < most and works(2 * size):
        size *= 2
    return size


def _with(request: TrainRequest, changes: Changes) -> Preset:
    return preset_of(request.model_copy(update=changes))


def _smaller(chosen: Preset) -> Iterator[Changes]:
    """Yield smaller presets, largest first; for a user's preset, all of them."""
    names = list(PRESETS)
    names = names[: names.index(chosen.name)] if chosen.name in names else names
    for name in reversed(names):
        if len(PRESETS[name].levels) == len(chosen.levels):
            yield {"preset": name}
