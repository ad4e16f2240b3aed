"""Compare `braindiffusion estimate` with measurements: each case is estimated and run, each in its own process.

    python benchmarks/check_estimate.py ixi.zarr --repeats 3

Both run at once, so that other load slows both; each has one thread. Memory is the peak resident size of the process.
`beyond` is the same without Python and its libraries.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from braindiffusion.cohort.store import Cohort
from braindiffusion.runs import Metric, Run
from braindiffusion.training.presets import preset

STEPS = 16
BASE = "import braindiffusion.jobs.train, resource; " \
    "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"  # fmt: skip


@dataclass(frozen=True)
class Case:
    preset: str
    level: int
    batch_size: int
    checkpointing: bool = False

    @property
    def name(self) -> str:
        return f"{self.preset} {self.level} x{self.batch_size}{' checkpointing' if self.checkpointing else ''}"

    def arguments(self, data: Path, subjects: int) -> list[str]:
        words = ["train", "--data", str(data), "--preset", self.preset, "--level", str(self.level), "--device", "cpu"]
        words += ["--batch-size", str(self.batch_size), "--epochs", str(STEPS * self.batch_size / subjects)]
        return words + ["--sample-minutes", "600"] + ["--checkpointing"] * self.checkpointing


def cases() -> list[Case]:
    found = []
    for name in ("tiny", "laptop"):
        found += [Case(name, level, recipe.batch_size) for level, recipe in enumerate(preset(name).recipes)]
    return [*found, Case("laptop", 2, 4, True), Case("laptop", 3, 24), Case("laptop", 3, 24, True)]


def start(words: list[str], folder: Path) -> "subprocess.Popen[bytes]":
    environment = os.environ | {"OMP_NUM_THREADS": "1", "BRAINDIFFUSION_RUNS": str(folder)}
    command = [sys.executable, "-m", "braindiffusion", *words]
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def end(process: "subprocess.Popen[bytes]") -> tuple[bytes, int]:
    """Return what a process printed, and its peak memory in bytes."""
    printed = process.stdout.read() if process.stdout else b""
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise RuntimeError(printed.decode())
    return printed, usage.ru_maxrss * 1024


def compare(case: Case, data: Path, subjects: int) -> tuple[float, float, float, float]:
    """Return bytes, estimated and measured, and seconds per step, estimated and measured."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = case.arguments(data, subjects)
        measured_run, estimated_run = start(words, folder), start(["estimate", "--json", *words], folder)
        (answer, _), (_, measured) = end(estimated_run), end(measured_run)
        estimate = json.loads(answer)
        (run,) = [path.parent for path in folder.glob("*/run.json")]
        events = [event for event in Run.open(run).events() if isinstance(event, Metric)]
        steps = [event.values["seconds_per_step"] for event in events if "seconds_per_step" in event.values]
        seconds = statistics.median(steps[1:] or steps)
    return estimate["bytes"], measured, estimate["levels"][0]["seconds_per_step"], seconds


def main(
    data: Path,
    repeats: int = 3,
    only: Annotated[str, typer.Option(help="Only cases whose names start with this.")] = "",
) -> None:
    subjects = len(Cohort.open(data)) - len(Cohort.open(data)) // 5
    base = float(subprocess.run([sys.executable, "-c", BASE], check=True, capture_output=True).stdout)
    print(f"base {base / 1e9:.2f} GB")
    for case in cases():
        if not case.name.startswith(only):
            continue
        found = [compare(case, data.absolute(), subjects) for _ in range(repeats)]
        memory, peak, step, seconds = (statistics.median(column) for column in zip(*found, strict=True))
        times = ", ".join(f"{a / b:.2f}" for _, _, a, b in found)
        print(
            f"{case.name:28} memory {memory / 1e9:.2f} of {peak / 1e9:.2f} GB: {memory / peak:.2f}, beyond "
            f"{(memory - base) / (peak - base):.2f}; step {step:.3f} of {seconds:.3f} s: {times}",
            flush=True,
        )


if __name__ == "__main__":
    typer.run(main)
