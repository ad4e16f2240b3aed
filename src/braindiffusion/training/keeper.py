"""Keeps what training finds: checkpoints, the best weights of each level, a sample now and then."""

from typing import Any

import torch
from torch import Tensor

from braindiffusion.generation.export import as_volume
from braindiffusion.generation.sample import sample_cascade
from braindiffusion.model.cascade import Cascade
from braindiffusion.model.files import save_model, trained_levels
from braindiffusion.runs import ArtifactWritten, CheckpointWritten, Run
from braindiffusion.training.checkpoint import save_state
from braindiffusion.training.level import LevelTrainer
from braindiffusion.volume import save_volume


class Keeper:
    """Owns a run's `checkpoints`: the averaged weights of the last step and of the best validation, level by level.

    Args:
        run: the run.
        cascade: the model in training; its weights are exchanged for averages only while something is written.
        card: goes into the model's card.
    """

    def __init__(self, run: Run, cascade: Cascade, card: dict[str, Any]) -> None:
        self.run, self.cascade, self.card = run, cascade, card
        levels = range(cascade.config.number_of_levels)
        self.best, self.last = run.checkpoints / "best", run.checkpoints / "last"
        self.resume_folder = run.checkpoints / "resume"
        self._kept = dict.fromkeys(levels, 0)
        self._best_loss: dict[int, float] = dict.fromkeys(levels, float("inf"))
        self._last_weights: dict[int, dict[str, Tensor]] = {}
        self._best_weights: dict[int, dict[str, Tensor]] = {}

    def kept_step(self, level: int) -> int:
        """The step of the last checkpoint of a level."""
        return self._kept[level]

    def restore(self, trainer: LevelTrainer, state: dict[str, Tensor]) -> None:
        """Go on from a level's state."""
        trainer.load({k: v for k, v in state.items() if not k.startswith(("best.", "constant."))})
        trainer.level.mean.copy_(state["constant.mean"])
        trainer.level.std.copy_(state["constant.std"])
        index = trainer.index
        self._kept[index] = trainer.step
        self._best_loss[index] = float(state["best.loss"])
        self._last_weights[index] = _copy(trainer.ema.state())
        self._best_weights[index] = {k[7:]: v for k, v in state.items() if k.startswith("best.w.")}

    def keep(self, trainer: LevelTrainer, validation_loss: float | None) -> CheckpointWritten:
        """Write a checkpoint of a level; None says that it was not validated, so it cannot become the best."""
        index = trainer.index
        self._last_weights[index] = _copy(trainer.ema.state())
        if index not in self._best_weights or (
            validation_loss is not None and validation_loss < self._best_loss[index]
        ):
            self._best_weights[index] = self._last_weights[index]
            self._best_loss[index] = float("inf") if validation_loss is None else validation_loss
        state = trainer.state()
        state["constant.mean"], state["constant.std"] = trainer.level.mean.cpu(), trainer.level.std.cpu()
        state["best.loss"] = torch.tensor(self._best_loss[index], dtype=torch.float64)
        # A copy: safetensors does not write two names of one memory.
        state |= {f"best.w.{name}": value.clone() for name, value in self._best_weights[index].items()}
        self._kept[index] = trainer.step
        save_state(self.resume_folder, index, state)
        for folder, weights in ((self.last, self._last_weights), (self.best, self._best_weights)):
            with _Exchanged(self.cascade, weights):
                save_model(self.cascade, folder, {**self.card, **self._figures()})
        return CheckpointWritten(path=str(self.last), step=trainer.step)

    def sample(self, seed: int) -> ArtifactWritten:
        """Generate one brain by the averaged weights, with the levels that have begun to learn."""
        until = trained_levels(self._figures()) - 1
        with _Exchanged(self.cascade, self._last_weights):
            self.cascade.eval()
            for step in sample_cascade(self.cascade, [seed], until=max(0, until)):
                volume = step.volume()
            self.cascade.train()
        steps = sum(self._kept.values())
        path = self.run.results / f"sample_step_{steps:07d}.nii.gz"
        save_volume(as_volume(volume[0], self.cascade), path)
        return ArtifactWritten(kind="preview", path=str(path), name=f"training sample, step {steps}")

    def _figures(self) -> dict[str, Any]:
        losses = [None if value == float("inf") else value for value in self._best_loss.values()]
        return {"steps": list(self._kept.values()), "validation_loss": losses}


class _Exchanged:
    """Within this, the cascade has other weights."""

    def __init__(self, cascade: Cascade, weights: dict[int, dict[str, Tensor]]) -> None:
        self._cascade, self._weights = cascade, weights

    def __enter__(self) -> None:
        self._before = {i: _copy(dict(self._cascade.level(i).named_parameters())) for i in self._weights}
        self._put(self._weights)

    def __exit__(self, *_: object) -> None:
        self._put(self._before)

    @torch.no_grad()
    def _put(self, weights: dict[int, dict[str, Tensor]]) -> None:
        for index, named in weights.items():
            for name, parameter in self._cascade.level(index).named_parameters():
                parameter.copy_(named[name])


def _copy(weights: dict[str, Any]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in weights.items()}
