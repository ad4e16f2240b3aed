"""The job `train-reader`: train a segmentation model on a cohort of whole heads with label maps."""

import math
from collections.abc import Generator, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from braindiffusion.cohort.store import Cohort, split
from braindiffusion.devices import choose_device, choose_precision
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.regions.overlap import region_dice
from braindiffusion.runs import ArtifactWritten, CheckpointWritten, Event, Finished, Metric, Progress, Run
from braindiffusion.runs.durations import seconds_left
from braindiffusion.runs.requests import TrainReaderRequest
from braindiffusion.segmentation.calibration import age_features, calibrate, uncalibrated
from braindiffusion.segmentation.examples import SHIFT, Examples
from braindiffusion.segmentation.files import load_segmentation_model, save_segmentation_model
from braindiffusion.segmentation.model import SegmentationModel, predict_regions
from braindiffusion.segmentation.network import SegmentationConfig, SegmentationNet
from braindiffusion.segmentation.training import SegmentationTrainer
from braindiffusion.training.checkpoints import fitting, load_state, save_state
from braindiffusion.training.plan import check_same_cohort, usable_rows

METRIC_SECONDS = 5.0
VALIDATION_HEADS = 6
STAGE, FITTING = "reader", "ages"


def train_segmentation(request: TrainReaderRequest, run: Run) -> Iterator[Event]:
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
    ids = [subject.id for subject in cohort.subjects]
    if request.validation_subjects >= len(ids):
        msg = f"Cannot keep {request.validation_subjects} of {len(ids)} subjects for validation: keep fewer."
        raise BrainDiffusionError(msg)
    training, validation = split(ids, request.validation_subjects)
    check_same_cohort(run, cohort)
    rows = yield from usable_rows(cohort, [ids.index(name) for name in training])
    held_out = yield from usable_rows(cohort, [ids.index(name) for name in validation])
    if not rows:
        raise BrainDiffusionError(f"No subject of {cohort.path} can be trained on: see the warnings.")
    torch.manual_seed(request.seed)
    net = SegmentationNet(SegmentationConfig(shape=_box(cohort), spacing=cohort.preprocessing.spacing))
    examples = Examples(cohort, rows, net.config.shape, request.window, request.seed)
    net.get_buffer("prior").copy_(examples.prior()[None])
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

    started = reported = saved = monotonic()
    first, losses, saved_step = trainer.step, [], trainer.step
    yield Progress(stage=STAGE, step=first, total=request.steps)
    try:
        for done in trainer.run(examples):
            now, last = monotonic(), done.step == request.steps
            losses.append(done.loss)
            if now - reported >= METRIC_SECONDS or last:
                reported = now
                left = seconds_left(started, done.step - first, request.steps - first)
                yield Progress(stage=STAGE, step=done.step, total=request.steps, seconds_left=left)
                values = {"loss": sum(losses) / len(losses), "learning_rate": done.learning_rate}
                yield Metric(stage=STAGE, step=done.step, values=values | {"seconds_per_step": done.seconds})
                losses.clear()
            if now - saved >= 60 * request.checkpoint_minutes or last:
                dice = validate(trainer.averaged(), examples, (held_out or rows)[:VALIDATION_HEADS])
                save(dice)
                saved, saved_step = monotonic(), done.step
                yield Metric(stage=STAGE, step=done.step, values={"validation_dice": dice})
                yield CheckpointWritten(path=str(best), step=done.step)
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
    people = np.repeat(examples.rows, 2)
    known = [examples.cohort.subjects[row].age for row in people]
    ages = np.array([np.nan if age is None else age for age in known])
    calibration, error = calibrate(np.array(pooled), np.array(features), ages, people)
    save_segmentation_model(
        SegmentationModel(model.net, calibration, {**model.card, "age_error_left_out": error}), folder
    )
    return error


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


def _card(request: TrainReaderRequest, cohort: Cohort, training: list[str], validation: list[str]) -> dict[str, Any]:
    return {
        "name": request.data.stem,
        "seed": request.seed,
        "steps": request.steps,
        "preprocessing": cohort.preprocessing.model_dump(mode="json"),
        "cohort_hash": cohort.hash,
        "split": {"train": training, "validation": validation},
    }
