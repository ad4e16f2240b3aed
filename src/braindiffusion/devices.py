"""Which device, which precision: asked once, answered the same for training and generation."""

import psutil
import torch

from braindiffusion.errors import BrainDiffusionError


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
    """`auto` takes bfloat16 where the hardware multiplies it, else float32.

    A CPU without bfloat16 instructions emulates a bfloat16 convolution about two hundred times slower than float32
    (measured on an AVX2 machine), so there `auto` must not guess.

    Raises:
        BrainDiffusionError: bfloat16 was asked for where it would be emulated.
    """
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported()
    elif device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        fast = bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    else:
        fast = False
    if wanted == "bfloat16" and not fast:
        raise BrainDiffusionError(f"bfloat16 would be emulated on this {device.type}: take precision auto or float32.")
    return torch.bfloat16 if fast and wanted != "float32" else torch.float32


def memory_of(device: torch.device) -> int:
    """Bytes that a device has altogether, in use or not."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory())
    return int(psutil.virtual_memory().total)
