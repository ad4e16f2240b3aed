"""Train the cascade and the segmentation model on one GPU within minutes, from compact cohort files.

    python scripts/train_gpu.py pack ixi.zarr heads.zarr --heads 60 --out build/gpu
    python scripts/train_gpu.py train build/gpu --minutes 9 --out results
    python scripts/train_gpu.py collect results --out build/models

`pack` writes each cohort into one file of 8-bit intensities, and the code into `code.tar.gz`: all that another machine
needs, together below 64 MiB (0.21 MiB for a brain at 2 mm, 0.45 for a head, 1.6 for the code). There, unpack the code,
set PYTHONPATH to its `src`, and call `train` until it says that all is trained: each call stops in time, and the next
one resumes from the folder `--work`, as long as that is kept. The first call measures a step of each level on the
device, and divides the time (`--total`) among the levels: learning rates thus fall to zero at its end. After each call
`results` holds the best models in bfloat16, in parts of at most 16 MiB. `collect` joins them into model folders, for
`package_model.py` and `package_segmentation.py`.

A cohort whose brains are stripped trains the cascade, one with the skull kept the segmentation model.
"""

import json
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Annotated

import numpy as np
import torch
import typer

from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.cohort.store import Cohort, PreparedVolume, Subject
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.estimate.training import training_estimates
from braindiffusion.files import write_whole
from braindiffusion.jobs import perform
from braindiffusion.models.cascade import load_model, save_model
from braindiffusion.runs import Failed, Finished, Metric, Run, TrainRequest
from braindiffusion.runs.requests import TrainSegmentationRequest
from braindiffusion.segmentation.files import load_segmentation_model, save_segmentation_model
from braindiffusion.training.plan import rows_of
from braindiffusion.training.presets import preset

MIB = 2**20
LIMIT, PART = 64 * MIB, 16 * MIB
SHARES = (0.12, 0.2, 0.33, 0.2)  # of the time, by level; the segmentation model gets the rest
SAFETY = 0.8  # share of the time that is planned: copies of brains, validations and checkpoints take some too
BATCHES, COPIES = (64, 64, 32, 32), 8
TRIAL_STEPS = 10**6
STOP_SECONDS = 30  # before the end of a call: to write checkpoints and models

app = typer.Typer(add_completion=False, help=__doc__)


def pack_cohort(cohort: Cohort, path: Path, subjects: int | None = None) -> None:
    """Write a cohort into one file: intensities in 8 bits (steps of 0.008 in [-1, 1]), masks in bits.

    Args:
        cohort: the cohort; its label maps have values below 256.
        path: the file, `.npz`.
        subjects: number of subjects, evenly drawn; None takes all.
    """
    count = len(cohort) if subjects is None else min(subjects, len(cohort))
    rows = np.linspace(0, len(cohort) - 1, count).round().astype(int)
    arrays = {
        "volumes": np.stack([np.rint((np.asarray(cohort.volumes[r], np.float32) + 1) * 127.5) for r in rows]),
        "masks": np.packbits(np.stack([np.asarray(cohort.masks[r]) for r in rows]), axis=-1),
    }
    if cohort.labels is not None:
        arrays["labels"] = np.stack([np.asarray(cohort.labels[r]) for r in rows])
        if arrays["labels"].max() > 255:
            raise BrainDiffusionError(f"{cohort.path} has label values above 255: prepare it with maps of 40 regions.")
    table = [cohort.subjects[r].model_dump(mode="json") for r in rows]
    told = json.dumps({"subjects": table, "preprocessing": cohort.preprocessing.model_dump(mode="json")})
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path, affines=cohort.affines[rows], told=np.array(told), **{n: a.astype(np.uint8) for n, a in arrays.items()}
    )


def unpack_cohort(path: Path, out: Path) -> Cohort:
    """Write a packed cohort as a cohort; one that is there and whole is taken as it is."""
    if (out / "zarr.json").is_file() and (known := Cohort.open(out)).complete:
        return known
    shutil.rmtree(out, ignore_errors=True)
    with np.load(path, allow_pickle=False) as packed:
        arrays = {name: packed[name] for name in packed}
    told, volumes, labels = json.loads(str(arrays["told"])), arrays["volumes"], arrays.get("labels")
    masks = np.unpackbits(arrays["masks"], axis=-1, count=volumes.shape[-1]).astype(bool)
    cohort = Cohort.create(
        out,
        Preprocessing.model_validate(told["preprocessing"]),
        channels=volumes.shape[1],
        labels=None if labels is None else np.dtype(np.uint16),
    )
    for row, subject in enumerate(told["subjects"]):
        volume = (volumes[row] / np.float32(127.5) - 1).astype(np.float16)
        map_ = None if labels is None else labels[row].astype(np.uint16)
        cohort.put(Subject.model_validate(subject), PreparedVolume(volume, masks[row], map_, arrays["affines"][row]))
    cohort.finish()
    return cohort


