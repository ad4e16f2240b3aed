"""The job `generate`: brains as NIfTI with sidecars, previews and trajectories."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from braindiffusion.devices import choose_device, choose_precision
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.generation.background import clear_background
from braindiffusion.generation.sample import CascadeStep, sample_cascade
from braindiffusion.model import Cascade, load_cascade, trained_levels
from braindiffusion.pretrained import find_model
from braindiffusion.runs import ArtifactWritten, Event, Finished, GenerateRequest, Progress, Run
from braindiffusion.runs.files import write_whole
from braindiffusion.runs.provenance import provenance
from braindiffusion.volume import Volume, save_volume

FRAMES_A_LEVEL = 6  # of a trajectory: enough to watch, and small enough to write and to scroll
PREVIEW_SECONDS = 0.25  # a preview costs tens of milliseconds: more often would slow the brain down


def generate(request: GenerateRequest, run: Run) -> Iterator[Event]:
    """Make brains.

    Args:
        request: which model, how many, which seeds.
        run: gets the volumes where the request names no folder, and previews and trajectories.

    Yields:
        Progress for each sampler step, previews where they were asked for, and each volume as it is written.

    Raises:
        BrainDiffusionError: the model cannot be loaded, or the device is not there.
    """
    folder = find_model(request.model)
    cascade, card = load_cascade(folder)
    device = choose_device(request.device)
    dtype = choose_precision(device, request.precision)
    cascade.to(device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    out = request.out or run.results
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BrainDiffusionError(f"Cannot write into {out} ({error.strerror}): choose another folder.") from error
    steps_by_level = [request.steps or level.steps for level in cascade.config.levels[: trained_levels(card)]]
    stripped = (card.get("preprocessing") or {}).get("skull") == "strip"
    numbers = range(1, request.num_samples + 1)
    for first in range(0, request.num_samples, request.batch_size):
        batch = [Sample(n, request.seed + n - 1, out) for n in numbers[first : first + request.batch_size]]
        for step in _steps(request, cascade, batch, trained_levels(card), dtype):
            yield from _told(step, request, cascade, batch, run)
        for index, sample in enumerate(batch):
            volume = as_volume(step.volume()[index], cascade)
            if stripped:
                volume = replace(volume, data=clear_background(volume.data))
            if request.trajectory:
                sample.frames[-1] = volume.data  # the way ends in the brain that is written
            details = provenance(
                run,
                model=folder,
                seed=sample.seed,
                sampler="ddim",
                steps=sum(steps_by_level),
                model_name=str(card.get("name", folder.name)),
                preprocessing_hash=card.get("preprocessing_hash"),
                steps_by_level=steps_by_level,
                eta=request.eta,
                background_cleared=stripped,
                precision=str(dtype).removeprefix("torch."),
                device=str(device),
            )
            yield from _write(volume, sample, details, request)
    made = f"{request.num_samples} brain{'s' if request.num_samples > 1 else ''} in {out}"
    yield Finished(message=made)


@dataclass
class Sample:
    """One brain in the making."""

    number: int
    seed: int
    out: Path
    frames: list[NDArray[np.float32]] = field(default_factory=list)
    affine: NDArray[np.float64] | None = None
    previewed: float = -1.0

    @property
    def stem(self) -> str:
        """Name of its files."""
        return f"sample_{self.number:03d}"


def _steps(
    request: GenerateRequest, cascade: Cascade, batch: list[Sample], trained: int, dtype: torch.dtype
) -> Iterator[CascadeStep]:
    return sample_cascade(
        cascade,
        [sample.seed for sample in batch],
        steps=request.steps,
        eta=request.eta,
        until=trained - 1,
        dtype=dtype,
    )


def _told(
    step: CascadeStep, request: GenerateRequest, cascade: Cascade, batch: list[Sample], run: Run
) -> Iterator[Event]:
    first, final = batch[0], batch[-1]
    who = f"sample {first.number}" if first is final else f"samples {first.number}-{final.number}"
    yield Progress(stage=f"{who} level {step.level}", step=step.step, total=step.of)
    now = perf_counter()
    due = request.previews and (now - first.previewed > PREVIEW_SECONDS or step.step == step.of) and not step.last
    stride = -(-step.of // FRAMES_A_LEVEL)
    framed = request.trajectory and (step.of - step.step) % stride == 0
    if not due and not framed:
        return
    volumes = step.volume()
    for index, sample in enumerate(batch):
        volume = as_volume(volumes[index], cascade)
        if framed:
            sample.frames.append(volume.data)
        if due:
            sample.previewed = now
            path = run.results / f"{sample.stem}_preview.nii"
            save_volume(volume, path)
            yield ArtifactWritten(kind="preview", path=str(path), name=f"sample {sample.number} (seed {sample.seed})")


def _write(volume: Volume, sample: Sample, details: dict[str, Any], request: GenerateRequest) -> Iterator[Event]:
    path = sample.out / f"{sample.stem}.nii.gz"
    save_volume(volume, path)
    sidecar = json.dumps({**details, "file": path.name}, indent=2)
    write_whole(sample.out / f"{sample.stem}.json", sidecar + "\n")
    name = f"sample {sample.number} (seed {sample.seed})"
    if request.trajectory:
        frames = Volume(np.concatenate(sample.frames), volume.affine)
        sample.frames.clear()
        trajectory = sample.out / f"{sample.stem}_trajectory.nii.gz"
        save_volume(frames, trajectory)
        yield ArtifactWritten(kind="trajectory", path=str(trajectory), name=f"{name}, from noise")
    yield ArtifactWritten(kind="volume", path=str(path), name=name)


def as_volume(sample: Tensor, cascade: Cascade) -> Volume:
    """A sample as a volume that other tools read.

    Args:
        sample: (channels, x, y, z) in [-1, 1], background -1.
        cascade: for its spacing.

    Returns:
        intensities in [0, 1], background 0; RAS+, the middle of the box at 0 mm.
    """
    config = cascade.config
    affine = np.diag([config.spacing] * 3 + [1.0])
    affine[:3, 3] = [-config.spacing * (n - 1) / 2 for n in config.shape]
    data = (sample.float().cpu().numpy() + 1) / 2
    return Volume(np.ascontiguousarray(data.clip(0, 1)), affine)
