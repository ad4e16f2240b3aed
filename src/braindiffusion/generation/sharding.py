"""Many samples: dealt out over processes, and never made twice.

Processes share nothing but the folder that they write into. Each has a run of its own, so that one that dies takes no
other with it, and none waits. Batches are dealt out whole: who is in one is decided by the numbers alone, so that a
brain is the same, to the last bit, however many processes there are and however often they were interrupted.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.generation.reproduce import difference
from braindiffusion.runs import GenerateRequest
from braindiffusion.runs.process_rank import ProcessRank
from braindiffusion.runs.sidecar import load_sidecar

SIDECAR = re.compile(r"sample_(\d+)(_.*)?\.json")


class Shard(ProcessRank):
    """This process among those of one launch."""

    def __str__(self) -> str:
        return f" (process {self.rank + 1} of {self.world})" if self.world > 1 else ""

    def device(self, device: torch.device) -> torch.device:
        """One GPU a process, where there are several."""
        return torch.device("cuda", self.local % torch.cuda.device_count()) if str(device) == "cuda" else device

    def batches(self, request: GenerateRequest) -> Iterator[range]:
        """Numbers of the samples of each batch of this process."""
        firsts = range(1, request.num_samples + 1, request.batch_size)
        for first in firsts[self.rank :: self.world]:
            yield range(first, min(first + request.batch_size, request.num_samples + 1))


def finished_samples(
    out: Path,
    wanted: Callable[[int], bool],
    decides: Callable[[int], dict[str, Any]],
    channels: int,
    trajectory: str | None,
    regions: bool = False,
) -> set[int]:
    """Numbers of the samples that are whole in a folder, made by this very request.

    Args:
        out: folder of the samples.
        wanted: whether the sample of a number is asked for; others may be anybody's.
        decides: what the sidecar of the sample of a number tells.
        channels: files a sample.
        trajectory: what its trajectory shows; None where it needs none.
        regions: whether a region map belongs to it.

    Raises:
        BrainDiffusionError: the folder holds samples of these numbers by another request.
    """
    sidecars: dict[int, int] = {}
    for path in sorted(out.glob("sample_*.json")):
        match = SIDECAR.fullmatch(path.name)
        if match is None or not wanted(int(match[1])):
            continue
        number, stem = int(match[1]), path.name.removesuffix(".json")
        sidecar = load_sidecar(path)
        if other := difference(sidecar, decides(number)):
            msg = f"{out} holds brains of another request ({path.name}: {other})"
            raise BrainDiffusionError(f"{msg}: choose another output folder, or overwrite them.", field="out")
        files = [f"{stem}.nii.gz", *([f"{stem}_trajectory.nii.gz"] if trajectory else [])]
        if regions:
            files.append(f"sample_{match[1]}_regions.nii.gz")
        if trajectory and sidecar.get("trajectory_shows", "denoised") != trajectory:
            continue
        if all((out / name).is_file() for name in files):
            sidecars[number] = sidecars.get(number, 0) + 1
    return {number for number, count in sidecars.items() if count == channels}
