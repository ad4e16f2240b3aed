"""Copy a training's models to where its user asked for them. The run folder keeps its own."""

import shutil
from pathlib import Path

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs import Run

MODEL_FILES = ("model.json", "model.safetensors")


def publish_checkpoints(run: Run, out: Path) -> list[Path]:
    """Copy `best` and `last` of a run into a folder, each whole: a reader of the old one is never left with half of it.

    Args:
        run: A training run.
        out: The folder; made where it is not there.

    Returns:
        The model folders written. What needs resuming (optimiser state) stays in the run.

    Raises:
        BrainDiffusionError: the folder cannot be written to.
    """
    written = []
    for name in ("best", "last"):
        source = run.checkpoints / name
        if not all((source / file).is_file() for file in MODEL_FILES):
            continue
        try:
            written.append(_replace(source, out / name))
        except OSError as error:
            msg = f"The model cannot be copied to {out / name} ({error.strerror}); it is in {source}."
            raise BrainDiffusionError(msg) from error
    return written


def _replace(source: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    new, old = target.with_name(f".{target.name}.new"), target.with_name(f".{target.name}.old")
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    new.mkdir()
    for file in MODEL_FILES:
        shutil.copy2(source / file, new / file)
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)
    return target
