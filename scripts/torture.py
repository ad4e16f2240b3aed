"""Kills, full disks and vanishing folders: what is lost, what hangs, what differs from an undisturbed run.

    python scripts/torture.py --kills 20 --cycles 200 --out build/torture.json

Each job runs in a process of its own and is killed (SIGKILL) at a random moment, begun again, killed again, until it is
done; its files must then equal those of a run that nobody disturbed. Full and read-only disks are small file systems in
memory, which only root may mount. Needs Linux.
"""

import argparse
import gc
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fuzz_inputs import make_editing_inputs

SECONDS = 600.0
"""Time that a job may take between two kills."""
SHARES = {"train": 0.4, "prepare": 0.15, "generate": 0.15, "synthesize": 0.15, "edit": 0.15}
"""Jobs that are killed, and their share of the kills."""
FIXTURES = Path(__file__).resolve().parents[1] / "tests" / "fixtures" / "v1"
Made = dict[str, bytes]
"""The files that a job leaves, by name."""


# -- the jobs ----------------------------------------------------------------------------------------------------------


def make_inputs(root: Path) -> None:
    """Write a small cohort, small models, a folder of heads, a real scan and a mask."""
    import nibabel as nib
    import numpy as np
    import torch

    from braindiffusion.cohort.preprocessing import Preprocessing
    from braindiffusion.cohort.store import Cohort, PreparedVolume, Subject
    from braindiffusion.models.cascade import Cascade, save_model
    from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig, UNetConfig

    box = Preprocessing(shape=(16, 16, 16))
    cohort = Cohort.create(root / "small.zarr", box, labels=np.dtype(np.uint16))
    for number in range(4):
        volume = np.random.default_rng(number).uniform(-1, 1, (1, 16, 16, 16)).astype(np.float16)
        mask = np.ones((16, 16, 16), bool)
        prepared = PreparedVolume(volume, mask, mask.astype(np.uint16) * 4, np.diag([2.0, 2.0, 2.0, 1.0]))
        cohort.put(Subject(id=f"s{number}", input_hash=str(number)), prepared)
    cohort.finish()
    torch.manual_seed(0)
    level = LevelConfig(unet=UNetConfig(widths=(8,), blocks=(1,), attention=(False,)), steps=8)
    small = CascadeConfig(shape=(16, 16, 16), depth=1, levels=(level, level))
    save_model(Cascade(small), root / "model", {"name": "small", "preprocessing": box.model_dump(mode="json")})
    make_editing_inputs(root / "editing")
    (root / "heads").mkdir()
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in (48, 60, 56)), indexing="ij"), axis=-1)
    for number in range(6):
        head = (((grid - [24, 30, 28]) / [20 - number / 4, 26, 24]) ** 2).sum(-1) < 1
        voxels = np.where(head, 700 + np.random.default_rng(number).normal(0, 40, head.shape), 0).astype(np.int16)
        nib.save(nib.Nifti1Image(voxels, np.diag([4.0, 4, 4, 1])), root / "heads" / f"sub-{number}_T1w.nii.gz")


def requests(inputs: Path, out: Path) -> dict[str, Any]:
    """Return the request of each job; `out` gets what it makes."""
    from braindiffusion.runs import EditRequest, GenerateRequest, SynthesizeRequest, TrainRequest
    from braindiffusion.runs.requests import PrepareRequest

    editing = inputs / "editing"
    model, scan, mask = (editing / name for name in ("model/model", "scan/scan.nii.gz", "mask/mask.nii.gz"))

    every = {"checkpoint_minutes": 1e-6, "sample_minutes": 1e6}  # a checkpoint at each step
    return {
        "train": TrainRequest(
            data=inputs / "small.zarr", preset="tiny", levels=(0, 1), epochs=4, validation_subjects=1, **every
        ),
        "prepare": PrepareRequest(data_dir=inputs / "heads", out=out / "c.zarr", spacing=4, skull="keep", workers=1),
        "generate": GenerateRequest(model=str(inputs / "model"), num_samples=12, out=out / "brains"),
        "synthesize": SynthesizeRequest(model=str(model), num=8, out=out / "brains"),
        "edit": EditRequest(
            scan=scan, mask=mask, label=60, model=str(model), first_level=0, num_proposals=8, out=out / "brains"
        ),
    }


