"""The commands `train`, `train-segmentation` and `distill`."""

import signal
from pathlib import Path
from typing import Annotated

import typer

from braindiffusion.cli import runner
from braindiffusion.cli.options import Options, RunName, takes
from braindiffusion.cli.publish import check_published, publish_checkpoints
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.jobs import perform
from braindiffusion.runs import CheckpointWritten, Event, Finished, Run, TrainRequest
from braindiffusion.runs.command import command_name
from braindiffusion.runs.process_rank import ProcessRank
from braindiffusion.runs.requests import DistillRequest, TrainSegmentationRequest

THE_ONLY_COHORT = "the one .zarr of the current folder"
Resume = Annotated[
    str | None, typer.Option(help="Resume this run (its name or folder); everything but --out is as it was.")
]
Published = Annotated[
    Path, typer.Option(help="Folder that gets a copy of the models, best and last; those that it holds are replaced.")
]


@takes(TrainRequest, optional={"data": THE_ONLY_COHORT})
def train(
    options: Options[TrainRequest],
    out: Published = Path("checkpoints"),
    resume: Resume = None,
    name: RunName = None,
) -> None:
    """Train a model. Ctrl-C keeps a checkpoint; `--resume` continues from it.

    Several devices: `torchrun --nproc-per-node 8 -m braindiffusion train ...`, or `srun` the same command.
    """
    if resume is not None:
        run = runner.find_run(resume, "train")
        check_published(out, run)
    else:
        check_published(out)
        request = options.request(data=(options.values["data"] or only_cohort()).absolute())
        run = runner.new_run(request, name) if ProcessRank.current().world == 1 else _common_run(request, name)
    if ProcessRank.current().rank:
        _follow(run)
    else:
        _train(run, out)


@takes(TrainSegmentationRequest, optional={"data": THE_ONLY_COHORT})
def train_segmentation(
    options: Options[TrainSegmentationRequest],
    out: Published = Path("segmentation-model"),
    resume: Resume = None,
    name: RunName = None,
) -> None:
    """Train a segmentation model. Ctrl-C keeps a checkpoint; `--resume` continues from it.

    The cohort must have been prepared with `--skull keep`, `--labels` and a `--shape` with room around the head.
    """
    if resume is not None:
        run = runner.find_run(resume, "train-segmentation")
        check_published(out, run)
    else:
        check_published(out)
        data = (options.values["data"] or only_cohort()).absolute()
        run = runner.new_run(options.request(data=data), name)
    _train(run, out)


@takes(DistillRequest)
def distill(
    options: Options[DistillRequest],
    resume: Annotated[
        str | None, typer.Option(help="Resume this run (its name or folder); everything is as it was.")
    ] = None,
    name: RunName = None,
) -> None:
    """Distil a model: train a copy that generates in a few sampling steps and needs no guidance.

    Ctrl-C keeps the brains that are generated and the levels that are done; `--resume` continues from them.
    """
    run = runner.new_run(options.request(), name) if resume is None else runner.find_run(resume, "distill")
    runner.finish(runner.run_with_progress(run))


def _train(run: Run, out: Path) -> None:
    """Perform a training, copy its models to `out` whenever there are new ones, and end the command."""

    def copy(event: Event) -> None:
        if isinstance(event, CheckpointWritten):
            publish_checkpoints(run, out)

    last = runner.run_with_progress(run, copy)
    models = publish_checkpoints(run, out)  # the last one may have been written while the training stopped
    for model in models:
        typer.echo(model)
    if models and not isinstance(last, Finished):
        typer.echo(
            f"To resume: braindiffusion {command_name(type(run.request))} --resume {run.name} --out {out}", err=True
        )
    runner.finish(last)


def _common_run(request: TrainRequest, name: str | None) -> Run:
    """Return the run of several processes: the first one creates it and sends its folder to the others."""
    from braindiffusion.training.distributed import Distributed

    distributed = Distributed(request)
    return Run(Path(distributed.broadcast(str(runner.new_run(request, name).path) if distributed.is_main else "")))


def _follow(run: Run) -> None:
    """Do this process's share of a run that the first process reports, and stop when that one does."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    for _ in perform(run):
        pass


def only_cohort() -> Path:
    """Return the one cohort of the current folder.

    Raises:
        BrainDiffusionError: there is none, or there are several.
    """
    found = sorted(path for path in Path().glob("*.zarr") if (path / "zarr.json").is_file())
    if len(found) == 1:
        return found[0]
    what = "there is no .zarr" if not found else f"there are several ({', '.join(map(str, found))})"
    raise BrainDiffusionError(f"Say what to train on: {what} in the current folder to take by default.", field="data")
