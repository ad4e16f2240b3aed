"""Damaged and hostile files through every function that reads files of others: results, sentences, crashes, hangs.

    python scripts/fuzz.py --files 500 --seed 0 --out build/fuzz.json

Each file is opened in a process of its own, with limits of time and memory. What counts as right is a result or one
sentence (`BrainDiffusionError`); wrong are any other exception, a process that ends, a file written outside of the
output, and more time or memory than the limits. Needs Linux.
"""

import argparse
import gzip
import io
import json
import os
import random
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

OUTCOMES = ("result", "sentence", "crash", "hang", "outside")
SECONDS = 60.0
"""Processor seconds that a file may take."""
MEMORY = 2 << 30
"""Bytes of address space that a file may take."""
NASTY: list[Any] = [
    None, True, "", "../../../x,T2", "/etc/x", "C:\\x", "a\tb\nc", '=HYPERLINK("http://x","y")',
    "<script>alert(1)</script>", "a" * 10_000, "\0", -1, 0, 1, 1.5, 1600, 10**6, 10**30, -1e308, 1e308, float("nan"),
    float("inf"), [], [1], {}, {"a": 1},
    [[[[]]]], "NaN", "T1,T1", ".",
]  # fmt: skip


# -- originals: one small valid folder of each family ------------------------------------------------------------------


def make_originals(root: Path) -> None:
    """Write a valid input of each family: `root/FAMILY`."""
    import nibabel as nib
    import numpy as np
    import torch

    from braindiffusion.cohort.preprocessing import Preprocessing
    from braindiffusion.cohort.store import Cohort, PreparedVolume, Subject
    from braindiffusion.models.cascade import Cascade, save_model
    from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig, UNetConfig
    from braindiffusion.runs import GenerateRequest, Run
    from braindiffusion.runs.sidecar import write_sidecar

    torch.manual_seed(0)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in (48, 60, 56)), indexing="ij"), axis=-1)
    head = (((grid - [24, 30, 28]) / [20, 26, 24]) ** 2).sum(-1) < 1
    voxels = np.where(head, 700 + np.random.default_rng(0).normal(0, 40, head.shape), 0).astype(np.int16)
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    for family, name in (("nifti", "sub-01_T1w.nii"), ("nifti.gz", "sub-01_T1w.nii.gz"), ("mgz", "sub-01_T1w.mgz")):
        (root / family).mkdir(parents=True)
        kind: Any = nib.MGHImage if family == "mgz" else nib.Nifti1Image
        nib.save(kind(voxels, affine), root / family / name)

    level = LevelConfig(unet=UNetConfig(widths=(8,), blocks=(1,), attention=(False,)), steps=2)
    small = CascadeConfig(shape=(16, 16, 16), channels=2, depth=1, levels=(level, level))
    box = Preprocessing(shape=(16, 16, 16), modality="T1,T2")
    card = {
        "name": "small", "summary": "A small model.", "split": {"train": ["a", "b"], "validation": ["c"]},
        "preprocessing": box.model_dump(mode="json"), "preprocessing_hash": box.hash, "steps": [10, 10],
        "parameters": [1, 1], "validation_loss": [0.5, 0.25], "data": "None.", "limits": ["None."],
    }  # fmt: skip
    for family in ("card", "weights"):
        save_model(Cascade(small), root / family / "model", card)

    folder = root / "sidecar"
    folder.mkdir()
    job = Run.create(GenerateRequest(model=str(root / "card" / "model"), steps=1, out=folder), folder / "runs", "made")
    for _ in _perform(job):
        pass

    one = box.model_copy(update={"modality": "T1"})
    cohort = Cohort.create(root / "store" / "small.zarr", one, labels=np.dtype(np.uint16))
    for number in range(3):
        volume = np.random.default_rng(number).uniform(-1, 1, (1, 16, 16, 16)).astype(np.float16)
        mask = np.ones((16, 16, 16), bool)
        prepared = PreparedVolume(volume, mask, mask.astype(np.uint16) * 4, np.diag([2.0, 2.0, 2.0, 1.0]))
        cohort.put(Subject(id=f"s{number}", age=30.0 + number, sex="F", input_hash=str(number)), prepared)
    cohort.finish()

    rows = [("participant_id", "age", "sex"), ("sub-01", "30", "F"), ("sub-02", "41.5", "M")]
    for family, separator in (("tsv", "\t"), ("csv", ",")):
        (root / family).mkdir()
        (root / family / f"participants.{family}").write_text("\n".join(separator.join(row) for row in rows) + "\n")
    (root / "xlsx").mkdir()
    _workbook(
        root / "xlsx" / "participants.xlsx", {(i, j): cell for i, row in enumerate(rows) for j, cell in enumerate(row)}
    )
    sheet = Path(os.environ.get("BRAINDIFFUSION_SHARED_DATA", "../shared/data")) / "ixi-2mm" / "IXI.xls"
    if sheet.is_file():
        (root / "xls").mkdir()
        shutil.copy(sheet, root / "xls" / "participants.xls")

    (root / "run").mkdir()
    shutil.copytree(folder / "runs" / "made", root / "run" / "made")
    for path in (root / "sidecar").glob("*.nii.gz"):
        write_sidecar(path, json.loads(path.with_name(path.name[:-7] + ".json").read_text()))


