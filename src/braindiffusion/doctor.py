"""Checks of this machine: versions, device, arithmetic, screen, disk, each with a verdict."""

import ctypes.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import psutil

from braindiffusion import __version__
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.models.registry import find_model, list_models
from braindiffusion.runs import default_runs_dir
from braindiffusion.runs.versions import in_words, package_version

if TYPE_CHECKING:
    import torch

GIB = 1024**3


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: The thing.
        verdict: `good`; `fair`, which works but could be better; `bad`, which will fail.
        detail: One sentence.
    """

    what: str
    verdict: Literal["good", "fair", "bad"]
    detail: str


def examine() -> Iterator[Finding]:
    """Look at everything that jobs depend on. Takes some seconds: torch is imported and timed."""
    yield _versions()
    yield _memory()
    yield _disk()
    yield _models()
    yield _screen()
    yield from _torch()


def _versions() -> Finding:
    names = ("torch", "torchio", "nibabel", "zarr", "napari")
    found = {name: package_version(name) for name in names}
    verdict: Literal["good", "bad"] = "good" if all(found[name] for name in names if name != "napari") else "bad"
    used = {"braindiffusion": __version__, "Python": platform.python_version(), **found}
    return Finding("versions", verdict, f"{in_words(used)}.")


def _memory() -> Finding:
    memory = psutil.virtual_memory()
    detail = f"{memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB free."
    return Finding("memory", "good" if memory.available > 3 * GIB else "fair", detail)


def _disk() -> Finding:
    folder = default_runs_dir()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    if not os.access(there, os.W_OK):
        return Finding(
            "runs folder", "bad", f"{folder} cannot be written to; set BRAINDIFFUSION_RUNS to another folder."
        )
    detail = f"{folder}, {free / GIB:.0f} GiB free."
    return Finding("runs folder", "good" if free > 2 * GIB else "fair", detail)


def _models() -> Finding:
    try:
        names = [find_model(model.name).name for model in list_models()]
    except BrainDiffusionError as error:
        return Finding("packaged models", "bad", str(error))
    if not names:
        return Finding("packaged models", "fair", "none; train one, or give `generate` a model's path.")
    return Finding("packaged models", "good", f"{', '.join(names)}.")


def _screen() -> Finding:
    if sys.platform in ("darwin", "win32"):
        return Finding("screen", "good", "the desktop's own.")
    libraries = {"libGL": "GL", "libEGL": "EGL", "libxkbcommon-x11": "xkbcommon-x11", "libxcb-cursor": "xcb-cursor"}
    missing = [name for name, short in libraries.items() if ctypes.util.find_library(short) is None]
    if missing:
        return Finding(
            "screen", "fair", f"napari will not open without {', '.join(missing)}; `make setup` installs them."
        )
    display = os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY")
    if not display:
        detail = "none here; the command line needs none, napari can use xvfb-run."
        return Finding("screen", "fair", detail)
    return Finding("screen", "good", f"display {display}, OpenGL libraries are there.")


def _torch() -> Iterator[Finding]:
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Finding("torch", "bad", f"cannot be imported ({error}); install it again.")
        return
    yield _device(torch.cuda.is_available(), torch.backends.mps.is_available())
    cores, threads = psutil.cpu_count(logical=False) or os.cpu_count() or 1, torch.get_num_threads()
    yield Finding(
        "threads",
        "good" if threads <= (os.cpu_count() or 1) else "fair",
        f"torch uses {threads}, on {cores} cores; the load is {os.getloadavg()[0]:.1f}."
        if hasattr(os, "getloadavg")
        else f"torch uses {threads}, on {cores} cores.",
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    yield _bfloat16(device)


def _device(cuda: bool, mps: bool) -> Finding:
    import torch

    if cuda:
        properties = torch.cuda.get_device_properties(0)
        return Finding("device", "good", f"{properties.name}, {properties.total_memory / GIB:.0f} GiB.")
    if mps:
        return Finding("device", "good", "Apple GPU (mps).")
    return Finding("device", "good", f"CPU ({_cpu_name()}); generating takes seconds, training hours.")


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _bfloat16(device: "torch.device") -> Finding:
    """A 3D convolution in bfloat16: is it right, and is it faster, in either memory layout?"""
    import torch

    from braindiffusion.devices import LAYOUTS, choose_layout, time_convolution

    times = time_convolution(device, seconds=0.3)
    if not times.right:
        return Finding("bfloat16", "bad", f"wrong by {times.error:.1%} here; take the precision float32 ({times}).")
    (quickest, _), _ = min(times.milliseconds.items(), key=lambda one: one[1])
    layout = LAYOUTS[choose_layout(device)]
    if quickest is torch.bfloat16:
        detail = f"right to {times.error:.2%} and faster than float32 ({times}). Convolutions run {layout}."
        return Finding("bfloat16", "good", detail)
    detail = f"right to {times.error:.2%} but slower than float32: take the precision float32 ({times})."
    return Finding("bfloat16", "fair", detail)
