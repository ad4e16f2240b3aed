"""The job `demo`: one brain of the packaged model, with its way from noise."""

from collections.abc import Iterator

from braindiffusion.jobs.generate import generate
from braindiffusion.runs import DemoRequest, Event, GenerateRequest, Run


def demo(request: DemoRequest, run: Run) -> Iterator[Event]:
    """Generate one brain, its previews and its trajectory. Arguments, events and errors as in `generate`."""
    full = GenerateRequest(seed=request.seed, out=request.out, previews=True, trajectory=True, overwrite=True)
    yield from generate(full, run)
