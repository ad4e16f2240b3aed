"""The commands that do a job: each makes a request, and performs it in a run folder."""

import signal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from pydantic import BaseModel, ValidationError

from braindiffusion.cli.drive import drive, finish
from braindiffusion.cli.estimating import only_estimate
from braindiffusion.cli.publish import publish_checkpoints
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.jobs import perform
from braindiffusion.models.registry import is_packaged
from braindiffusion.runs import (
    CheckpointWritten,
    Event,
    Finished,
    PrepareRequest,
    Request,
    Run,
    TrainRequest,
    default_runs_dir,
)
from braindiffusion.runs.process_rank import Launch

R = TypeVar("R", bound=BaseModel)


class Skull(StrEnum):
    """What `--skull` takes."""

    STRIP = "strip"
    KEEP = "keep"


class Precision(StrEnum):
    """What `--precision` takes."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class Strategy(StrEnum):
    """What `--strategy` takes."""

    DDP = "ddp"
    FSDP = "fsdp"


Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Precisely = Annotated[Precision, typer.Option(help="Arithmetic of the network.")]
RunName = Annotated[str | None, typer.Option(help="Name of the run folder; date and time by default.")]


def prepare(
    data_dir: Annotated[Path, typer.Argument(help="IXI folder, BIDS dataset or any folder of volumes.")],
    out: Annotated[Path | None, typer.Option(help="The store to write; DATA_DIR's name with .zarr by default.")] = None,
    labels: Annotated[Path | None, typer.Option(help="Folder of label maps: DLMUSE's, or FreeSurfer's.")] = None,
    participants: Annotated[Path | None, typer.Option(help="IXI.xls, or a table with id, age and sex.")] = None,
    modality: Annotated[
        str,
        typer.Option(
            help="T1, T2, PD ...; T1,T2,PD makes the channels of one volume a subject, T1/T2/PD volumes of their own."
        ),
    ] = "T1",
    spacing: Annotated[float, typer.Option(help="Millimetres, isotropic.")] = 2.0,
    shape: Annotated[
        tuple[int, int, int] | None, typer.Option(help="Voxels of the box; what holds 160 x 208 x 176 mm by default.")
    ] = None,
    skull: Annotated[Skull | None, typer.Option(help="Stripped where there are labels by default.")] = None,
    subject: Annotated[list[str] | None, typer.Option(help="Take only this one (may be repeated).")] = None,
    workers: Annotated[int, typer.Option(help="Processes; 0 takes one a core.")] = 0,
    name: RunName = None,
) -> None:
    """Turn a folder of volumes into a prepared cohort (one Zarr store). A half-written store is continued."""
    request = make(
        PrepareRequest,
        data_dir=data_dir.absolute(),
        out=(out or Path(f"{data_dir.absolute().name}.zarr")).absolute(),
        labels=labels and labels.absolute(),
        participants=participants and participants.absolute(),
        modality=modality,
        spacing=spacing,
        shape=shape,
        skull=skull and skull.value,
        subjects=tuple(subject) if subject else None,
        workers=workers,
    )
    finish(drive(new_run(request, name)))


def train(
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir",
            "--data",
            help="A prepared cohort (.zarr), or a folder of volumes that is prepared first. "
            "Without it, the one .zarr of the current folder.",
        ),
    ] = None,
    preset: Annotated[
        str,
        typer.Option(
            help="auto (what suits the device), tiny, laptop, gpu-8gb, gpu-24gb, gpu-80gb, or a file "
            "(`braindiffusion preset laptop > FILE`)."
        ),
    ] = "auto",
    start_from: Annotated[
        str | None, typer.Option(help="Begin from this model (name or path): its network, what it has learnt.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="PatchDataset or volumes at once, of each process; the preset's by default.")
    ] = None,
    accumulate: Annotated[int | None, typer.Option(help="Batches that make one step; the preset's by default.")] = None,
    patch: Annotated[
        int | None,
        typer.Option(help="Edge of the patches that fine levels learn from, in coefficients; the preset's by default."),
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the subjects; the preset's by default.")] = None,
    level: Annotated[
        list[int] | None, typer.Option(help="Train only this level, 0 is the coarsest (repeatable).")
    ] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option(help="What it can be asked for: age, sex, volumes ... (repeatable), or none; all by default."),
    ] = None,
    validation_subjects: Annotated[int | None, typer.Option(help="Subjects kept aside; a fifth by default.")] = None,
    patience: Annotated[
        int | None, typer.Option(help="End a level after so many validations without a better one.")
    ] = None,
    checkpointing: Annotated[bool, typer.Option("--checkpointing", help="Less memory, a third more time.")] = False,
    strategy: Annotated[
        Strategy, typer.Option(help="Under torchrun or SLURM: each process holds the whole model, or a part of it.")
    ] = Strategy.DDP,
    seed: int = 0,
    device: Device = "auto",
    precision: Precisely = Precision.AUTO,
    checkpoint_minutes: Annotated[float, typer.Option(help="Minutes between two checkpoints.")] = 2.0,
    sample_minutes: Annotated[float, typer.Option(help="Minutes between two samples.")] = 5.0,
    out: Annotated[
        Path,
        typer.Option(
            help="Folder that gets a copy of the models: best and last. Those of an earlier training are replaced."
        ),
    ] = Path("checkpoints"),
    resume: Annotated[
        str | None, typer.Option(help="Go on with this run (its name or folder); all else is as it was.")
    ] = None,
    name: RunName = None,
) -> None:
    """Train a model. Ctrl-C keeps a checkpoint; `--resume` goes on from it.

    Several devices: `torchrun --nproc-per-node 8 -m braindiffusion train ...`, or `srun` the same command.
    """
    if resume is not None:
        run = find_run(resume)
        if run.request.job != "train":
            msg = f"The run {run.name} is no training: its job is {run.request.job}."
            raise BrainDiffusionError(msg)
        only_estimate(run.request)
    else:
        request = make(
            TrainRequest,
            data=(data_dir or _only_cohort()).absolute(),
            preset=str(Path(preset).absolute()) if Path(preset).is_file() else preset,
            start_from=start_from and whole_name(start_from),
            batch_size=batch_size,
            accumulate=accumulate,
            patch=patch,
            epochs=epochs,
            levels=tuple(level) if level else None,
            conditions=None if condition is None else tuple(one for one in condition if one != "none"),
            validation_subjects=validation_subjects,
            patience=patience,
            checkpointing=checkpointing,
            strategy=strategy.value,
            seed=seed,
            device=device,
            precision=precision.value,
            checkpoint_minutes=checkpoint_minutes,
            sample_minutes=sample_minutes,
        )
        run = new_run(request, name) if Launch.of_this_process().world == 1 else _common_run(request, name)
    if Launch.of_this_process().rank:
        follow(run)
        return

    def copy(event: Event) -> None:
        if isinstance(event, CheckpointWritten):
            publish_checkpoints(run, out)

    last = drive(run, copy)
    published = publish_checkpoints(run, out)  # the last one may have been written while the training stopped
    for model in published:
        typer.echo(model)
    if not isinstance(last, Finished):
        typer.echo(f"To go on: braindiffusion train --resume {run.name} --out {out}", err=True)
    finish(last)


def whole_name(model: str) -> str:
    """A model's path in full, so that the run can be read elsewhere; a name as it is."""
    return model if is_packaged(model) or not Path(model).exists() else str(Path(model).absolute())


