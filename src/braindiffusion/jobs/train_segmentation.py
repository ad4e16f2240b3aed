"""The job `train-segmentation`: train a segmentation model on a cohort of whole heads with label maps."""

import math
from collections.abc import Generator, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from braindiffusion.cohort.store import Cohort
from braindiffusion.devices import choose_device, choose_precision
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.models.card import Split
from braindiffusion.regions.overlap import region_dice
from braindiffusion.runs import ArtifactWritten, CheckpointWritten, Event, Finished, Metric, Progress, Run
from braindiffusion.runs.durations import seconds_left
from braindiffusion.runs.requests import TrainSegmentationRequest
from braindiffusion.segmentation.calibration import age_features, calibrate, uncalibrated
from braindiffusion.segmentation.examples import SHIFT, Examples
from braindiffusion.segmentation.files import load_segmentation_model, save_segmentation_model
from braindiffusion.segmentation.model import SegmentationModel, predict_regions
from braindiffusion.segmentation.network import SegmentationConfig, SegmentationNet
from braindiffusion.segmentation.training import SegmentationTrainer
from braindiffusion.training.checkpoints import fitting, load_state, save_state
from braindiffusion.training.plan import check_same_cohort, rows_of, usable_rows
from braindiffusion.training.warm_start import keep_initial_model

METRIC_SECONDS = 5.0
VALIDATION_HEADS = 6
STAGE, FITTING = "segmentation", "ages"


def train_segmentation(request: TrainSegmentationRequest, run: Run) -> Iterator[Event]:
    """Train a segmentation model, or resume the training of this run.

    Args:
        request: the cohort, and how to train.
        run: gets `checkpoints/best` (the model) and `checkpoints/resume`.

    Yields:
        Progress, Metric (loss; Dice of held-out heads, half of them stripped), CheckpointWritten.

    Raises:
        BrainDiffusionError: no cohort of whole heads with label maps, too few subjects, a damaged checkpoint.
    """
    cohort = Cohort.open(request.data)
    check_same_cohort(run, cohort)
    start = None if request.start_from is None else load_segmentation_model(keep_initial_model(request.start_from, run))
    known = None if start is None else Split.model_validate(start.card.get("split", {}))
    training, validation = rows_of(cohort, request.validation_subjects, known)
    rows = yield from usable_rows(cohort, training)
    held_out = yield from usable_rows(cohort, validation)
    if not rows:
        raise BrainDiffusionError(f"No subject of {cohort.path} can be trained on: see the warnings.")
    torch.manual_seed(request.seed)
    config = SegmentationConfig(shape=_box(cohort), spacing=cohort.preprocessing.spacing)
    examples = Examples(cohort, rows, config.shape, request.window, request.seed)
    if start is None:
        net = SegmentationNet(config)
        net.get_buffer("prior").copy_(examples.prior()[None])
    else:
        net = _initial_network(start, config, request, cohort)
    device = choose_device(request.device)
    dtype = choose_precision(device, request.precision)
    precision = "bf16-mixed" if dtype == torch.bfloat16 else "32-true"
    fabric = Fabric(accelerator=device.type, devices=1, precision=precision)  # type: ignore[arg-type]
    trainer = SegmentationTrainer(
        fabric,
        net.to(fabric.device),
        steps=request.steps,
        batch_size=request.batch_size,
        learning_rate=request.learning_rate,
        muon_learning_rate=request.muon_learning_rate,
        seed=request.seed,
    )
    best, resume = run.checkpoints / "best", run.checkpoints / "resume"
    highest = -math.inf
    if (state := load_state(resume, 0)) is not None:
        with fitting(resume, 0):
            highest = float(state.pop("best"))
            trainer.load(state)
    card = _card(request, cohort, training, validation)

    def save(dice: float) -> None:
        """Write the resume file, and the model if it is the best so far."""
        nonlocal highest
        if dice > highest:
            highest = dice
            measured = {"step": trainer.step, "validation_dice": dice}
            save_segmentation_model(
                SegmentationModel(trainer.averaged(), uncalibrated(net.config.features), {**card, **measured}), best
            )
        save_state(resume, 0, trainer.state() | {"best": torch.tensor(highest, dtype=torch.float64)})

    if start is not None and not trainer.step:
        # A warm start is validated first, so that worse weights never count as the best.
        dice = validate(trainer.averaged(), examples, (held_out or rows)[:VALIDATION_HEADS])
        save(dice)
        yield Metric(stage=STAGE, step=0, values={"validation_dice": dice})
    started = reported = saved = monotonic()
    first, losses, saved_step = trainer.step, [], trainer.step
    yield Progress(stage=STAGE, step=first, total=request.steps)
    try:
        for done in trainer.run(examples):
            now, last, events = monotonic(), done.step == request.steps, list[Event]()
            losses.append(done.loss)
            if now - reported >= METRIC_SECONDS or last:
                reported = now
                values = {"loss": sum(losses) / len(losses), "learning_rate": done.learning_rate}
                values["seconds_per_step"] = done.seconds
                events.append(Metric(stage=STAGE, step=done.step, values=values))
                left = seconds_left(started, done.step - first, request.steps - first)
                events.append(Progress(stage=STAGE, step=done.step, total=request.steps, seconds_left=left))
                losses.clear()
            if now - saved >= 60 * request.checkpoint_minutes or last:
                dice = validate(trainer.averaged(), examples, (held_out or rows)[:VALIDATION_HEADS])
                save(dice)
                saved, saved_step = monotonic(), done.step
                events.insert(0, Metric(stage=STAGE, step=done.step, values={"validation_dice": dice}))
                events.append(CheckpointWritten(path=str(best), step=done.step))
            yield from events  # the run may be stopped here: the last weights are validated by then
    finally:
        if saved_step < trainer.step:
            save(-math.inf)
    error = yield from fit(load_segmentation_model(best), examples, best)
    yield ArtifactWritten(kind="model", path=str(best), name="best")
    yield Finished(message=f"The segmentation model is in {best}; cross-validated error of ages: {error:.1f} years.")


