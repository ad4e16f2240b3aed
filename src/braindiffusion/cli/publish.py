"""Copy a training's models to where its user asked for them. The run folder keeps its own."""

import filecmp
import shutil
from pathlib import Path

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.models.registry import CARD, WEIGHTS
from braindiffusion.outputs import RECORD, Outputs, record
from braindiffusion.runs import Run

MODEL_FILES = (CARD, WEIGHTS)
PUBLISHED = ("best", "last")


def check_published(out: Path, run: Run | None = None) -> None:
    """Check that models may be copied into a folder, before anything is trained.

    Args:
        out: The folder.
        run: The training that is resumed: copies of its own models may be replaced.

    Raises:
        BrainDiffusionError: a file in `best` or `last` is the user's, or nothing can be written there.
    """
    for name in PUBLISHED:
        target = out / name
        if target.is_dir() and (strangers := {file.name for file in target.iterdir()} - {*MODEL_FILES, RECORD}):
            msg = f"{target} holds {min(strangers)}, which BrainDiffusion did not write"
            raise BrainDiffusionError(f"{msg}: choose another folder, or move it.", "out")
        files = [target / file for file in MODEL_FILES]
        if run is None or not all(_is_copy(file, run.checkpoints / name / file.name) for file in files):
            Outputs().check([out, *files] if out.is_file() else [target, *files] if target.is_file() else files)


def publish_checkpoints(run: Run, out: Path) -> list[Path]:
    """Copy `best` and `last` of a run into a folder, each whole: a reader of the old one is never left with half of it.

    Args:
        run: A training run.
        out: The folder; made where it is not there.

    Returns:
        The model folders written. What needs resuming (optimiser state) stays in the run.

    Raises:
        BrainDiffusionError: the folder cannot be written to, or holds files of the user's.
    """
    try:
        check_published(out, run)
    except BrainDiffusionError as error:  # it was well when the training began
        raise BrainDiffusionError(f"{error} The models are in {run.checkpoints}.", error.field) from error
    written = []
    for name in PUBLISHED:
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
        record(new / file, new / file)
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)
    return target


def _is_copy(file: Path, original: Path) -> bool:
    return file.is_file() and original.is_file() and filecmp.cmp(file, original)