def pack_code(path: Path) -> None:
    """Write the source of the package without its weights, and this script."""
    root = Path(__file__).resolve().parents[1]
    listed = subprocess.run(
        ["git", "ls-files", "src", "pyproject.toml"], cwd=root, capture_output=True, text=True, check=True
    )
    files = [name for name in listed.stdout.split("\n") if name and "/pretrained/" not in name]
    with tarfile.open(path, "w:gz") as tar:
        for name in [*files, f"scripts/{Path(__file__).name}"]:
            tar.add(root / name, arcname=name)


def plan_cascade(request: TrainRequest, minutes: float, work: Path) -> TrainRequest:
    """Return the request with a preset whose levels take their shares of the time, as measured on the device.

    Raises:
        BrainDiffusionError: the training does not fit into the memory of the device.
    """
    chosen = preset(request.preset)
    recipes = [
        one.model_copy(
            update={
                "batch_size": batch if request.batch_size is None else request.batch_size,
                "augmented_copies": min(COPIES, one.augmented_copies),
                "validations": 6,
                "snapshots": 0,
            }
        )
        for one, batch in zip(chosen.recipes, BATCHES, strict=True)
    ]
    file = work / "preset.json"
    write_whole(file, chosen.model_copy(update={"recipes": tuple(recipes)}).model_dump_json(indent=2))
    request = request.model_copy(update={"preset": str(file), "batch_size": None})
    *_, told = training_estimates(request)
    if not told.fits:
        raise BrainDiffusionError(told.verdict)
    subjects = len(rows_of(Cohort.open(request.data), request.validation_subjects)[0])
    for level, share in zip(told.levels, SHARES, strict=True):
        steps = max(1, int(share * minutes * 60 * SAFETY / (level.seconds_per_step or 1)))
        recipe = recipes[level.level]
        recipes[level.level] = recipe.model_copy(update={"epochs": steps * recipe.samples() / subjects})
        print(f"level {level.level}: {steps} steps of {recipe.samples()} in {level.seconds_per_step:.3f} s each")
    write_whole(file, chosen.model_copy(update={"recipes": tuple(recipes)}).model_dump_json(indent=2))
    return request


def plan_segmentation(request: TrainSegmentationRequest, minutes: float, work: Path) -> TrainSegmentationRequest:
    """Return the request with as many steps as its share of the time allows, as measured on the device."""
    run = Run.create(request.model_copy(update={"steps": TRIAL_STEPS}), root=work / "trial")
    job, seconds = perform(run), 0.0
    for event in job:
        if isinstance(event, Failed):
            raise BrainDiffusionError(event.message)
        if isinstance(event, Metric) and "seconds_per_step" in event.values:
            seconds = event.values["seconds_per_step"]
            break
    job.close()  # type: ignore[attr-defined]
    shutil.rmtree(work / "trial")
    steps = max(1, int((1 - sum(SHARES)) * minutes * 60 * SAFETY / seconds))
    print(f"segmentation model: {steps} steps in {seconds:.3f} s each")
    return request.model_copy(update={"steps": steps})


def perform_until(run: Run, deadline: float) -> bool:
    """Perform or resume a run until it ends, or until a time; return whether it ended."""
    if run.state == "finished":
        return True
    job = perform(run)
    for event in job:
        if isinstance(event, Failed):
            raise BrainDiffusionError(event.message)
        if isinstance(event, Finished):
            return True
        if monotonic() > deadline:
            job.close()  # type: ignore[attr-defined]
            return False
    return False


def export(run: Run, out: Path) -> None:
    """Write the best model of a run in bfloat16, in parts."""
    best = run.checkpoints / "best"
    if not (best / "model.json").is_file():
        return
    folder = out / run.request.data.stem  # type: ignore[union-attr]
    shutil.rmtree(folder, ignore_errors=True)
    if isinstance(run.request, TrainSegmentationRequest):
        save_segmentation_model(load_segmentation_model(best), folder, dtype=torch.bfloat16)
    else:
        cascade, card = load_model(best)
        save_model(cascade, folder, card.to_json(), dtype=torch.bfloat16)
    for file in list(folder.iterdir()):
        if file.stat().st_size > PART:
            content = file.read_bytes()
            for number, start in enumerate(range(0, len(content), PART)):
                file.with_name(f"{file.name}.part{number:02d}").write_bytes(content[start : start + PART])
            file.unlink()


