"""Device, precision, memory layout and compilation: chosen here, the same way for training and generation."""

import ctypes
import logging
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from time import get_clock_info, perf_counter, thread_time
from typing import Any, ClassVar

import psutil
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from braindiffusion.errors import BrainDiffusionError

logger = logging.getLogger(__name__)

BF16_ERROR_BOUND = 0.02
"""Relative error of a bfloat16 convolution that is only rounding: 8 bits of mantissa, sums kept in float32."""
PRECISIONS = (torch.float32, torch.bfloat16)
LAYOUTS = {torch.channels_last_3d: "channels last", torch.contiguous_format: "channels first"}
FEWEST_RUNS = 5
"""Runs of which the fastest counts."""
CLEARLY_FASTER = 1.25
"""Ratio of times from which a layout is preferred to channels last, and on a CPU bfloat16 to float32: a close race must
not be decided by chance."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Options of glibc's `mallopt` (malloc.h)."""
COMPILE_VARIABLE = "BRAINDIFFUSION_COMPILE"
"""Environment variable: `auto`, `never` or `always`."""
COMPILE_AFTER = 2000
"""Evaluations of a network, with the same shapes, after which it is compiled on CUDA. Estimated, not measured: 10 s to
30 s to compile a level of 2 mm, of which an evaluation gives back 3 ms. `benchmarks/compare_peers.py` measures both."""
MOST_COMPILED = 8
"""Shapes that are compiled in a process: `torch.compile` keeps as many of one function."""
COMPILED_ERROR_BOUND = 0.05
"""Relative difference between a network compiled and as it is, both in bfloat16."""
CHECKED_RUNS = 3
"""First runs of a compiled shape that are compared with the network: a CUDA graph is recorded by the second one."""


def choose_device(name: str = "auto") -> torch.device:
    """`auto` takes CUDA, then Apple's MPS, then the CPU.

    Raises:
        BrainDiffusionError: the device that was asked for is not there.
    """
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if there[kind]))
    if not there.get(name.partition(":")[0], False):
        known = ", ".join(kind for kind, present in there.items() if present)
        raise BrainDiffusionError(f"Device '{name}' is not available here: choose one of auto, {known}.")
    return torch.device(name)


def choose_precision(device: torch.device, wanted: str = "auto") -> torch.dtype:
    """`auto` takes bfloat16 where the hardware multiplies it, on a CPU where it is faster too, else float32.

    A CPU without bfloat16 instructions emulates a bfloat16 convolution about two hundred times slower than float32
    (measured on an AVX2 machine). With them it may be twice as fast, or take 1.6 times as long (AVX512 without AMX).

    Raises:
        BrainDiffusionError: bfloat16 was asked for where it would be emulated.
    """
    known = _multiplies_bfloat16(device)
    if wanted == "bfloat16" and not known:
        raise BrainDiffusionError(f"bfloat16 would be emulated on this {device.type}: take precision auto or float32.")
    if wanted == "auto":
        return torch.bfloat16 if known and (device.type != "cpu" or _cpu_gains_by_bfloat16()) else torch.float32
    return torch.bfloat16 if wanted == "bfloat16" else torch.float32


def _multiplies_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions that multiply bfloat16."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    if device.type != "cpu":
        return False
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


@cache
def _cpu_gains_by_bfloat16() -> bool:
    """Whether convolutions are clearly faster in bfloat16 than in float32 on a CPU that has both: measured once."""
    return time_convolution(torch.device("cpu"), 0.02).fastest_precision() is torch.bfloat16


def memory_of(device: torch.device) -> int:
    """Bytes that a device has altogether, in use or not."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory())
    return int(psutil.virtual_memory().total)


@cache
def keep_free_memory() -> None:
    """Keep memory that is freed for the next tensors, where the C library is glibc and no `MALLOC_...` is set.

    glibc returns large pieces to the system, which then fills each new one with zeros: up to a tenth of the processor
    time of a brain of 2 mm. Up to a quarter of a gigabyte is kept; pieces above 32 MB are returned, as at 1 mm.
    """
    if sys.platform == "linux" and not any(name.startswith("MALLOC_") for name in os.environ):
        option = getattr(ctypes.CDLL(None), "mallopt", None)
        if option is not None:
            option(M_MMAP_THRESHOLD, 32 << 20)
            option(M_TRIM_THRESHOLD, 256 << 20)


def return_free_memory() -> None:
    """Return memory that was freed to the system, where the C library has a function for it (glibc).

    Threads allocate from areas of their own, whose free parts neither other threads nor other processes can use.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


