"""Free memory of a device, memory of this process, and synchronization."""

import psutil
import torch


def free_bytes(device: torch.device) -> int:
    """Return the free memory: on a CPU including what this process holds, on another device what is not allocated."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    return int(psutil.virtual_memory().available + psutil.Process().memory_info().rss)


KEPT = int(0.08e9)
"""Freed memory that allocators keep, and scratch memory of convolutions, on a CPU; `benchmarks/check_estimate.py`."""


def held_bytes(device: torch.device) -> int:
    """Return the memory of the process before the job: Python and its libraries on a CPU, 0 on another device."""
    return int(psutil.Process().memory_info().rss) + KEPT if device.type == "cpu" else 0


def settle(device: torch.device) -> None:
    """Wait until the device has finished all work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
