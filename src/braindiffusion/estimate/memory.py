"""Memory of a network, counted without allocating it: the real code runs on tensors without storage.

Every tensor is counted while it is alive, in the forward and backward pass, so the peak is what an allocator would have
to provide. Scratch memory within a convolution is not counted.
"""

import itertools
import math
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from braindiffusion.cohort.preprocessing import box_shape
from braindiffusion.conditions import ConditionSchema
from braindiffusion.diffusion.denoiser import denoising_loss
from braindiffusion.models.cascade.cascade import Level
from braindiffusion.models.cascade.config import CascadeConfig
from braindiffusion.models.condition_tensors import as_condition
from braindiffusion.training.ema import SIGMA_RELS
from braindiffusion.training.optimizers import muon_weights

if TYPE_CHECKING:
    from braindiffusion.training.presets import Preset


class LiveBytes(TorchDispatchMode):
    """A count of the bytes of all tensors that are created within it and alive.

    Attributes:
        now: bytes.
        peak: their highest number.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._alive: set[int] = set()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation and count its results."""
        out = func(*args, **(kwargs or {}))
        for made in tree_iter(out):
            if isinstance(made, Tensor):
                self._count(made.untyped_storage())
        return out

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._alive:  # a view
            return
        self._alive.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)

        def gone() -> None:
            self._alive.discard(key)
            self.now -= size

        weakref.finalize(storage, gone)


@contextmanager
def counted() -> Iterator[LiveBytes]:
    """Create tensors without storage and count them."""
    from torch._subclasses.fake_tensor import FakeTensorMode  # itself a tenth of a GB, which no job takes

    with FakeTensorMode(), LiveBytes() as live:
        yield live


@dataclass(frozen=True)
class Memory:
    """Memory of one level.

    Attributes:
        weights: bytes of its parameters and constants.
        working: peak of further bytes while it works, gradients included.
        matrices: bytes of the parameters that Muon updates where it is the optimizer.
    """

    weights: int
    working: int
    matrices: int = 0


@cache
def learning(config: CascadeConfig, index: int, batch: int, dtype: torch.dtype = torch.float32) -> Memory:
    """Return the memory of one forward and backward pass.

    Args:
        config: of the cascade.
        index: the level.
        batch: samples at once.
        dtype: precision of the network.
    """
    with counted() as live:
        level = Level(config, index).train()
        weights = live.now
        size = tuple(min(level.config.patch or n, n) for n in level.grid)
        x, y, z = (n * level.voxels for n in size)
        condition = as_condition(config.condition, {}, (x, y, z), batch)
        bands = torch.empty(batch, level.outputs // config.channels + level.has_coarse, config.channels, *size)
        clean = level.normalise(bands)[:, int(level.has_coarse) :].flatten(1, 2)
        coarse = torch.empty(batch, config.channels, *size) if level.has_coarse else None
        coarse_sigma = torch.ones(batch) if level.has_coarse else None
        coordinates = level.coordinates(torch.zeros(batch, 3), size)

        def network(x: Tensor, log_sigma: Tensor, asked: Any) -> Tensor:
            with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
                out: Tensor = level(x, log_sigma, coarse, coarse_sigma, coordinates, asked)
            return out

        noise = torch.empty_like(clean)
        prediction = level.config.prediction
        denoising_loss(network, clean, noise, torch.ones(batch), condition, prediction=prediction).mean().backward()
        matrices = sum(weight.nbytes for weight in muon_weights(level).values())
        return Memory(weights, live.peak - weights, matrices)


@cache
def sampling(config: CascadeConfig, index: int, batch: int, dtype: torch.dtype = torch.float32) -> Memory:
    """Return the memory of one evaluation of the whole grid with the tensors of the sampler. See `learning`."""
    with counted() as live, torch.no_grad():
        level = Level(config, index).eval()
        weights = live.now
        condition = as_condition(config.condition, {}, config.shape, batch)
        x = torch.empty(batch, level.outputs, *level.grid)
        held = [torch.empty_like(x) for _ in range(3)]  # the step before, its noise, the clean estimate
        coarse = torch.empty(batch, config.channels, *level.grid) if level.has_coarse else None
        coarse_sigma = torch.ones(batch) if level.has_coarse else None
        with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
            level.denoiser(coarse, coarse_sigma)(x, torch.ones(batch), condition)
        del held
        return Memory(weights, live.peak - weights)


def sample_bytes(config: CascadeConfig, index: int) -> int:
    """Return the bytes of one sample of a training batch: its bands and its part of a region map."""
    level = config.levels[index]
    sites = math.prod(min(level.patch or n, n) for n in config.grid(index))
    bands = (config.bands(index) + (index > 0)) * config.channels
    voxels = sites * 8 ** config.halvings(index) if config.has_maps else 0
    return sites * 4 * bands + voxels


@cache
def parameters(config: CascadeConfig) -> tuple[int, ...]:
    """Return the bytes of each level's weights and buffers."""
    with counted() as live:
        sizes = [0]
        levels = []
        for index in range(config.number_of_levels):
            levels.append(Level(config, index))
            sizes.append(live.now)
        return tuple(after - before for before, after in itertools.pairwise(sizes))


def training_bytes(weights: tuple[int, ...], step: Memory, drawn: int, copies: int = 2, *, muon: bool = False) -> int:
    """Return the memory of a device while one level is trained: models, the optimizer's state, averages, and one step.

    Args:
        weights: bytes of each level.
        step: of the level.
        drawn: bytes that work where a sample is made in between.
        copies: of the whole model: the one that learns, and the one that is sampled from.
        muon: whether Muon updates the matrices. It holds one number for each weight, AdamW two.
    """
    state = 2 * step.weights - muon * step.matrices
    return copies * sum(weights) + state + len(SIGMA_RELS) * step.weights + max(step.working, drawn)


def preset_bytes(preset: "Preset", spacing: float) -> int:
    """Return the peak of GPU memory of a preset in bfloat16, without conditions: these add little.

    Args:
        preset: with its batch sizes.
        spacing: of the cohort in millimetres, in the default box of `prepare`.
    """
    config = preset.cascade(box_shape(spacing), spacing, 1, ConditionSchema())
    levels = range(config.number_of_levels)
    drawn = max(sampling(config, index, 1, torch.bfloat16).working for index in levels)
    steps = [learning(config, index, preset.recipes[index].batch_size, torch.bfloat16) for index in levels]
    return max(
        training_bytes(parameters(config), step, drawn, muon=recipe.optimizer == "muon")
        for step, recipe in zip(steps, preset.recipes, strict=True)
    )
