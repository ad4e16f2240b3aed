"""Jobs that need no model: for testing what drives jobs."""

import subprocess
import sys
import threading
from collections.abc import Iterator

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs import ArtifactWritten, CheckpointWritten, Event, Finished, Metric, Progress, Run, Warned
from braindiffusion.runs.requests import Request


def counts(request: Request, run: Run) -> Iterator[Event]:
    """Three steps."""
    for step in (1, 2, 3):
        yield Progress(stage="counting", step=step, total=3)
        yield Metric(stage="counting", step=step, values={"loss": 1 / step})


def endless(request: Request, run: Run) -> Iterator[Event]:
    """Steps until it is stopped; saves when it is."""
    step = 0
    try:
        while True:
            step += 1
            yield Progress(stage="waiting", step=step, total=10**9)
            threading.Event().wait(0.01)
    finally:
        (run.results / "saved").write_text(str(step))


def hangs(request: Request, run: Run) -> Iterator[Event]:
    """A step that does not end. It prints a line as soon as it has begun."""
    yield Progress(stage="waiting", step=1, total=2)
    sys.stderr.write("The step has begun.\n")
    threading.Event().wait(3600)


def warns(request: Request, run: Run) -> Iterator[Event]:
    yield Warned(message="it is cut off", subject="IXI002")
    yield Finished(problems=1)


def bad_input(request: Request, run: Run) -> Iterator[Event]:
    yield Progress(stage="reading", step=1, total=2)
    raise BrainDiffusionError("The file x.nii is cut off; fetch it again.")


def buggy(request: Request, run: Run) -> Iterator[Event]:
    yield Progress(stage="thinking", step=1, total=2)
    raise KeyError("surprise")


def needy(request: Request, run: Run) -> Iterator[Event]:
    raise MemoryError
    yield


def buggy_cleanup(request: Request, run: Run) -> Iterator[Event]:
    try:
        yield Progress(stage="thinking", step=1, total=2)
    finally:
        raise ValueError("cannot save")


def chatty(request: Request, run: Run) -> Iterator[Event]:
    """Prints from Python and from a child process, and looks at what its standard input holds."""
    sys.stdout.write("noise from Python\n")
    sys.stdout.flush()
    subprocess.run([sys.executable, "-c", "print('noise from a child')"], check=True)
    heard = subprocess.run(
        [sys.executable, "-c", "import sys; sys.exit(len(sys.stdin.read()))"], check=False, timeout=30
    ).returncode
    yield Metric(stage="listening", step=1, values={"heard": heard})


def checkpoints(request: Request, run: Run) -> Iterator[Event]:
    """Writes two checkpoints, as training does."""
    for step in (1, 2):
        folder = run.checkpoints / "best"
        folder.mkdir(exist_ok=True)
        (folder / "model.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(bytes([step]))
        (folder / "resume.pt").write_bytes(b"optimiser")
        yield CheckpointWritten(path=str(folder), step=step)


def makes(request: Request, run: Run) -> Iterator[Event]:
    """Steps, a preview and a volume."""
    for step in (1, 2):
        yield Progress(stage="sample 1 [level 0]", step=step, total=2, seconds_left=61.0)
        yield ArtifactWritten(kind="preview", path=str(run.results / "preview.nii.gz"))
    yield ArtifactWritten(kind="volume", path=str(run.results / "sample_001.nii.gz"))
