"""Damaged and hostile files through every function that reads files of others: results, sentences, crashes, hangs.

    python scripts/fuzz.py --files 500 --seed 0 --out build/fuzz.json

Each file is opened in a process of its own, with limits of time and memory. What counts as right is a result or one
sentence (`BrainDiffusionError`); wrong are any other exception, a process that ends, a file written outside of the
output, and more time or memory than the limits. Needs Linux.
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from fuzz_doors import DOORS, SLOW
from fuzz_inputs import bombs, make_originals, mutate

OUTCOMES = ("result", "sentence", "crash", "hang", "outside")
SECONDS = 60.0
"""Processor seconds that a file may take."""
MEMORY = 2 << 30
"""Bytes of address space that a file may take."""
Counts = dict[tuple[str, str], Counter[str]]
"""Outcomes by family and door."""


# -- one file, one door, one process -----------------------------------------------------------------------------------


def attempt(door: Callable[[Path], None], case: Path) -> tuple[str, str]:
    """Open the file of a case in a process of its own.

    Returns:
        The outcome, and what was said.
    """
    told = case / "told"
    told.unlink(missing_ok=True)
    inside = set(case.iterdir())
    pid = os.fork()
    if not pid:
        _child(door, case, told)
    status = _wait(pid)
    if status is None:
        return "hang", f"did nothing for {SECONDS:.0f} s"
    if strangers := [path.name for path in case.iterdir() if path not in inside and path not in (told, case / "runs")]:
        return "outside", f"wrote {', '.join(strangers)}"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return ("hang" if number == signal.SIGXCPU else "crash"), signal.Signals(number).name
    if not told.exists():
        return "crash", f"ended with status {os.WEXITSTATUS(status)}"
    outcome, message = json.loads(told.read_text())
    return outcome, message


def _wait(pid: int) -> int | None:
    """Return the status that a process ended with; None where it waited for something for ever, and was killed.

    One that computes for ever is ended by its limit of processor seconds. On a busy machine that takes any time.
    """
    process, spent, since = psutil.Process(pid), -1.0, time.monotonic()
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        now = time.monotonic()
        if now - since > SECONDS:
            used = sum(process.cpu_times()[:2])
            if used == spent and process.status() != psutil.STATUS_RUNNING:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return None
            spent, since = used, now
        time.sleep(0.005)


def _child(door: Callable[[Path], None], case: Path, told: Path) -> None:
    from braindiffusion.errors import BrainDiffusionError

    answer = ("result", "")
    try:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (int(SECONDS), int(SECONDS) + 5))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        door(case)
    except BrainDiffusionError as error:
        answer = ("crash", f"sentence of several lines: {error}") if "\n" in str(error) else ("sentence", str(error))
    except BaseException as error:  # noqa: BLE001 every other exception is what is looked for
        answer = ("crash", "".join(traceback.format_exception(error))[-3000:])
    try:
        told.write_text(json.dumps(answer))
    finally:
        os._exit(0)


def main() -> int:
    """Try the files, print a table, write the JSON; the exit status is 1 where something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--files", type=int, default=500, help="how many files are damaged; the bombs come on top")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=sorted(DOORS), help="only these families")
    parser.add_argument("--doors", nargs="*", help="only these doors")
    parser.add_argument("--no-bombs", action="store_true")
    parser.add_argument("--slow", type=int, default=1, help="open only one file in so many through the slow doors")
    parser.add_argument("--intact", action="store_true", help="only show what the doors say of undamaged files")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument("--out", type=Path, help="JSON file of every case that was wrong")
    arguments = parser.parse_args()
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    scratch = Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        counts, wrong, files = _try_all(arguments, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(f"{files} files")
    _print(counts)
    return 1 if wrong else 0


def _spent() -> float:
    """Return the processor seconds of all processes of cases so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _write(out: Path | None, files: int, counts: Counts, wrong: list[Any]) -> None:
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        table = {f"{family}: {door}": dict(counted) for (family, door), counted in counts.items()}
        told = {"command": " ".join(sys.argv), "files": files, "counts": table, "wrong": wrong}
        out.write_text(json.dumps(told, indent=1) + "\n")


def _try_all(arguments: argparse.Namespace, scratch: Path) -> tuple[Counts, list[Any], int]:
    originals = scratch / "originals"
    _in_child(lambda: make_originals(originals))
    _import_all()
    families = [name for name in DOORS if (originals / name).is_dir() and name in (arguments.only or DOORS)]
    plan: list[tuple[str, str, Callable[[Path], str | None]]] = []
    for number in range(arguments.files):
        family = families[number % len(families)]
        rng = random.Random(f"{arguments.seed}-{number}")  # noqa: S311 nothing secret
        plan.append((family, f"{arguments.seed}-{number}", lambda f, family=family, rng=rng: mutate(f, family, rng)))
    if arguments.intact:
        plan = [(family, "intact", lambda _: None) for family in families]
    elif not arguments.no_bombs:
        plan = [(family, name, make) for name, family, make in bombs() if family in families] + plan
    counts: Counts = {}
    wrong: list[Any] = []
    began, files = time.monotonic(), 0
    seen: Counter[str] = Counter()
    for family, name, damage in plan:
        if time.monotonic() - began > 60 * arguments.minutes:
            break
        files += 1
        damaged = scratch / "damaged"
        shutil.copytree(originals / family, damaged)
        how = damage(damaged) or name
        seen[family] += 1
        for door, function in DOORS[family].items():
            if arguments.doors and door not in arguments.doors:
                continue
            if (family, door) in SLOW and seen[family] % arguments.slow:
                continue
            case = scratch / "cases" / "one"
            (case / "out").mkdir(parents=True)
            shutil.copytree(damaged, case / "in")
            spent = _spent()
            outcome, message = attempt(function, case)
            counts.setdefault((family, door), Counter())[outcome] += 1
            if arguments.intact:
                print(f"{family}, {door}: {outcome} {message} ({_spent() - spent:.2f} s)", flush=True)
            if outcome not in ("result", "sentence"):
                wrong.append(
                    {"file": name, "family": family, "door": door, "how": how, "outcome": outcome, "told": message}
                )
                print(
                    f"{outcome}: {family} {name}, {door}: {how}\n    {message.strip().splitlines()[-1][:300]}",
                    flush=True,
                )
            shutil.rmtree(case)
        shutil.rmtree(damaged)
        _write(arguments.out, files, counts, wrong)
    return counts, wrong, files


def _in_child(function: Callable[[], None]) -> None:
    """Run a function that computes in a process of its own: threads of libraries do not survive a fork."""
    pid = os.fork()
    if not pid:
        try:
            function()
        except BaseException:  # noqa: BLE001
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.waitpid(pid, 0)[1]:
        raise SystemExit("The originals could not be made.")


def _import_all() -> None:
    """Import what the doors use once, so that no process of a case does."""
    from importlib import import_module

    import torch

    from braindiffusion.jobs import JOB_LOCATIONS

    torch.set_num_threads(1)
    for place in {location.split(":")[0] for location in JOB_LOCATIONS.values()}:
        import_module(place)
    for name in (
        "braindiffusion.cohort.transforms", "braindiffusion.cli.commands.models", "braindiffusion.export", "openpyxl",
        "xlrd", "pandas", "zarr", "monai.networks.nets.diffusion_model_unet", "skimage.measure", "scipy.signal",
        "napari_braindiffusion.io.files", "napari_braindiffusion.widgets.model_card", "napari.layers",
    ):  # fmt: skip
        import_module(name)


def _print(counts: Counts) -> None:
    width = max((len(f"{family}: {door}") for family, door in counts), default=0)
    print(f"{'':{width}} {'tried':>8}" + "".join(f"{name:>10}" for name in OUTCOMES))
    total: Counter[str] = Counter()
    for (family, door), counted in counts.items():
        total += counted
        print(
            f"{f'{family}: {door}':{width}} {counted.total():8}" + "".join(f"{counted[name]:10}" for name in OUTCOMES)
        )
    print(f"{'all':{width}} {total.total():8}" + "".join(f"{total[name]:10}" for name in OUTCOMES))


if __name__ == "__main__":
    sys.exit(main())
