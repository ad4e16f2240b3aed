"""Checkpoints of a training, in its run's `checkpoints` folder.

```
best/  last/                         model folders: averaged weights, ready to generate from
resume/level-0.safetensors ...       weights, averages, optimizer state: an exact resume
averages/level-0/0001500.safetensors ...  both averages at some steps, in half precision, for a post-hoc average
```

Each file is written under another name and renamed: it is complete or absent.
"""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from braindiffusion.devices import return_free_memory
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.files import replacing
from braindiffusion.generation.outputs import as_volume
from braindiffusion.models.card import trained_levels
from braindiffusion.models.cascade.cascade import Cascade
from braindiffusion.models.cascade.files import load_cascade, save_model
from braindiffusion.models.cascade.sampling import sample_cascade
from braindiffusion.models.registry import CARD, WEIGHTS
from braindiffusion.outputs import Outputs
from braindiffusion.regions.codes import decode
from braindiffusion.runs import ArtifactWritten, CheckpointWritten, Run
from braindiffusion.training.ema import SIGMA_RELS, posthoc_coefficients
from braindiffusion.training.trainer import LevelTrainer
from braindiffusion.volume import Volume, save_volume

FORMAT, FORMAT_NAME = 2, "format"
"""Version of the resume files. It is raised when a state holds other tensors that an older version did not write."""
MODEL_AVERAGE = f"ema.{SIGMA_RELS[-1]}."
"""Prefix of the average that models are sampled with."""
FEWEST_AVERAGES = 4
"""Stored steps that a post-hoc average needs. With four, its error is a fifth of its difference from the average that
was kept (measured on random walks); with eight, a thirtieth."""


@dataclass
class LevelCheckpoint:
    """The checkpoint of one level.

    Attributes:
        last: averaged weights of the last checkpoint, on the CPU.
        best: averaged weights of the best validation; the last ones where there was no validation.
        step: step of `last`.
        best_step: step of `best`.
        best_loss: validation loss of `best`.
        stale: validations since the best one.
        spoilt: whether the last validation loss was no number: these weights are never the best.
    """

    last: dict[str, Tensor]
    best: dict[str, Tensor]
    step: int = 0
    best_step: int = 0
    best_loss: float = float("inf")
    stale: int = 0
    spoilt: bool = False