def make(kind: type[R], **fields: object) -> R:
    """A request, or one sentence on what is wrong with it.

    Raises:
        BrainDiffusionError: a field is out of range.
    """
    try:
        return kind(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        msg = f"--{'-'.join(map(str, first['loc'])).replace('_', '-')}: {first['msg']} (was {first['input']!r})."
        raise BrainDiffusionError(msg) from error


def new_run(request: Request, name: str | None = None) -> Run:
    """A run folder for this command; where it is goes to standard error. (Within `estimate`, only an estimate.)"""
    only_estimate(request)
    run = Run.create(request, name=name)
    typer.echo(f"Run: {run.path}", err=True)
    return run


def _common_run(request: TrainRequest, name: str | None) -> Run:
    """The run of several processes: the first one makes it, and tells the others."""
    from braindiffusion.training.distributed import Distributed

    distributed = Distributed(request)
    return Run(Path(distributed.broadcast(str(new_run(request, name).path) if distributed.is_main else "")))


def follow(run: Run) -> None:
    """Do this process's share of a run that the first process of the launch tells of, and stop when that one does."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    for _ in perform(run):
        pass


def find_run(name_or_path: str) -> Run:
    """A run by its name in the runs folder, or by its path.

    Raises:
        BrainDiffusionError: there is no such run.
    """
    named = default_runs_dir() / name_or_path
    if (named / "run.json").is_file():
        return Run.open(named)
    if Path(name_or_path).is_dir():
        return Run.open(name_or_path)
    place = default_runs_dir()
    msg = f"There is no run {name_or_path!r}, neither in {place} nor as a folder; `braindiffusion runs` lists them."
    raise BrainDiffusionError(msg)


def _only_cohort() -> Path:
    found = sorted(path for path in Path().glob("*.zarr") if (path / "zarr.json").is_file())
    if len(found) == 1:
        return found[0]
    what = "there is no .zarr" if not found else f"there are several ({', '.join(map(str, found))})"
    msg = f"Say what to train on with --data-dir: {what} in the current folder to take by default."
    raise BrainDiffusionError(msg)