def _workbook(path: Path, cells: dict[tuple[int, int], str]) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    for (row, column), value in cells.items():
        book.active.cell(row + 1, column + 1, value)  # type: ignore[union-attr]
    book.save(path)


def bombs() -> Iterator[tuple[str, str, Callable[[Path], None]]]:
    """Yield inputs that ask for far more than they hold: name, family whose original they replace, function."""
    import nibabel as nib
    import numpy as np

    def huge_header(folder: Path) -> None:
        header = nib.Nifti1Header()
        header.set_data_shape((20000, 20000, 20000))
        header.set_data_dtype(np.float64)
        header["vox_offset"], header["sform_code"], header["magic"] = 352, 1, b"n+1"
        header.set_sform(np.diag([0.01, 0.01, 0.01, 1.0]))
        with gzip.open(folder / "sub-01_T1w.nii.gz", "wb") as file:
            file.write(header.binaryblock + bytes(4))

    def gzip_bomb(folder: Path) -> None:
        header = nib.Nifti1Header()
        header.set_data_shape((1600, 1600, 1600))
        header.set_data_dtype(np.uint8)
        header["vox_offset"], header["magic"] = 352, b"n+1"
        header.set_sform(np.diag([0.1, 0.1, 0.1, 1.0]), 1)
        with gzip.open(folder / "sub-01_T1w.nii.gz", "wb", 9) as file:
            file.write(header.binaryblock + bytes(4))
            for _ in range(400):
                file.write(bytes(1 << 20))

    def far_cell(folder: Path) -> None:
        _workbook(folder / "participants.xlsx", {(0, 0): "participant_id", (1048575, 16383): "x"})

    def zip_bomb(folder: Path) -> None:
        path = folder / "participants.xlsx"
        with zipfile.ZipFile(path) as old:
            parts = {name: old.read(name) for name in old.namelist()}
        parts["xl/worksheets/sheet1.xml"] = parts["xl/worksheets/sheet1.xml"].replace(
            b"</sheetData>", b"<row>" + b"<c/>" * 50_000_000 + b"</row></sheetData>"
        )
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
            for name, content in parts.items():
                new.writestr(name, content)

    def wide_table(folder: Path) -> None:
        (folder / "participants.tsv").write_text("participant_id\t" + "x\t" * 3_000_000 + "\n")

    def deep_json(name: str) -> Callable[[Path], None]:
        def write(folder: Path) -> None:
            (folder / name).write_text('{"configuration":' + "[" * 200_000 + "]" * 200_000 + "}")

        return write

    def long_number(folder: Path) -> None:
        path = folder / "model" / "model.json"
        path.write_text(path.read_text().replace("16", "9" * 5000, 1))

    def large_box(folder: Path) -> None:
        path = folder / "model" / "model.json"
        path.write_text(path.read_text().replace("16,", "1600,").replace("16\n", "1600\n"))

    def large_store(folder: Path) -> None:
        for path in folder.glob("small.zarr/*/zarr.json"):
            told = json.loads(path.read_text())
            told["shape"] = [10**9 if side == 3 else side for side in told["shape"]]
            path.write_text(json.dumps(told))

    def long_safetensors(folder: Path) -> None:
        (folder / "model" / "model.safetensors").write_bytes(struct.pack("<Q", 2**62) + b"{}")

    yield "header of 64 TB", "nifti.gz", huge_header
    yield "gzip bomb", "nifti.gz", gzip_bomb
    yield "cell in the far corner", "xlsx", far_cell
    yield "zip bomb", "xlsx", zip_bomb
    yield "three million columns", "tsv", wide_table
    yield "nested card", "card", deep_json("model/model.json")
    yield "nested sidecar", "sidecar", deep_json("sample_001_T1.json")
    yield "number of 5000 digits", "card", long_number
    yield "box of 1600 voxels", "card", large_box
    yield "store of 10^9 subjects", "store", large_store
    yield "safetensors header of 2^62 bytes", "weights", long_safetensors