def perform(run: Any) -> None:
    """Perform a run to its end; raise what was told where it failed."""
    from braindiffusion.jobs import perform as events_of
    from braindiffusion.runs import Failed

    try:
        for event in events_of(run):
            if isinstance(event, Failed):
                raise RuntimeError(event.message)  # noqa: TRY004 what failed, not a wrong type
    except OSError as error:  # the run folder cannot be written to: command line and engine tell that
        raise RuntimeError(str(error)) from error


def made(job: str, run: Any, out: Path) -> Made:
    """Return what a job has made, for comparison: weights, voxels, the table of a cohort."""
    if job == "train":
        names = (f"{kind}/{file}" for kind in ("best", "last") for file in ("model.json", "model.safetensors"))
        return {name: (run.checkpoints / name).read_bytes() for name in names}
    folder = out / ("c.zarr" if job == "prepare" else "brains")
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    if job != "prepare":  # sidecars and reports tell the run and the time, the record what was written twice
        files = {name: content for name, content in files.items() if not name.endswith((".json", ".jsonl", ".html"))}
    return files


# -- in a process of its own -------------------------------------------------------------------------------------------


def start(function: Callable[[], None], told: Path) -> int:
    """Run a function in a process of its own, which writes its error into a file."""
    pid = os.fork()
    if pid:
        return pid
    try:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        function()
        told.write_text("done")
    except BaseException as error:  # noqa: BLE001
        told.write_text(str(error) if isinstance(error, RuntimeError) else traceback.format_exc())
    finally:
        os._exit(0)


