"""The device that is asked: what it has free, and when it has done what it was told."""

import psutil
import torch


def free_bytes(device: torch.device) -> int:
    """Of memory: on a CPU what this process holds already is its own, on another device what is not allocated."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    return int(psutil.virtual_memory().available + psutil.Process().memory_info().rss)


KEPT = int(0.08e9)
"""What a CPU's allocators keep of what was freed, and its convolutions borrow; `benchmarks/check_estimate.py`."""


def held_bytes(device: torch.device) -> int:
    """What the process takes whatever it does: on a CPU Python and its libraries, on another device nothing."""
    return int(psutil.Process().memory_info().rss) + KEPT if device.type == "cpu" else 0


def settle(device: torch.device) -> None:
    """Wait until all that was asked is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