# -- mutations ---------------------------------------------------------------------------------------------------------


def mutate(folder: Path, family: str, rng: random.Random) -> str:
    """Damage one file of a folder, and say which and how."""
    structured = {"card": ["model/model.json"], "sidecar": ["sample_001_T1.json"], "run": ["made/run.json"]}
    if family == "store":
        file = rng.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    elif family == "run":
        file = folder / "made" / rng.choice(["run.json", "events.jsonl"])
    elif family in structured:
        file = folder / structured[family][0]
    elif family == "weights":
        file = folder / "model" / "model.safetensors"
    else:
        file = next(path for path in sorted(folder.iterdir()) if path.is_file())
    data = file.read_bytes()
    if file.suffix == ".json" and rng.random() < 0.85:
        told = json.loads(data)
        how = [_mutate_json(told, rng) for _ in range(rng.choice([1, 1, 1, 2, 4]))]
        file.write_text(json.dumps(told))
        return f"{file.relative_to(folder)}: {'; '.join(how)}"
    zipped = data[:2] == b"\x1f\x8b" and rng.random() < 0.6
    content, how_bytes = _mutate_bytes(gzip.decompress(data) if zipped else data, rng, head=family != "store")
    file.write_bytes(gzip.compress(content, 1, mtime=0) if zipped else content)
    return f"{file.relative_to(folder)}{' (inside gzip)' if zipped else ''}: {how_bytes}"


def _mutate_json(told: Any, rng: random.Random) -> str:
    places: list[tuple[Any, Any, str]] = []

    def walk(value: Any, at: str) -> None:
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, below in items:
            places.append((value, key, f"{at}.{key}"))
            walk(below, f"{at}.{key}")

    walk(told, "")
    if not places:
        return "nothing left"
    parent, key, at = rng.choice(places)
    what = rng.random()
    if what < 0.12:
        del parent[key]
        return f"{at} removed"
    if what < 0.2 and isinstance(parent, dict):
        parent[rng.choice(["x", "../x", "", "a\tb"])] = parent.pop(key)
        return f"{at} renamed"
    if what < 0.3 and isinstance(parent[key], list):
        parent[key] = parent[key] * rng.choice([0, 2, 50])
        return f"{at} repeated"
    if what < 0.45 and isinstance(parent[key], int | float):
        parent[key] = parent[key] * rng.choice([-1, 0.5, 2, 100, 1e6])
        return f"{at} = {parent[key]}"
    parent[key] = rng.choice(NASTY)
    return f"{at} = {str(parent[key])[:40]!r}"


def _mutate_bytes(data: bytes, rng: random.Random, *, head: bool) -> tuple[bytes, str]:
    changed = bytearray(data)
    kind = rng.choice(["bytes", "bytes", "bytes", "number", "cut", "doubled", "removed", "text", "zeros"])
    # Most of what decides a file stands at its begin.
    end = min(len(changed), 600) if head and rng.random() < 0.8 else len(changed)
    at = rng.randrange(max(1, end))
    if kind == "bytes":
        for _ in range(rng.choice([1, 2, 8, 64])):
            if changed:
                changed[rng.randrange(max(1, end))] = rng.randrange(256)
    elif kind == "number":
        size = rng.choice([2, 4, 8])
        changed[at : at + size] = rng.choice([b"\xff", b"\x00", b"\x7f", b"\x80"]) * size
    elif kind == "cut":
        del changed[at:]
    elif kind == "doubled":
        changed[at:at] = changed[at : at + rng.choice([1, 16, 4096])]
    elif kind == "removed":
        del changed[at : at + rng.choice([1, 3, 16, 4096])]
    elif kind == "text":
        changed[at:at] = str(rng.choice(NASTY)).encode()[:100]
    else:
        changed[at : at + 64] = bytes(64)
    return bytes(changed), f"{kind} at {at} of {len(data)}"