class CheckpointManager:
    """Writes a run's checkpoints: the averaged weights of the last step and of the best validation of each level.

    Args:
        run: the run.
        cascade: the model at the start; a copy of it is given the weights that are written or sampled.
        card: added to the model's card.
        before: steps that each level was trained before this training.
        writes: whether this process writes; the others only keep count.
    """

    def __init__(
        self,
        run: Run,
        cascade: Cascade,
        card: dict[str, Any],
        before: Sequence[int] | None = None,
        *,
        writes: bool = True,
    ) -> None:
        self.run, self.card, self.writes = run, card, writes
        self.before = before or (0,) * cascade.config.number_of_levels
        self.best, self.last = run.checkpoints / "best", run.checkpoints / "last"
        self.resume_folder, self.averages_folder = run.checkpoints / "resume", run.checkpoints / "averages"
        self.levels: list[LevelCheckpoint] = []
        parameters: dict[int, nn.Parameter] = {}
        for index in range(cascade.config.number_of_levels):
            own = dict(cascade.level(index).named_parameters())
            weights = {name: p.detach().cpu() for name, p in own.items()}
            parameters |= {id(p): nn.Parameter(p.detach()) for p in own.values()}
            self.levels.append(LevelCheckpoint(weights, weights))
        self.model = copy.deepcopy(cascade, parameters).eval()  # with the same memory, until a level is trained

    def restore(self, level: int, state: Mapping[str, Tensor]) -> None:
        """Restore the checkpoint of a level from its resume file."""
        step, best_step, stale = (int(state[name]) for name in ("step", "best.step", "best.stale"))
        last, best = _with_prefix(state, MODEL_AVERAGE), _with_prefix(state, "best.w.")
        self.levels[level] = LevelCheckpoint(last, best, step, best_step, float(state["best.loss"]), stale)

    def set_buffers(self, level: int, values: Mapping[str, Tensor]) -> None:
        """Set a level's buffers: the means and standard deviations of its bands."""
        for name, buffer in self.model.level(level).named_buffers():
            buffer.copy_(values[name])

    def record_validation(self, trainer: LevelTrainer, loss: float) -> None:
        """Count a validation of a level, and store its weights if it is the best. All processes must call it."""
        kept = self.levels[trainer.index]
        kept.stale += 1
        kept.spoilt = not math.isfinite(loss)
        if -math.inf < loss < kept.best_loss:
            kept.best = _copied(trainer.averaged(), MODEL_AVERAGE)
            kept.best_loss, kept.best_step, kept.stale = loss, trainer.step, 0

    def save(self, trainer: LevelTrainer) -> CheckpointWritten:
        """Write a checkpoint of a level. All processes must call it: each may hold a shard."""
        kept, state = self.levels[trainer.index], trainer.state()
        kept.last, kept.step = _copied(state, MODEL_AVERAGE), trainer.step
        validated = kept.best_loss < float("inf")
        if not validated and not kept.spoilt:
            kept.best, kept.best_step = kept.last, kept.step
        if self.writes:
            state |= {f"constant.{name}": value for name, value in trainer.level.named_buffers()}
            state |= {f"best.w.{name}": value for name, value in kept.best.items()}
            state["best.loss"] = torch.tensor(kept.best_loss, dtype=torch.float64)
            state |= {"best.step": torch.tensor(kept.best_step), "best.stale": torch.tensor(kept.stale)}
            save_state(self.resume_folder, trainer.index, state)
            losses = [level.best_loss if level.best_loss < float("inf") else None for level in self.levels]
            for folder, best in ((self.last, False), (self.best, True)):
                self._load_weights(best=best)
                save_model(self.model, folder, {**self.card, "steps": self.steps(best=best), "validation_loss": losses})
        return CheckpointWritten(path=str(self.last), step=trainer.step)

    def save_averages(self, trainer: LevelTrainer) -> None:
        """Write a level's averages of this step in half precision. All processes must call it."""
        averages = trainer.averaged()
        if self.writes:
            path = self.averages_folder / f"level-{trainer.index}" / f"{trainer.step:07d}.safetensors"
            _save(path, {name: tensor.half() for name, tensor in averages.items()})

    def sample(self, seed: int) -> tuple[ArtifactWritten, NDArray[np.float32]]:
        """Generate one brain, or region map, with the last checkpoint, by the levels that have begun to learn.

        Returns:
            The event of the file, and the first channel, (x, y, z) in [-1, 1].
        """
        steps = self.steps()
        self._load_weights(best=False)
        return_free_memory()  # whole volumes take more than a step of training
        for step in sample_cascade(self.model, [seed], levels=trained_levels(steps)):
            volume = step.volume()
        path = self.run.results / f"sample_step_{sum(steps):07d}.nii.gz"
        generated = as_volume(volume[0], self.model.config.spacing)
        if self.model.config.content == "regions":
            generated = Volume(decode(volume[0].cpu().numpy())[None], generated.affine, {"kind": "labels"})
        save_volume(generated, path)
        return_free_memory()
        written = ArtifactWritten(kind="preview", path=str(path), name=f"training sample, step {sum(steps)}")
        return written, volume[0, 0].cpu().numpy()

    def steps(self, *, best: bool = False) -> list[int]:
        """Return the steps that each level was trained, those before this training included."""
        steps = (level.best_step if best else level.step for level in self.levels)
        return [before + step for before, step in zip(self.before, steps, strict=True)]

    @torch.no_grad()
    def _load_weights(self, *, best: bool) -> None:
        for index, kept in enumerate(self.levels):
            weights = kept.best if best else kept.last
            for name, parameter in self.model.level(index).named_parameters():
                parameter.data = weights[name].to(parameter.device)  # on a CPU the same memory


def save_state(folder: Path, level: int, tensors: Mapping[str, Tensor]) -> None:
    """Write a level's resume file."""
    _save(_state_path(folder, level), {**tensors, FORMAT_NAME: torch.tensor(FORMAT)})