def fit(model: SegmentationModel, examples: Examples, folder: Path) -> Generator[Event, None, float]:
    """Segment all training brains, stripped and as whole heads, and calibrate embedding and age.

    The embedding is calibrated on stripped brains, as generated ones are. Ages are fitted to both views: fitted to
    stripped brains alone, they are ten years off for whole heads.

    Args:
        model: a model with a trained network.
        examples: examples of the training subjects.
        folder: gets the model.

    Returns:
        Mean absolute error of cross-validated ages in years.
    """
    pooled, features = [], []
    for done, row in enumerate(examples.rows, start=1):
        for stripped in (True, False):
            volume, _ = examples.plain(row, stripped=stripped)
            box = np.ascontiguousarray(volume)
            regions, means = predict_regions(model.net, box)
            if stripped:
                pooled.append(means)
            features.append(age_features(regions, box, means))
        yield Progress(stage=FITTING, step=done, total=len(examples.rows))
    subjects = [examples.cohort.subjects[row] for row in np.repeat(examples.rows, 2)]
    ages = np.array([np.nan if one.age is None else one.age for one in subjects])
    _, people = np.unique([one.person for one in subjects], return_inverse=True)
    calibration, error = calibrate(np.array(pooled), np.array(features), ages, people)
    save_segmentation_model(
        SegmentationModel(model.net, calibration, {**model.card, "age_error_left_out": error}), folder
    )
    return error


def _initial_network(
    start: SegmentationModel, config: SegmentationConfig, request: TrainSegmentationRequest, cohort: Cohort
) -> SegmentationNet:
    """Return the network of the initial model, whose box has to be that of the cohort.

    Its prior is kept: it is of more heads than a fine-tuning has, and the weights were trained with it.
    """
    here, there = (
        f"{' x '.join(map(str, one.shape))} voxels of {one.spacing:g} mm" for one in (config, start.net.config)
    )
    if here != there:
        msg = f"The initial model {request.start_from} segments a box of {there}, and {cohort.path} has room for {here}"
        needed = " x ".join(str(side + 2 * SHIFT) for side in start.net.config.shape)
        fix = f"prepare it with voxels of {start.net.config.spacing:g} mm on a grid of {needed} voxels or a little more"
        raise BrainDiffusionError(f"{msg}: {fix}.", field="start_from")
    return start.net.train()


def _box(cohort: Cohort) -> tuple[int, int, int]:
    """Return the largest box that can be shifted within the cohort's: 80 x 104 x 88 within 96 x 120 x 104."""
    x, y, z = ((side - 2 * SHIFT) // 8 * 8 for side in cohort.preprocessing.shape)
    return x, y, z


def validate(net: SegmentationNet, examples: Examples, rows: list[int]) -> float:
    """Return the mean Dice of the regions over some heads, every other one stripped."""
    scores = []
    for i, row in enumerate(rows):
        volume, truth = examples.plain(row, stripped=i % 2 == 1)
        regions, _ = predict_regions(net, volume.numpy())
        scores.append(np.nanmean(region_dice(regions, truth.numpy())[1:]))
    return float(np.mean(scores))


def _card(
    request: TrainSegmentationRequest, cohort: Cohort, training: list[int], validation: list[int]
) -> dict[str, Any]:
    names = [subject.id for subject in cohort.subjects]
    return {
        "name": request.data.stem,
        "seed": request.seed,
        "steps": request.steps,
        "preprocessing": cohort.preprocessing.model_dump(mode="json"),
        "cohort_hash": cohort.hash,
        "split": {"train": [names[row] for row in training], "validation": [names[row] for row in validation]},
        "start_from": request.start_from,
    }
