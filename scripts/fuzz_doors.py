"""The functions that read files of others, by the family of files: what `fuzz.py` tries."""

import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fuzz_inputs import perform


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