class Uninitialized(TorchFunctionMode):
    """Networks that are built in this context keep what their memory holds: their weights are read, or not needed.

    To draw them takes time, on the device `meta` two seconds, since torch imports its compiler for that.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a function of torch, unless it draws weights."""
        given = kwargs or {}
        if getattr(func, "__module__", None) == nn.init.__name__:
            return given.get("tensor", args[0] if args else None)
        return func(*args, **given)


@dataclass(frozen=True)
class ConvolutionTimes:
    """A 3D convolution on a device.

    Attributes:
        milliseconds: by precision and memory layout.
        error: relative error of bfloat16, the larger of both layouts.
    """

    milliseconds: dict[tuple[torch.dtype, torch.memory_format], float]
    error: float

    @property
    def right(self) -> bool:
        """Whether bfloat16 is off by rounding only."""
        return self.error < BF16_ERROR_BOUND

    def fastest_layout(self, dtype: torch.dtype) -> torch.memory_format:
        """Return channels last, unless the other layout is clearly faster."""
        last, first = (self.milliseconds[dtype, layout] for layout in LAYOUTS)
        return torch.contiguous_format if last > CLEARLY_FASTER * first else torch.channels_last_3d

    def fastest_precision(self) -> torch.dtype:
        """Return float32, unless bfloat16 is clearly faster; each in its faster layout."""
        full, half = (min(self.milliseconds[dtype, layout] for layout in LAYOUTS) for dtype in PRECISIONS)
        return torch.bfloat16 if full > CLEARLY_FASTER * half else torch.float32

    def __str__(self) -> str:
        return ", ".join(
            f"{str(dtype).removeprefix('torch.')} {LAYOUTS[layout]} {value:.2f} ms"
            for (dtype, layout), value in self.milliseconds.items()
        )


def time_convolution(device: torch.device, seconds: float = 0.005) -> ConvolutionTimes:
    """Time a 3D convolution in both precisions and memory layouts, each for some seconds; on a CPU of one thread.

    It is small on a CPU without bfloat16 instructions, which may need a hundred times as long for it.
    """
    side, channels = (32, 64) if device.type != "cpu" else (12, 48) if _multiplies_bfloat16(device) else (12, 16)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((2, channels, side, side, side), generator=generator).to(
        device
    )  # of one, PyTorch may not take oneDNN
    weight = (torch.randn((channels, channels, 3, 3, 3), generator=generator) / (27 * channels) ** 0.5).to(device)
    milliseconds, errors = {}, []
    with torch.inference_mode(), _one_thread():
        reference = torch.nn.functional.conv3d(x, weight, padding=1)
        for dtype in PRECISIONS:
            for layout in LAYOUTS:
                one, kernel = (t.to(dtype).contiguous(memory_format=layout) for t in (x, weight))
                work = partial(torch.nn.functional.conv3d, one, kernel, padding=1)
                result, milliseconds[dtype, layout] = _timed(work, device, seconds)
                if dtype is torch.bfloat16:
                    errors.append(float((result.float() - reference).norm() / reference.norm()))
    return ConvolutionTimes(milliseconds, max(errors))


def _timed(compute: Callable[[], Tensor], device: torch.device, seconds: float) -> tuple[Tensor, float]:
    """A result, and the least milliseconds that it took, in some seconds and `FEWEST_RUNS`.

    On a CPU these are milliseconds of a processor, which other programs do not lengthen.
    """
    precise = get_clock_info("thread_time").resolution < 1e-4  # not on Windows
    clock = thread_time if device.type == "cpu" and precise else perf_counter

    def settled() -> Tensor:
        result = compute()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return result

    taken: list[float] = []
    result = settled()  # the first call also chooses a kernel: not timed
    end = perf_counter() + seconds
    while len(taken) < FEWEST_RUNS or perf_counter() < end:
        begun = clock()
        settled()
        taken.append(1000 * (clock() - begun))
    return result, min(taken)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute in the calling thread alone, on a CPU: it would wait for others where they have to wait for a core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@cache
