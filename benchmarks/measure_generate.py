"""Measure the time of a brain and its preview in a warm worker process, relative to the first, cold job.

`python benchmarks/measure_generate.py [--model ixi-2mm] [--repeats 3]`: one process, the jobs of the Generate dock.
"""

import argparse
import queue
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

from braindiffusion.models.registry import DEFAULT_MODEL
from braindiffusion.runs import ArtifactWritten, Failed, GenerateRequest, PreviewRequest, Request, Run
from braindiffusion.runs.messages import Submit
from napari_braindiffusion.engine.client import ENGINE
from napari_braindiffusion.engine.process import LAST, EngineProcess


def measure(engine: EngineProcess, request: Request, root: Path) -> tuple[float, float]:
    """Return the seconds to the first volume or preview, and to the end."""
    run = Run.create(request, root)
    inbox = engine.open_inbox(run.path)
    begun = perf_counter()
    engine.send(Submit(run=run.path))
    first = 0.0
    while True:
        try:
            event = inbox.get(timeout=600)
        except queue.Empty:
            sys.exit("No answer within ten minutes.")
        now = perf_counter() - begun
        if isinstance(event, ArtifactWritten) and not first:
            first = now
        if isinstance(event, Failed):
            sys.exit(event.message)
        if isinstance(event, LAST):
            return first, now


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--repeats", type=int, default=3)
    chosen = parser.parse_args()
    brain = GenerateRequest(model=chosen.model)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        engine = EngineProcess(ENGINE, root / "engine.log")
        _, cold = measure(engine, brain, root)
        whole = median(measure(engine, brain, root)[1] for _ in range(chosen.repeats))
        previews = [measure(engine, PreviewRequest(request=brain), root) for _ in range(chosen.repeats)]
        engine.close()
        engine.process.wait()
    for name, seconds in (
        ("a brain, cold", cold),
        ("a brain, warm", whole),
        ("first preview", median(first for first, _ in previews)),
        ("refined preview", median(last for _, last in previews)),
    ):
        print(f"{name:<24}{seconds:7.2f} s   {seconds / cold:5.2f} of the cold one")


if __name__ == "__main__":
    main()
