"""The real engine with jobs of our own in it: fast, without torch, and failing when they are told to."""

import errno
import json
import os
import signal
import sys
import time

import numpy as np

from braindiffusion import engine, jobs
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs import ArtifactWritten, Finished, GenerateRequest, Metric, Progress
from braindiffusion.volume import Volume, save_volume

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
STEPS = 4


def generate(request, run):
    """Brains that hold their seed. The model's name says how it goes: ok, slow, gated, bad, dies,
    needy (of memory), full (is the disk, after one sample).

    `gated` waits in the middle of its last sample for a file `open` in the run folder.
    """
    if request.model == "bad":
        raise BrainDiffusionError("There is no model 'bad': no such folder.")
    if request.model == "needy":
        raise MemoryError
    print("a library that prints")  # noqa: T201
    for sample in range(request.num_samples):
        seed = request.seed + sample
        for step in range(1, STEPS + 1):
            yield Progress(stage=f"sample {sample + 1} level 0", step=step, total=STEPS)
            preview = run.results / "preview.nii.gz"
            save_volume(_brain(seed - STEPS + step), preview)
            yield ArtifactWritten(kind="preview", path=str(preview))
            if request.model == "dies":
                os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
            if request.model == "slow":
                time.sleep(0.2)
            last = sample + 1 == request.num_samples
            while request.model == "gated" and last and not (run.path / "open").exists():
                time.sleep(0.02)
                yield Progress(stage=f"sample {sample + 1} level 0", step=step, total=STEPS)
        path = run.results / f"sample_{sample + 1:03d}.nii.gz"
        save_volume(_brain(seed), path)
        path.with_name(f"sample_{sample + 1:03d}.json").write_text(f'{{"seed": {seed}}}')
        name = f"sample {sample + 1} (seed {seed})"
        yield ArtifactWritten(kind="volume", path=str(path), name=name)
        if request.model == "full":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        if request.trajectory:
            way = run.results / f"trajectory_{sample + 1:03d}.nii.gz"
            save_volume(Volume(np.concatenate([_brain(seed + i).data for i in range(STEPS)]), AFFINE), way)
            yield ArtifactWritten(kind="trajectory", path=str(way), name=f"{name}, from noise")
    yield Finished(message=f"{request.num_samples} made")


def preview(request, run):
    """The same brain, blurred and then sharper."""
    for step, kind in enumerate(("preview", "volume"), start=1):
        yield Progress(stage="level 0", step=step, total=2)
        path = run.results / "sample_001_preview.nii"
        save_volume(_brain(request.request.seed), path)
        yield ArtifactWritten(kind=kind, path=str(path))
    yield Finished()


def regenerate(request, run):
    """The brain of the seed that the sidecar tells."""
    told = json.loads(request.like.read_text())
    yield from generate(GenerateRequest(model="ok", seed=told["seed"], previews=True), run)


def train(request, run):
    """Losses that fall, by steps of 50 ms. It goes on from a file that it keeps in the checkpoints."""
    kept = run.checkpoints / "step"
    step = int(kept.read_text()) if kept.exists() else 0
    total = int((request.epochs or 1) * 20)
    try:
        while step < total:
            step += 1
            time.sleep(0.05)
            yield Metric(stage="level 0", step=step, values={"loss": 1 / step, "validation_loss": 2 / step})
            yield Progress(stage="level 0", step=step, total=total)
    finally:
        kept.write_text(str(step))
    yield Finished(message="learnt")


def _brain(value):
    x = np.linspace(-1, 1, 16)
    ball = (x[:, None, None] ** 2 + x[None, :, None] ** 2 + x[None, None, :] ** 2) < 0.6
    return Volume((ball * (100.0 + value)).astype(np.float32)[None], AFFINE)


if __name__ == "__main__":
    sys.modules["fake_engine"] = sys.modules["__main__"]
    jobs.JOB_LOCATIONS |= {name: f"fake_engine:{name}" for name in ("generate", "preview", "regenerate", "train")}
    sys.exit(engine.main())