def wait(pid: int, seconds: float) -> bool:
    """Wait for a process to end; False, and it is killed, where it takes longer."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return True
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return False


class Counts:
    """What was tried, and what went wrong."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, int]] = {}
        self.told: list[str] = []

    def add(self, what: str, *, tried: int = 1, lost: str = "", hung: str = "", wrong: str = "") -> None:
        """Count one attempt, with a sentence on what was lost, hung or wrong."""
        row = self.rows.setdefault(what, {"tried": 0, "lost": 0, "hung": 0, "wrong": 0})
        row["tried"] += tried
        for name, said in (("lost", lost), ("hung", hung), ("wrong", wrong)):
            if said:
                row[name] += 1
                self.told.append(f"{what}: {name}: {said}")
                print(f"{what}: {name}: {said[-600:]}", flush=True)

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, hung or wrong."""
        return not self.told

    def table(self) -> str:
        """Return the counts as text."""
        lines = [f"{'':34}" + "".join(f"{name:>8}" for name in ("tried", "lost", "hung", "wrong"))]
        lines += [f"{what:34}" + "".join(f"{number:8}" for number in row.values()) for what, row in self.rows.items()]
        return "\n".join(lines)


# -- what is tried -----------------------------------------------------------------------------------------------------


def kills(
    counts: Counts, inputs: Path, scratch: Path, number: int, rng: random.Random, jobs: Iterable[str] = SHARES
) -> None:
    """Kill each job at random moments until it is done, and compare with an undisturbed one."""
    from braindiffusion.runs import Run

    for job in jobs:
        calm, disturbed = scratch / f"{job}-calm", scratch / f"{job}-killed"
        reference = Run.create(requests(inputs, calm)[job], scratch / "runs", f"{job}-calm")
        began = time.monotonic()
        if not wait(start(lambda run=reference: perform(run), scratch / "told"), SECONDS):
            counts.add(f"{job}, undisturbed", hung="it took too long")
            continue
        duration = time.monotonic() - began
        expected = made(job, reference, calm)
        run = Run.create(requests(inputs, disturbed)[job], scratch / "runs", f"{job}-killed")
        wanted, killed = max(1, round(number * SHARES[job])), 0
        what = f"{job}, killed"
        while True:
            (scratch / "told").unlink(missing_ok=True)
            pid = start(lambda run=run: perform(run), scratch / "told")
            if killed < wanted:
                # Long enough that a job of many kills still comes to its end.
                if not wait(pid, rng.uniform(0.02, 2 * duration / (wanted + 1))):
                    killed += 1
                    counts.add(what)
                    continue
            elif not wait(pid, SECONDS):
                counts.add(what, tried=0, hung=f"not done {SECONDS:.0f} s after the last kill")
                break
            told = (scratch / "told").read_text() if (scratch / "told").exists() else "no answer"
            if told != "done":
                counts.add(what, tried=0, lost=told)
                break
            if (differs := difference(expected, made(job, run, disturbed))) or killed >= wanted:
                counts.add(what, tried=0, wrong=differs)
                break
            # It was done before the last kill: once more, from the beginning.
            shutil.rmtree(disturbed, ignore_errors=True)
            run = Run.create(requests(inputs, disturbed)[job], scratch / "runs", f"{job}-killed")


def difference(expected: Made, found: Made) -> str:
    """Return what differs between the files of two runs; empty where nothing does."""
    missing, more = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    other = sorted(name for name in set(expected) & set(found) if expected[name] != found[name])
    parts = (("missing", missing), ("left behind", more), ("different", other))
    return "; ".join(f"{what}: {', '.join(names[:3])}" for what, names in parts if names)


def disks(counts: Counts, inputs: Path, scratch: Path) -> None:
    """Run each job on a full disk, on a read-only one, and in a folder that vanishes; then where there is room."""
    from braindiffusion.runs import Run

    for job in ("train", "prepare", "generate"):
        for kind in ("full", "read-only"):
            what = f"{job}, disk {kind}"
            with tmpfs(scratch / "disk", "96k" if kind == "full" else "64m") as disk:
                if disk is None:
                    print(f"{what}: not tried, since only root may mount a disk")
                    continue
                run = Run.create(
                    requests(inputs, disk)[job], scratch / "runs" if job != "train" else disk, f"{job}-{kind}"
                )
                if kind == "read-only":
                    remount(disk, "ro")
                _attempt(counts, what, run, scratch / "told", fails=True)
                remount(disk, "rw,size=64m")
                _attempt(counts, what, run, scratch / "told", fails=False, tried=0)
        what = f"{job}, folder vanishes"
        out = scratch / "vanishing"
        run = Run.create(requests(inputs, out)[job], out / "runs", job)
        (scratch / "told").unlink(missing_ok=True)
        pid = start(lambda run=run: perform(run), scratch / "told")
        wait_for(lambda run=run: run.events_file.exists() and run.events_file.stat().st_size > 1000, 60)
        shutil.rmtree(out, ignore_errors=True)
        ended = wait(pid, SECONDS)
        told = (scratch / "told").read_text() if (scratch / "told").exists() else "no answer"
        counts.add(what, hung="" if ended else "it did not end", wrong=told if _is_bug(told) and ended else "")
        shutil.rmtree(out, ignore_errors=True)


def _attempt(counts: Counts, what: str, run: Any, told: Path, *, fails: bool, tried: int = 1) -> None:
    told.unlink(missing_ok=True)
    if not wait(start(lambda: perform(run), told), SECONDS):
        counts.add(what, tried=tried, hung="it did not end")
        return
    said = told.read_text() if told.exists() else "no answer"
    if fails:
        counts.add(
            what,
            tried=tried,
            wrong="it ended as if nothing were wrong" if said == "done" else said if _is_bug(said) else "",
        )
    else:
        counts.add(what, tried=tried, lost="" if said == "done" else said)


def _is_bug(told: str) -> bool:
    return "met a bug" in told or "Traceback" in told or told == "no answer"


@contextmanager
def tmpfs(path: Path, size: str) -> Iterator[Path | None]:
    """Mount a small file system in memory; None where that is not permitted."""
    path.mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], capture_output=True, check=False
    )
    try:
        yield path if done.returncode == 0 else None
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", "-l", str(path)], capture_output=True, check=False)


def remount(path: Path, options: str) -> None:
    """Change the options of a mounted file system."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(path)], capture_output=True, check=True)


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    """Wait until something holds, or for so long."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.002)


def older_runs(counts: Counts, scratch: Path) -> None:
    """Open runs and models of the first version of the formats."""
    from braindiffusion.models.registry import find_model, load_generator
    from braindiffusion.runs import Run, list_runs

    def read() -> None:
        runs = list_runs(FIXTURES)
        if len(runs) < 2:
            raise AssertionError(f"only {len(runs)} of the older runs can be read")
        for run in runs:
            if not run.events():
                raise AssertionError(f"{run} has no events")
        load_generator(find_model(FIXTURES / "training"))
        Run.open(FIXTURES / "generation")

    (scratch / "told").unlink(missing_ok=True)
    ended = wait(start(read, scratch / "told"), SECONDS)
    told = (scratch / "told").read_text()
    counts.add("older runs", hung="" if ended else "it did not end", wrong="" if told == "done" else told)


def repeated(counts: Counts, what: str, request: Any, scratch: Path, number: int) -> dict[str, list[float]]:
    """Perform a request and delete its run again and again in one process: memory, threads and file handles must stay.

    Returns:
        Each of them after a fifth of the times, and at the end.
    """

    def repeat() -> None:
        import psutil

        from braindiffusion.runs import Run

        process, seen = psutil.Process(), []
        for at in range(1, number + 1):
            run = Run.create(request, scratch / "runs", "repeated")
            perform(run)
            run.delete()
            if at in (max(1, number // 5), number):
                gc.collect()
                seen.append((process.memory_info().rss / 2**20, process.num_threads(), process.num_fds()))
        (scratch / "seen").write_text(
            json.dumps(dict(zip(("MB", "threads", "files"), zip(*seen, strict=True), strict=True)))
        )

    (scratch / "told").unlink(missing_ok=True)
    ended = wait(start(repeat, scratch / "told"), 10 * SECONDS)
    told = (scratch / "told").read_text() if (scratch / "told").exists() else "no answer"
    if not ended or told != "done":
        counts.add(what, hung="" if ended else "it did not end", wrong=told if ended else "")
        return {}
    seen: dict[str, list[float]] = json.loads((scratch / "seen").read_text())
    grown = [f"{name} from {early:g} to {late:g}" for name, (early, late) in seen.items() if late > 1.05 * early]
    counts.add(what, tried=number, wrong=", ".join(grown))
    return seen


def main() -> int:
    """Try all, print a table, write the JSON; the exit status is 1 where something was lost, hung or wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=20, help="two in five of training, the others of the other jobs")
    parser.add_argument("--cycles", type=int, default=200, help="times that a brain is generated and deleted")
    parser.add_argument("--trainings", type=int, default=20, help="times that a small model is trained and deleted")
    parser.add_argument("--jobs", nargs="*", choices=sorted(SHARES), default=SHARES, help="kill only these jobs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-disks", action="store_true", help="leave out full, read-only and vanishing disks")
    parser.add_argument("--out", type=Path, help="JSON file of the figures")
    arguments = parser.parse_args()

    counts, scratch = Counts(), Path(tempfile.mkdtemp(prefix="torture-"))
    inputs = scratch / "inputs"
    inputs.mkdir()
    try:
        if (
            not wait(start(lambda: make_inputs(inputs), scratch / "told"), SECONDS)
            or (scratch / "told").read_text() != "done"
        ):
            raise SystemExit(f"The inputs could not be made: {(scratch / 'told').read_text()}")
        import_all()
        from braindiffusion.runs import GenerateRequest, TrainRequest

        seen: dict[str, dict[str, list[float]]] = {}
        generation = GenerateRequest(model=str(inputs / "model"), previews=True)
        training = TrainRequest(data=inputs / "small.zarr", preset="tiny", epochs=0.3, validation_subjects=1)

        def again(what: str, request: Any, number: int) -> None:
            seen[what] = repeated(counts, what, request, scratch, number)

        parts: list[Callable[[], object]] = [
            lambda: kills(counts, inputs, scratch, arguments.kills, random.Random(arguments.seed), arguments.jobs),  # noqa: S311
            lambda: older_runs(counts, scratch),
            lambda: arguments.no_disks or disks(counts, inputs, scratch),
            lambda: arguments.cycles and again("generate and delete", generation, arguments.cycles),
            lambda: arguments.trainings and again("train and delete", training, arguments.trainings),
        ]
        for part in parts:
            part()
            if arguments.out:
                arguments.out.parent.mkdir(parents=True, exist_ok=True)
                told = {"command": " ".join(sys.argv), "counts": counts.rows, "cycles": seen, "wrong": counts.told}
                arguments.out.write_text(json.dumps(told, indent=1) + "\n")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(counts.table())
    for what, measured in seen.items():
        for name, (early, late) in measured.items():
            print(f"{what}, {name}: {early:.4g} after a fifth of the times, {late:.4g} at the end")
    return 0 if counts.is_clean else 1


def import_all() -> None:
    """Import what the jobs use once, so that no process of a job does."""
    from importlib import import_module

    import torch

    from braindiffusion.jobs import JOB_LOCATIONS

    torch.set_num_threads(1)
    for job in SHARES:
        import_module(JOB_LOCATIONS[job].split(":")[0])
    import_module("braindiffusion.cohort.transforms")


if __name__ == "__main__":
    sys.exit(main())
