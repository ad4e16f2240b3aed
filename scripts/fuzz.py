"""Damaged and hostile files through every function that reads files of others: results, sentences, crashes, hangs.

    python scripts/fuzz.py --files 500 --seed 0 --out build/fuzz.json

Each file is opened in a process of its own, with limits of time and memory. What counts as right is a result or one
sentence (`BrainDiffusionError`); wrong are any other exception, a process that ends, a file written outside of the
output, and more time or memory than the limits. Needs Linux.
"""

import argparse
import io
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
from fuzz_inputs import bombs, make_originals, mutate, perform

OUTCOMES = ("result", "sentence", "crash", "hang", "outside")
SECONDS = 60.0
"""Processor seconds that a file may take."""
MEMORY = 2 << 30
"""Bytes of address space that a file may take."""
# -- doors: what reads a file ------------------------------------------------------------------------------------------


def _job(request: Any, case: Path) -> None:
    from braindiffusion.runs import Run

    for _ in perform(Run.create(request, case / "runs", "fuzz")):
        pass


def _volume(case: Path) -> None:
    from braindiffusion.volume import load_volume, read_header, save_volume

    path = next(path for path in (case / "in").iterdir() if path.is_file())
    read_header(path)
    save_volume(load_volume(path), case / "out" / "again.nii.gz")


def _viewer(case: Path) -> None:
    from napari_braindiffusion.io.files import read_layer

    volumes = [path for path in sorted((case / "in").iterdir()) if path.name.endswith((".nii", ".nii.gz", ".mgz"))]
    for path in volumes:
        read_layer(path)


def _inspect(case: Path) -> None:
    from braindiffusion.runs.requests import InspectRequest

    _job(InspectRequest(data_dir=case / "in", workers=1), case)


def _prepare(case: Path) -> None:
    from braindiffusion.runs.requests import PrepareRequest

    _job(PrepareRequest(data_dir=case / "in", out=case / "out" / "c.zarr", spacing=8, skull="keep", workers=1), case)


def _segment(case: Path) -> None:
    from braindiffusion.runs.requests import SegmentRequest

    _job(SegmentRequest(input=case / "in", out=case / "out" / "regions"), case)


def _export(case: Path) -> None:
    from braindiffusion.export import brains_in, write_bids

    for _ in write_bids(brains_in([case / "in"]), case / "out" / "bids"):
        pass
    for path in (case / "out").rglob("*.tsv"):
        rows = path.read_text().splitlines()
        if len({row.count("\t") for row in rows}) > 1:
            raise RuntimeError(f"{path.name} has rows of different lengths")


def _card(case: Path) -> None:
    from braindiffusion.models.registry import find_model, read_card
    from napari_braindiffusion.widgets.model_card import about, one_line

    card = read_card(find_model(case / "in" / "model"))
    json.dumps(card.to_json())
    about(card), one_line(card)
    card.conditions.choices(), card.sampling_defaults, card.prepared


def _models(case: Path) -> None:
    from braindiffusion.cli.commands.models import models

    stdout, sys.stdout = sys.stdout, io.StringIO()
    try:
        models(str(case / "in" / "model"))
    finally:
        sys.stdout = stdout


def _generate(case: Path) -> None:
    from braindiffusion.runs import GenerateRequest

    _job(GenerateRequest(model=str(case / "in" / "model"), steps=1, out=case / "out" / "brains"), case)


def _estimate(case: Path) -> None:
    from braindiffusion.runs import GenerateRequest
    from braindiffusion.runs.requests import EstimateRequest

    _job(EstimateRequest(of=GenerateRequest(model=str(case / "in" / "model"), steps=1)), case)


def _groups(case: Path) -> None:
    from braindiffusion.evaluation.groups import choose_groups
    from braindiffusion.runs.requests import EvaluateRequest

    store = case.parent.parent / "originals" / "store" / "small.zarr"
    choose_groups(EvaluateRequest(real=(store,), generated=(store,), model=str(case / "in" / "model")))


def _sources(case: Path) -> None:
    from braindiffusion.cohort.preprocessing import Preprocessing
    from braindiffusion.evaluation.sources import find_brains

    for source in find_brains([case / "in"], Preprocessing(shape=(16, 16, 16))):
        source.read()


def _reproduce(case: Path) -> None:
    from braindiffusion.runs import RegenerateRequest

    _job(RegenerateRequest(like=case / "in" / "sample_001_T1.json", out=case / "out" / "again"), case)