def choose_layout(device: torch.device) -> torch.memory_format:
    """Return the memory layout in which 3D convolutions are fastest: measured once on CUDA, channels last elsewhere.

    Where bfloat16 is chosen and gives wrong results, a warning is logged.
    """
    if device.type != "cuda":
        return torch.channels_last_3d
    times, dtype = time_convolution(device), choose_precision(device)
    if dtype is torch.bfloat16 and not times.right:
        logger.warning(
            "This build of torch is bad: a bfloat16 convolution is wrong by %.1f %% on %s. Use the precision float32.",
            100 * times.error,
            device,
        )
    return times.fastest_layout(dtype)


def compile_after(device: torch.device) -> int | None:
    """Return the number of evaluations after which a network is compiled for sampling; None where it never is.

    Raises:
        BrainDiffusionError: the environment variable has another value.
    """
    chosen = os.environ.get(COMPILE_VARIABLE) or "auto"
    if chosen not in ("auto", "never", "always"):
        raise BrainDiffusionError(f"{COMPILE_VARIABLE} is '{chosen}': set it to auto, never or always.")
    if chosen == "always":
        return 0
    return COMPILE_AFTER if chosen == "auto" and device.type == "cuda" else None


class CompiledNetwork:
    """A network whose evaluations are compiled for the shapes that recur, with CUDA graphs where there is CUDA.

    The network and its weights stay as they are. Where compiling fails, or gives other numbers than the network, this
    is logged once, and all networks of the process run without it.

    Args:
        network: the network, for sampling only.
        after: evaluations with the same shapes after which they are compiled.
    """

    failed: ClassVar[bool] = False
    compiled: ClassVar[int] = 0
    """Shapes that were compiled in this process."""

    def __init__(self, network: nn.Module, after: int) -> None:
        self._network, self._after = network, after
        self._evaluations: Counter[tuple[Any, ...]] = Counter()
        self._runs: Counter[tuple[Any, ...]] = Counter()
        self._fast: Callable[..., Tensor] | None = None

    def __deepcopy__(self, memo: object) -> None:
        """A copy of the model has none: it may be trained."""

    def __call__(self, *inputs: Tensor | None) -> Tensor:
        """Evaluate the network."""
        shapes = tuple(None if one is None else tuple(one.shape) for one in inputs)
        self._evaluations[shapes] += 1
        if not self.failed and self._recurs(shapes):
            try:
                return self._evaluate(shapes, inputs)
            except Exception as error:  # noqa: BLE001 compilers of all kinds raise all kinds of errors
                CompiledNetwork.failed = True
                what = (str(error).strip() or type(error).__name__).splitlines()[0]
                logger.warning("Sampling goes on without torch.compile, which failed here: %s", what)
        out: Tensor = self._network(*inputs)
        return out

    def _recurs(self, shapes: tuple[Any, ...]) -> bool:
        if self._runs[shapes]:
            return True
        return self._evaluations[shapes] > self._after and CompiledNetwork.compiled < MOST_COMPILED

    def _evaluate(self, shapes: tuple[Any, ...], inputs: tuple[Tensor | None, ...]) -> Tensor:
        if self._fast is None:
            self._fast = torch.compile(self._network.forward, mode="reduce-overhead", dynamic=False, fullgraph=True)
        out = self._fast(*inputs)
        if self._runs[shapes] < CHECKED_RUNS:
            expected = self._network(*inputs)
            error = float((out - expected).norm() / expected.norm().clamp_min(1e-12))
            if not error <= COMPILED_ERROR_BOUND:
                msg = f"the compiled network is off by {error:.1%}"
                raise RuntimeError(msg)
            CompiledNetwork.compiled += not self._runs[shapes]
            self._runs[shapes] += 1
        return out