# -- doors: what reads a file ------------------------------------------------------------------------------------------


def _perform(run: Any) -> Iterator[Any]:
    """Perform a run; an unexpected exception of the job is raised."""
    from braindiffusion.errors import BrainDiffusionError
    from braindiffusion.jobs import perform
    from braindiffusion.runs import Failed

    for event in perform(run):
        if isinstance(event, Failed):
            if run.error_file.is_file():
                raise RuntimeError(run.error_file.read_text())
            raise BrainDiffusionError(event.message)
        yield event


def _job(request: Any, case: Path) -> None:
    from braindiffusion.runs import Run

    for _ in _perform(Run.create(request, case / "runs", "fuzz")):
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
    from braindiffusion.runs.requests import ReadRequest

    _job(ReadRequest(input=case / "in", out=case / "out" / "regions"), case)


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


VOLUMES = {"load": _volume, "viewer": _viewer, "inspect": _inspect, "prepare": _prepare, "export": _export}
DOORS: dict[str, dict[str, Callable[[Path], None]]] = {
    "nifti": VOLUMES,
    "nifti.gz": {**VOLUMES, "segment": _segment},
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
}


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
    began, status, used = time.monotonic(), 0, 0
    while not used:
        used, status = os.waitpid(pid, os.WNOHANG)
        if not used and time.monotonic() - began > 10 * SECONDS:  # on a busy machine; SIGXCPU comes first elsewhere
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return "hang", f"more than {10 * SECONDS:.0f} s"
        time.sleep(0.005)
    if strangers := [path.name for path in case.iterdir() if path not in inside and path not in (told, case / "runs")]:
        return "outside", f"wrote {', '.join(strangers)}"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return ("hang" if number == signal.SIGXCPU else "crash"), signal.Signals(number).name
    if not told.exists():
        return "crash", f"ended with status {os.WEXITSTATUS(status)}"
    outcome, message = json.loads(told.read_text())
    return outcome, message


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
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        table = {f"{family}: {door}": dict(counted) for (family, door), counted in counts.items()}
        told = {"command": " ".join(sys.argv), "files": files, "counts": table, "wrong": wrong}
        arguments.out.write_text(json.dumps(told, indent=1) + "\n")
    return 1 if wrong else 0


def _try_all(
    arguments: argparse.Namespace, scratch: Path
) -> tuple[dict[tuple[str, str], Counter[str]], list[Any], int]:
    originals = scratch / "originals"
    _in_child(lambda: make_originals(originals))
    _import_all()
    families = [name for name in DOORS if (originals / name).is_dir() and name in (arguments.only or DOORS)]
    plan: list[tuple[str, str, Callable[[Path], str | None]]] = []
    for number in range(arguments.files):
        family = families[number % len(families)]
        rng = random.Random(f"{arguments.seed}-{number}")  # noqa: S311 nothing secret
        plan.append((family, f"{arguments.seed}-{number}", lambda f, family=family, rng=rng: mutate(f, family, rng)))
    if not arguments.no_bombs:
        plan = [(family, name, make) for name, family, make in bombs() if family in families] + plan
    counts: dict[tuple[str, str], Counter[str]] = {}
    wrong: list[Any] = []
    began, files = time.monotonic(), 0
    for family, name, damage in plan:
        if time.monotonic() - began > 60 * arguments.minutes:
            break
        files += 1
        damaged = scratch / "damaged"
        shutil.copytree(originals / family, damaged)
        how = damage(damaged) or name
        for door, function in DOORS[family].items():
            if arguments.doors and door not in arguments.doors:
                continue
            case = scratch / "cases" / "one"
            (case / "out").mkdir(parents=True)
            shutil.copytree(damaged, case / "in")
            outcome, message = attempt(function, case)
            counts.setdefault((family, door), Counter())[outcome] += 1
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
        "xlrd", "pandas", "napari_braindiffusion.io.files", "napari_braindiffusion.widgets.model_card", "napari.layers",
    ):  # fmt: skip
        import_module(name)


def _print(counts: dict[tuple[str, str], Counter[str]]) -> None:
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