def _store(case: Path) -> None:
    import numpy as np

    from braindiffusion.cohort.store import Cohort

    cohort = Cohort.open(case / "in" / "small.zarr")
    for array in (cohort.volumes, cohort.masks, cohort.labels):
        for row in range(len(cohort)):
            assert array is None or np.asarray(array[row]).size  # noqa: S101
    assert len(cohort.affines) == len(cohort)  # noqa: S101


def _train(case: Path) -> None:
    from braindiffusion.runs import TrainRequest

    _job(
        TrainRequest(data=case / "in" / "small.zarr", preset="tiny", levels=(0,), epochs=0.3, validation_subjects=1),
        case,
    )


def _reference(case: Path) -> None:
    from braindiffusion.cohort.region_volumes import cohort_reference
    from braindiffusion.cohort.store import Cohort

    cohort_reference(Cohort.open(case / "in" / "small.zarr"))


def _cohort_source(case: Path) -> None:
    from braindiffusion.cohort.preprocessing import Preprocessing
    from braindiffusion.evaluation.sources import find_brains

    for source in find_brains([case / "in" / "small.zarr"], Preprocessing(shape=(16, 16, 16))):
        source.read()


def _table(case: Path) -> None:
    from braindiffusion.cohort.demographics import read_demographics

    path = next(iter((case / "in").iterdir()))
    read_demographics(path).problems(["sub-01", "IXI002"])


def _conditions(case: Path) -> None:
    from braindiffusion.runs import GenerateRequest

    path = next(iter((case / "in").iterdir()))
    table = path.read_bytes().replace(b"participant_id", b"volumes.CSF", 1)
    path.write_bytes(table)
    _job(GenerateRequest(conditions=path, levels=1, steps=1, out=case / "out" / "brains"), case)


def _run(case: Path) -> None:
    from braindiffusion.runs import Run, list_runs

    list_runs(case / "in")
    run = Run.open(case / "in" / "made")
    run.events(), run.state


def _anomaly(case: Path, model: Path | None = None, scan: Path | None = None) -> None:
    from braindiffusion.runs import AnomalyRequest

    model, scan = model or _originals(case) / "model" / "model", scan or next(iter((case / "in").iterdir()))
    _job(AnomalyRequest(scan=scan, model=str(model), age=40, out=case / "out" / "anomaly.nii.gz"), case)


def _edit(case: Path, model: Path | None = None, scan: Path | None = None, mask: Path | None = None) -> None:
    from braindiffusion.runs import EditRequest

    model, scan = model or _originals(case) / "model" / "model", scan or next(iter((case / "in").iterdir()))
    mask = mask or _originals(case) / "mask" / "mask.nii.gz"
    request = EditRequest(scan=scan, mask=mask, label=60, model=str(model), steps=1, out=case / "out", first_level=0)
    _job(request, case)


def _originals(case: Path) -> Path:
    return case.parent.parent / "originals"


def _scan(case: Path) -> Path:
    return _originals(case) / "scan" / "scan.nii.gz"


def _synthesize(case: Path, model: Path | None = None, out: Path | None = None) -> None:
    from braindiffusion.runs import SynthesizeRequest

    model = model or _originals(case) / "model" / "model"
    _job(SynthesizeRequest(model=str(model), num=2, out=out or case / "out" / "bids"), case)


def _regions(case: Path) -> None:
    from braindiffusion.runs import GenerateRequest

    regions, model = case / "in" / "mask.nii.gz", _originals(case) / "model" / "model"
    _job(GenerateRequest(model=str(model), condition={"regions": str(regions)}, out=case / "out" / "brains"), case)


def _labelled(case: Path) -> None:
    from braindiffusion.runs.requests import PrepareRequest

    scans = case / "out" / "scans"
    scans.mkdir()
    shutil.copy(_scan(case), scans / "sub-01_T1w.nii.gz")
    (case / "in" / "mask.nii.gz").rename(case / "in" / "sub-01_dseg.nii.gz")
    out = case / "out" / "c.zarr"
    _job(PrepareRequest(data_dir=scans, labels=case / "in", out=out, spacing=8, workers=1), case)


def _augment(case: Path) -> None:
    from braindiffusion.synthesis.augmentation import SyntheticDataset

    for subject in SyntheticDataset(case / "in" / "bids"):
        subject.load()


def _resume(case: Path) -> None:
    from braindiffusion.runs import Run

    run = Run.open(case / "in" / "trained")
    for _ in perform(Run.open(run.path)):
        pass