def load_state(folder: Path, level: int) -> dict[str, Tensor] | None:
    """Return the tensors of a level's resume file; None where there is no file.

    Raises:
        BrainDiffusionError: the file is damaged, or of another version.
    """
    path = _state_path(folder, level)
    if not path.is_file():
        return None
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        msg = f"The checkpoint {path} is damaged ({error}): delete it, and this level is trained anew."
        raise BrainDiffusionError(msg) from error
    with fitting(folder, level):
        written = int(state.pop(FORMAT_NAME, torch.tensor(1)))
    if written != FORMAT:
        msg = f"The checkpoint {path} is of another version ({written}, not {FORMAT}): begin a new training."
        raise BrainDiffusionError(msg)
    return state


@contextmanager
def fitting(folder: Path, level: int) -> Iterator[None]:
    """Turn what is raised while a level's resume file is put into a network into one sentence that names the file."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (LookupError, RuntimeError, TypeError, ValueError) as error:
        path, what = _state_path(folder, level), " ".join(str(error).split())[:120]
        msg = f"The checkpoint {path} is not of this training ({what}): delete it, and this level is trained anew."
        raise BrainDiffusionError(msg) from error


@torch.no_grad()
def save_posthoc_ema(run: Run, width: float, out: Path) -> Path:
    """Write the model that an average of another relative width would have given (Karras et al. 2024, section 3.2).

    Args:
        run: a training.
        width: sigma_rel, for instance 0.07; it is accurate between 0.03 and 0.2.
        out: model folder to write.

    Raises:
        BrainDiffusionError: the run has no model or too few stored averages; the width is out of range; the folder
            holds a model that this software did not write.
    """
    outputs = Outputs()
    outputs.check((out / CARD, out / WEIGHTS))
    cascade, card = load_cascade(run.checkpoints / "last")
    steps = list(card.level_steps)
    for index in range(cascade.config.number_of_levels):
        stored = _load_averages(run.checkpoints / "averages", index)
        trained = _trained_steps(run.checkpoints / "resume", index)
        if not stored and not trained:  # as it was in the initial model, or not trained yet
            continue
        if len(stored) < FEWEST_AVERAGES:
            msg = f"Level {index} of {run.name} has too few stored averages ({len(stored)} of {FEWEST_AVERAGES})"
            raise BrainDiffusionError(f"{msg}: train longer.")
        last = max(stored)
        steps[index] += last - trained if trained else 0
        keys = [(step, sigma_rel) for step in stored for sigma_rel in SIGMA_RELS]
        try:
            coefficients = posthoc_coefficients([s for s, _ in keys], [rel for _, rel in keys], last, width)
        except ValueError as error:
            raise BrainDiffusionError(str(error)) from error
        for name, parameter in cascade.level(index).named_parameters():
            averages = torch.stack([stored[step][f"ema.{sigma_rel}.{name}"] for step, sigma_rel in keys])
            parameter.copy_(torch.tensordot(torch.from_numpy(coefficients).float(), averages, 1))
    averaged = {"steps": steps, "validation_loss": [None] * len(steps), "average_width": width}
    with outputs.writing():
        save_model(cascade, out, {**card.to_json(), **averaged})
    return out


def _trained_steps(folder: Path, level: int) -> int:
    """Return the steps that a run trained a level, by its resume file; 0 where there is none."""
    path = _state_path(folder, level)
    if not path.is_file():
        return 0
    try:
        with safe_open(path, "pt") as state:
            return int(state.get_tensor("step"))
    except (SafetensorError, OSError) as error:
        raise BrainDiffusionError(f"The checkpoint {path} is damaged ({error}).") from error


def _load_averages(folder: Path, level: int) -> dict[int, dict[str, Tensor]]:
    """Return all stored averages of a level, by step."""
    found = {}
    for path in sorted((folder / f"level-{level}").glob("*.safetensors")):
        try:
            found[int(path.stem)] = {name: tensor.float() for name, tensor in load_file(path).items()}
        except (SafetensorError, OSError) as error:
            raise BrainDiffusionError(f"{path} is damaged ({error}): delete it, the others may do.") from error
    return found


def _with_prefix(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _copied(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return those of the tensors that are kept while the training goes on."""
    return {name: value.clone() for name, value in _with_prefix(state, prefix).items()}


def _state_path(folder: Path, level: int) -> Path:
    return folder / f"level-{level}.safetensors"


def _save(path: Path, tensors: Mapping[str, Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, part)
