"""Keeps what training finds: checkpoints, the best weights of each level, a sample now and then."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from braindiffusion.generation.outputs import as_volume
from braindiffusion.generation.sampling import sample_cascade
from braindiffusion.models.cascade.cascade import Cascade
from braindiffusion.models.cascade.files import save_model, trained_levels
from braindiffusion.runs import ArtifactWritten, CheckpointWritten, Run
from braindiffusion.training.checkpoint_files import save_averages, save_state
from braindiffusion.training.ema import SIGMA_RELS
from braindiffusion.training.trainer import LevelTrainer
from braindiffusion.volume import save_volume

INFINITE = float("inf")


@dataclass
class LevelCheckpoint:
    """What is kept of a level.

    Attributes:
        last: averaged weights, on the CPU.
        step: theirs.
        best: those of the best validation; without any, the last.
        best_step: theirs.
        best_loss: of that validation.
        stale: validations since.
    """

    last: dict[str, Tensor]
    best: dict[str, Tensor]
    step: int = 0
    best_step: int = 0
    best_loss: float = INFINITE
    stale: int = 0


class CheckpointManager:
    """Owns a run's `checkpoints`: the averaged weights of the last step and of the best validation, level by level.

    Args:
        run: the run.
        cascade: the model as it begins; a copy of it holds whatever is written or sampled.
        card: goes into the model's card.
        before: steps that each level had learnt before this training.
        writes: whether this process writes; the others keep count.
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
        self.model = copy.deepcopy(cascade).eval()
        self.best, self.last = run.checkpoints / "best", run.checkpoints / "last"
        self.resume_folder, self.averages_folder = run.checkpoints / "resume", run.checkpoints / "averages"
        self.levels: list[LevelCheckpoint] = []
        for index in range(cascade.config.number_of_levels):
            weights = _copy(dict(cascade.level(index).named_parameters()))
            self.levels.append(LevelCheckpoint(weights, weights))

    def restore(self, level: int, state: Mapping[str, Tensor]) -> None:
        """Know again what was kept of a level."""
        last = _part(state, f"ema.{SIGMA_RELS[-1]}.")
        step, best_step, stale = (int(state[name]) for name in ("step", "best.step", "best.stale"))
        self.levels[level] = LevelCheckpoint(
            last, _part(state, "best.w."), step, best_step, float(state["best.loss"]), stale
        )

    def constants(self, level: int, values: Mapping[str, Tensor]) -> None:
        """What a level's coefficients are normalised by."""
        for name, buffer in self.model.level(level).named_buffers():
            buffer.copy_(values[name])

    def validated(self, trainer: LevelTrainer, loss: float) -> None:
        """Count a validation of a level, and remember its weights where it is the best."""
        kept = self.levels[trainer.index]
        kept.stale += 1
        if loss < kept.best_loss:
            kept.best = _part(trainer.averaged(), f"ema.{SIGMA_RELS[-1]}.")
            kept.best_loss, kept.best_step, kept.stale = loss, trainer.step, 0

    def keep(self, trainer: LevelTrainer) -> CheckpointWritten:
        """Write a checkpoint of a level. All processes must ask: each may hold a part."""
        kept, state = self.levels[trainer.index], trainer.state()
        kept.last, kept.step = _part(state, f"ema.{SIGMA_RELS[-1]}."), trainer.step
        if kept.best_loss == INFINITE:
            kept.best, kept.best_step = kept.last, kept.step
        if self.writes:
            state |= {f"constant.{name}": value for name, value in trainer.level.named_buffers()}
            # A copy: safetensors does not write two names of one memory.
            state |= {f"best.w.{name}": value.clone() for name, value in kept.best.items()}
            state["best.loss"] = torch.tensor(kept.best_loss, dtype=torch.float64)
            state |= {"best.step": torch.tensor(kept.best_step), "best.stale": torch.tensor(kept.stale)}
            save_state(self.resume_folder, trainer.index, state)
            losses = [None if level.best_loss == INFINITE else level.best_loss for level in self.levels]
            for folder, best in ((self.last, False), (self.best, True)):
                self._take(best=best)
                steps = self.steps(best=best)
                save_model(self.model, folder, {**self.card, "steps": steps, "validation_loss": losses})
        return CheckpointWritten(path=str(self.last), step=trainer.step)

    def note_averages(self, trainer: LevelTrainer) -> None:
        """Write down a level's averages as they are now. All processes must ask."""
        averages = trainer.averaged()
        if self.writes:
            save_averages(self.averages_folder, trainer.index, trainer.step, averages)

    def sample(self, seed: int) -> tuple[ArtifactWritten, NDArray[np.float32]]:
        """Generate one brain by the weights last kept, with the levels that have begun to learn.

        Returns:
            What was written, and the brain, (x, y, z) in [-1, 1].
        """
        steps = self.steps()
        self._take(best=False)
        for step in sample_cascade(self.model, [seed], until=trained_levels({"steps": steps}) - 1):
            volume = step.volume()
        path = self.run.results / f"sample_step_{sum(steps):07d}.nii.gz"
        save_volume(as_volume(volume[0], self.model), path)
        written = ArtifactWritten(kind="preview", path=str(path), name=f"training sample, step {sum(steps)}")
        return written, volume[0, 0].cpu().numpy()

    def steps(self, *, best: bool = False) -> list[int]:
        """Steps that each level has learnt, those before this training too."""
        learnt = (level.best_step if best else level.step for level in self.levels)
        return [before + steps for before, steps in zip(self.before, learnt, strict=True)]

    @torch.no_grad()
    def _take(self, *, best: bool) -> None:
        for index, kept in enumerate(self.levels):
            weights = kept.best if best else kept.last
            for name, parameter in self.model.level(index).named_parameters():
                parameter.copy_(weights[name])


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _copy(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in weights.items()}