def _history(case: Path) -> None:
    from braindiffusion.runs import Run
    from napari_braindiffusion.engine.trainings import read_history

    read_history(Run.open(case / "in" / "trained"))


def _preset(case: Path) -> None:
    from braindiffusion.runs import TrainRequest
    from braindiffusion.runs.requests import EstimateRequest

    data, file = _originals(case) / "store" / "small.zarr", str(case / "in" / "preset.json")
    request = TrainRequest(data=data, preset=file, levels=(0,), epochs=0.3, validation_subjects=1)
    _job(EstimateRequest(of=request), case)
    _job(request, case)


def _vectors(case: Path) -> None:
    from braindiffusion.cohort.vectors.table import read_vector_table

    read_vector_table(case / "in" / "scores.tsv")


def _prepare_vectors(case: Path) -> None:
    from braindiffusion.runs.requests import PrepareRequest

    heads, table = _originals(case) / "nifti.gz", case / "in" / "scores.tsv"
    out = case / "out" / "c.zarr"
    _job(PrepareRequest(data_dir=heads, table=(table,), out=out, spacing=8, skull="keep", workers=1), case)


def _visualize(case: Path) -> None:
    from braindiffusion.runs import VisualizeRequest

    scan = next(iter((case / "in").iterdir()))
    _job(VisualizeRequest(figure="slices", paths=(scan,), out=case / "out" / "page.html"), case)


def _difference(case: Path) -> None:
    from braindiffusion.runs import DifferenceRequest

    scan = next(iter((case / "in").iterdir()))
    other = _originals(case) / "nifti.gz" / "sub-01_T1w.nii.gz"
    _job(DifferenceRequest(first=scan, second=other, out=case / "out" / "difference.nii.gz"), case)


Counts = dict[tuple[str, str], Counter[str]]
"""Outcomes by family and door."""
VOLUMES = {"load": _volume, "viewer": _viewer, "inspect": _inspect, "prepare": _prepare, "export": _export}
DOORS: dict[str, dict[str, Callable[[Path], None]]] = {
    "nifti": VOLUMES,
    "nifti.gz": {**VOLUMES, "segment": _segment, "visualize": _visualize, "difference": _difference},
    "mgz": VOLUMES,
    "card": {"card": _card, "models": _models, "estimate": _estimate, "generate": _generate, "evaluate": _groups},
    "weights": {"generate": _generate},
    "sidecar": {"viewer": _viewer, "evaluate": _sources, "export": _export, "reproduce": _reproduce},
    "store": {"open": _store, "train": _train, "reference": _reference, "evaluate": _cohort_source},
    "tsv": {"table": _table, "conditions": _conditions},
    "csv": {"table": _table, "conditions": _conditions},
    "xls": {"table": _table},
    "xlsx": {"table": _table},
    "run": {"run": _run},
    "bundle": {"card": _card, "models": _models, "estimate": _estimate, "generate": _generate},
    "vectors": {"table": _vectors, "prepare": _prepare_vectors},
    "model": {
        "generate": _generate,
        "synthesize": lambda case: _synthesize(case, case / "in" / "model"),
        "edit": lambda case: _edit(case, case / "in" / "model", _scan(case)),
        "anomaly": lambda case: _anomaly(case, case / "in" / "model", _scan(case)),
    },
    "scan": {"edit": _edit, "anomaly": _anomaly},
    "mask": {
        "edit": lambda case: _edit(case, scan=_scan(case), mask=case / "in" / "mask.nii.gz"),
        "generate": _regions,
        "prepare": _labelled,
    },
    "dataset": {"synthesize": lambda case: _synthesize(case, out=case / "in" / "bids"), "augment": _augment},
    "training": {"resume": _resume, "history": _history},
    "preset": {"train": _preset},
}


SLOW = {
    *(("nifti.gz", door) for door in ("segment", "visualize")),
    *((family, "conditions") for family in ("tsv", "csv")),
    *((family, "estimate") for family in ("card", "bundle")),
    *(("model", door) for door in ("synthesize", "edit", "anomaly")),
    *((family, door) for family in ("scan", "mask") for door in ("edit", "anomaly", "generate", "prepare")),
    ("bundle", "generate"), ("store", "train"), ("dataset", "synthesize"), ("training", "resume"), ("preset", "train"),
}  # fmt: skip
"""Families and doors that segment, train or sample: most of the time would be theirs."""


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