@app.command()
def pack(
    cohorts: Annotated[list[Path], typer.Argument(help="Prepared cohorts.")],
    out: Annotated[Path, typer.Option(help="Folder of the packed cohorts and of the code.")] = Path("build/gpu"),
    heads: Annotated[int | None, typer.Option(help="Subjects to take of cohorts with the skull kept.")] = None,
) -> None:
    """Write all that another machine needs, together below 64 MiB."""
    out.mkdir(parents=True, exist_ok=True)
    for path in cohorts:
        cohort = Cohort.open(path)
        pack_cohort(cohort, out / f"{path.stem}.npz", heads if cohort.preprocessing.skull == "keep" else None)
    pack_code(out / "code.tar.gz")
    sizes = {file.name: file.stat().st_size for file in sorted(out.iterdir()) if file.is_file()}
    print(", ".join(f"{name} {size / MIB:.1f} MiB" for name, size in sizes.items()))
    if sum(sizes.values()) > LIMIT:
        raise BrainDiffusionError(
            f"{out} has {sum(sizes.values()) / MIB:.0f} MiB, and 64 are the most: take fewer heads."
        )


@app.command()
def train(
    packed: Annotated[Path, typer.Argument(help="Folder of `pack`.")],
    out: Annotated[Path, typer.Option(help="Folder of the models, in parts.")],
    minutes: Annotated[float, typer.Option(help="Time of this call.")] = 9.5,
    total: Annotated[float, typer.Option(help="Time of all calls together, by which the steps are planned.")] = 12.0,
    work: Annotated[Path, typer.Option(help="Folder of cohorts and runs, kept between calls.")] = Path(
        "build/gpu-work"
    ),
    preset: Annotated[str, typer.Option(help="Networks: a preset, or a file.")] = "laptop",
    batch_size: Annotated[int | None, typer.Option(help="Samples of a step at every level.")] = None,
    validation_subjects: Annotated[int | None, typer.Option(help="Subjects held out.")] = 30,
    device: Annotated[str, typer.Option(help="Device.")] = "auto",
) -> None:
    """Train in the time of this call, or resume; write the models of what is trained."""
    begun = monotonic()
    deadline = begun + 60 * minutes - min(STOP_SECONDS, 30 * minutes)
    runs = [_run(path, work, total, preset, batch_size, validation_subjects, device) for path in _packed(packed)]
    done = True
    for run in runs:
        done = done and perform_until(run, deadline)
        export(run, out)
    state = "All is trained" if done else "Not yet all is trained: call it again"
    print(f"{state}. {(monotonic() - begun) / 60:.1f} minutes; the models are in {out}.")


def _packed(folder: Path) -> Sequence[Path]:
    found = sorted(folder.glob("*.npz"))
    if not found:
        raise BrainDiffusionError(f"There is no packed cohort in {folder}: make one with `pack`.")
    return found


def _run(
    path: Path,
    work: Path,
    total: float,
    networks: str,
    batch_size: int | None,
    validation_subjects: int | None,
    device: str,
) -> Run:
    """Return the run of a packed cohort: the one in the folder of work, or a new one whose steps are planned."""
    runs = work / "runs" / path.stem
    if known := sorted(runs.glob("*/run.json")):
        return Run.open(known[0].parent)
    cohort = unpack_cohort(path, work / f"{path.stem}.zarr")
    common = {"data": cohort.path, "device": device, "validation_subjects": validation_subjects}
    if cohort.preprocessing.skull == "keep":
        heads = TrainSegmentationRequest.model_validate({**common, "checkpoint_minutes": 1})
        return Run.create(plan_segmentation(heads, total, work), root=runs)
    brains = TrainRequest.model_validate(
        {**common, "preset": networks, "batch_size": batch_size, "checkpoint_minutes": 1, "sample_minutes": 60}
    )
    return Run.create(plan_cascade(brains, total, work), root=runs)


@app.command()
def collect(
    results: Annotated[Path, typer.Argument(help="Folder of models in parts.")],
    out: Annotated[Path, typer.Option(help="Folder of the whole models.")],
) -> None:
    """Join the parts of each file."""
    for file in sorted(results.glob("*/*")):
        whole = out / file.parent.name / file.name.partition(".part")[0]
        whole.parent.mkdir(parents=True, exist_ok=True)
        first = file.name.endswith(".part00") or ".part" not in file.name
        with whole.open("wb" if first else "ab") as target:
            target.write(file.read_bytes())
    print(f"Models: {', '.join(sorted(str(path.parent) for path in out.glob('*/model.json')))}")


if __name__ == "__main__":
    app()
