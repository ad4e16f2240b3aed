"""Memory layout and compilation: both are choices of speed, and change no result."""

import copy
import logging
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from braindiffusion import devices
from braindiffusion.devices import (
    CompiledNetwork,
    ConvolutionTimes,
    choose_layout,
    choose_precision,
    compile_after,
    time_convolution,
)
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.models.card import ModelCard
from braindiffusion.models.cascade import Cascade
from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig, UNetConfig
from braindiffusion.models.cascade.generator import CascadeGenerator

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
LAST, FIRST = torch.channels_last_3d, torch.contiguous_format


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a new process."""
    monkeypatch.setattr(CompiledNetwork, "failed", False)
    monkeypatch.setattr(CompiledNetwork, "compiled", 0)
    choose_layout.cache_clear()
    yield
    choose_layout.cache_clear()


def small_generator() -> CascadeGenerator:
    torch.manual_seed(0)
    base = UNetConfig(widths=(8,), blocks=(1,), attention=(True,))
    details = UNetConfig(widths=(8, 16), blocks=(1, 1), attention=(False, False))
    levels = (LevelConfig(unet=base, steps=2), LevelConfig(unet=details, steps=2, patch=12))
    cascade = Cascade(CascadeConfig(shape=(16, 24, 16), spacing=8.0, depth=1, levels=levels)).eval()
    with torch.no_grad():
        for p in cascade.parameters():
            p.add_(0.05 * torch.randn(p.shape))
    return CascadeGenerator(cascade, ModelCard())


def brains(generator: CascadeGenerator, seeds: list[int]) -> Tensor:
    *_, step = generator.sample(seeds)
    return step.volume()


def compiler(monkeypatch: pytest.MonkeyPatch, make: Callable[[Any], Any]) -> list[dict[str, Any]]:
    """Replace `torch.compile`; return the list of its settings, one entry a call."""
    calls: list[dict[str, Any]] = []

    def replaced(function: Any, **settings: Any) -> Any:
        calls.append(settings)
        return make(function)

    monkeypatch.setattr(torch, "compile", replaced)
    return calls


def test_compiled_samples_are_those_of_the_networks_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through TorchDynamo, which makes one graph without breaks; that of a GPU is then compiled further."""
    compile_ = torch.compile
    calls = compiler(monkeypatch, lambda one: compile_(one, backend="eager", dynamic=False, fullgraph=True))
    generator = small_generator()
    generator.to(CPU)
    expected, names = brains(generator, [0, 1]), list(generator.cascade.state_dict())
    assert not calls  # a CPU does not compile
    monkeypatch.setenv(devices.COMPILE_VARIABLE, "always")
    generator.to(CPU)
    compiled = brains(generator, [0, 1])
    torch.testing.assert_close(compiled, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(brains(generator, [1]), compiled[1:], atol=1e-4, rtol=0)
    assert calls == [{"mode": "reduce-overhead", "dynamic": False, "fullgraph": True}] * 2
    assert not CompiledNetwork.failed
    assert CompiledNetwork.compiled >= 2
    assert list(generator.cascade.state_dict()) == names
    assert copy.deepcopy(generator.cascade).level(0).compiled is None  # a copy may be trained
    monkeypatch.setenv(devices.COMPILE_VARIABLE, "never")
    generator.to(CPU)
    assert generator.cascade.level(0).compiled is None


def fails(function: Any) -> Any:
    def compiled(*inputs: Any) -> Any:
        msg = "Failed to find C compiler.\nMore lines"
        raise RuntimeError(msg)

    return compiled


def lies(function: Any) -> Any:
    return lambda *inputs: 1.2 * function(*inputs)


def knows_no_number(function: Any) -> Any:
    return lambda *inputs: torch.nan * function(*inputs)


@pytest.mark.parametrize(
    ("make", "told"), [(fails, "Failed to find C compiler."), (lies, "off by 20.0%"), (knows_no_number, "off by nan%")]
)
def test_where_compiling_fails_sampling_goes_on_and_says_so_once(
    make: Callable[[Any], Any], told: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    generator = small_generator()
    generator.to(CPU)
    expected = brains(generator, [0])
    calls = compiler(monkeypatch, make)
    monkeypatch.setenv(devices.COMPILE_VARIABLE, "always")
    generator.to(CPU)
    with caplog.at_level(logging.WARNING, "braindiffusion"):
        assert torch.equal(brains(generator, [0]), expected)
    assert len(calls) == 1  # no level tries again
    assert len(caplog.messages) == 1
    assert told in caplog.messages[0]
    assert "\n" not in caplog.messages[0]


def test_what_goes_wrong_only_in_a_later_run_is_seen(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A CUDA graph is recorded by the second run and replayed by the third."""
    runs: list[int] = []

    def make(function: Any) -> Any:
        def compiled(x: Tensor) -> Tensor:
            runs.append(len(runs))
            out: Tensor = function(x)
            return 2 * out if len(runs) == 3 else out

        return compiled

    compiler(monkeypatch, make)
    network = CompiledNetwork(nn.Identity(), after=0)
    with caplog.at_level(logging.WARNING, "braindiffusion"):
        assert all(torch.equal(network(torch.ones(1)), torch.ones(1)) for _ in range(4))
    assert len(runs) == 3
    assert "off by 100.0%" in caplog.messages[0]


def test_only_shapes_that_recur_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    compiler(monkeypatch, lambda function: lambda x: function(x))
    network = CompiledNetwork(nn.Identity(), after=2)
    for _ in range(2):
        network(torch.ones(1))
    network(torch.ones(2))
    assert CompiledNetwork.compiled == 0
    network(torch.ones(1))
    assert CompiledNetwork.compiled == 1
    monkeypatch.setattr(CompiledNetwork, "compiled", devices.MOST_COMPILED)
    for _ in range(3):
        network(torch.ones(2))
    assert CompiledNetwork.compiled == devices.MOST_COMPILED


def test_who_decides_about_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(devices.COMPILE_VARIABLE, raising=False)
    assert compile_after(CPU) is None
    assert compile_after(CUDA) == devices.COMPILE_AFTER
    monkeypatch.setenv(devices.COMPILE_VARIABLE, "never")
    assert compile_after(CUDA) is None
    monkeypatch.setenv(devices.COMPILE_VARIABLE, "yes")
    with pytest.raises(BrainDiffusionError, match="'yes': set it to auto, never or always"):
        compile_after(CPU)


def times(last: float, first: float, error: float = 0.002) -> ConvolutionTimes:
    milliseconds = {(dtype, layout): 9.0 for dtype in (torch.float32, torch.bfloat16) for layout in (LAST, FIRST)}
    milliseconds |= {(torch.bfloat16, LAST): last, (torch.bfloat16, FIRST): first}
    return ConvolutionTimes(milliseconds, error)


def test_the_faster_layout_is_taken_and_a_close_race_is_not_decided_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    assert times(2.0, 1.0).fastest_layout(torch.bfloat16) is FIRST
    assert times(1.1, 1.0).fastest_layout(torch.bfloat16) is LAST
    assert times(2.0, 1.0).fastest_layout(torch.float32) is LAST
    measured = []

    def measure(device: torch.device) -> ConvolutionTimes:
        measured.append(device)
        return times(2.0, 1.0)

    monkeypatch.setattr(devices, "time_convolution", measure)
    monkeypatch.setattr(devices, "choose_precision", lambda device: torch.bfloat16)
    assert choose_layout(CPU) is LAST
    assert not measured
    assert [choose_layout(CUDA), choose_layout(CUDA)] == [FIRST, FIRST]
    assert measured == [CUDA]


def test_a_build_that_computes_wrongly_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(devices, "time_convolution", lambda device: times(1.0, 1.0, error=0.3))
    monkeypatch.setattr(devices, "choose_precision", lambda device: torch.bfloat16)
    with caplog.at_level(logging.WARNING, "braindiffusion"):
        choose_layout(CUDA)
    assert "wrong by 30.0 % on cuda. Use the precision float32" in caplog.messages[0]


def test_a_convolution_is_timed_in_both_layouts_and_precisions() -> None:
    found = time_convolution(CPU)
    assert len(found.milliseconds) == 4
    assert 1e-4 < found.error < devices.BF16_ERROR_BOUND
    assert all(f"{name} channels {end} " in str(found) for name in ("float32", "bfloat16") for end in ("last", "first"))


@pytest.mark.parametrize(
    ("milliseconds", "chosen"), [(4.0, torch.bfloat16), (8.0, torch.float32), (15.0, torch.float32)]
)
def test_a_cpu_with_bfloat16_instructions_takes_them_only_where_they_are_clearly_faster(
    milliseconds: float, chosen: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    monkeypatch.setattr(devices, "time_convolution", lambda device, seconds: times(2 * milliseconds, milliseconds))
    devices._cpu_gains_by_bfloat16.cache_clear()
    try:
        assert choose_precision(CPU) is chosen
        assert choose_precision(CPU, "bfloat16") is torch.bfloat16
        assert choose_precision(CPU, "float32") is torch.float32
    finally:
        devices._cpu_gains_by_bfloat16.cache_clear()


def test_a_cpu_without_bfloat16_instructions_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    monkeypatch.setattr(devices, "time_convolution", None)
    assert choose_precision(CPU) is torch.float32
    with pytest.raises(BrainDiffusionError, match="would be emulated"):
        choose_precision(CPU, "bfloat16")


@pytest.mark.parametrize("layout", [LAST, FIRST])
def test_a_layout_changes_no_result(layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = small_generator()
    expected = brains(generator, [0])
    monkeypatch.setattr("braindiffusion.models.cascade.generator.choose_layout", lambda device: layout)
    generator.to(CPU)
    assert generator.cascade.level(1).state_dict()["unet.stem.weight"].is_contiguous(memory_format=layout)
    torch.testing.assert_close(brains(generator, [0]), expected, atol=1e-4, rtol=0)


@pytest.mark.skipif(sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="an option of glibc")
@pytest.mark.parametrize("own", ["", "MALLOC_TOP_PAD_"])
def test_memory_that_is_freed_is_used_again_unless_the_user_has_set_an_option(own: str) -> None:
    """Counted are pages that the system fills with zeros anew, for four tensors of 24 MB that are made and freed."""
    program = """
import resource, torch
from braindiffusion.devices import keep_free_memory
keep_free_memory()
def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    [torch.ones(6 << 20) for _ in range(4)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print([pages() for _ in range(6)][-1])
"""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    environment = kept | ({own: str(1 << 17)} if own else {})
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    anew = int(done.stdout) > 10  # of 24,576 pages of 4 kB, or 48 huge ones
    assert anew == bool(own)
