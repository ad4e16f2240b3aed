"""The count against torch's own, and against what must be so."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn

from braindiffusion.conditions import ConditionSchema, MapField
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.estimate import Estimate, LevelEstimate, estimate
from braindiffusion.estimate.memory import (
    LiveBytes,
    counted,
    learning,
    parameters,
    sample_bytes,
    sampling,
    training_bytes,
)
from braindiffusion.models.cascade.cascade import Cascade
from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig, UNetConfig
from braindiffusion.runs import PrepareRequest, TrainRequest
from braindiffusion.training.ema import SIGMA_RELS
from braindiffusion.training.optimizers import make_optimizers

SCHEMA = ConditionSchema(fields=(MapField(name="regions", labels=5),))


def config(*, checkpointing: bool = False, schema: ConditionSchema = SCHEMA, patch: int | None = 4) -> CascadeConfig:
    base = UNetConfig(widths=(8, 48), blocks=(1, 1), attention=(False, True), checkpointing=checkpointing)
    fine = UNetConfig(widths=(8, 16), blocks=(1, 1), attention=(False, False), checkpointing=checkpointing)
    return CascadeConfig(
        shape=(16, 16, 16),
        depth=1,
        levels=(LevelConfig(unet=base), LevelConfig(unet=fine, patch=patch)),
        condition=schema,
    )


@contextmanager
def real() -> Iterator[LiveBytes]:
    """The same count, of tensors that are really there."""
    with LiveBytes() as live:
        yield live


def test_the_count_is_that_of_what_is_alive() -> None:
    with counted() as live:
        a = torch.empty(1000)
        view = a.view(10, 100)
        assert live.now == 4000
        b = a.double()
        assert live.now == 12000
        del b
        assert (live.now, live.peak) == (4000, 12000)
        del a
        assert live.now == 4000
        del view
        assert live.now == 0


def test_the_peak_of_a_step_is_what_autograd_keeps() -> None:
    """By hand: a chain of linear layers and SiLU, whose inputs are all kept for the way back."""
    n, width, depth = 64, 256, 4
    tensor, weight = n * width * 4, width * width * 4
    with real() as live:
        layers = [layer for _ in range(depth) for layer in (nn.Linear(width, width, bias=False), nn.SiLU())]
        assert live.now == depth * weight
        x = torch.randn(n, width)
        y = nn.Sequential(*layers)(x)
        assert live.now == depth * weight + (1 + 2 * depth) * tensor  # the input, and what each layer gave
        forward = live.now
        y.sum().backward()
    assert forward < live.peak <= forward + 3 * tensor + depth * weight
    assert live.now >= 2 * depth * weight + 2 * tensor


@pytest.mark.parametrize("index", [0, 1])
def test_what_is_counted_without_memory_is_there_with_it(index: int, monkeypatch: pytest.MonkeyPatch) -> None:
    without = [learning(config(), index, 2), sampling(config(), index, 2)]
    monkeypatch.setattr("braindiffusion.estimate.memory.counted", real)
    within = [learning(config(), index, 2), sampling(config(), index, 2)]
    for one, other in zip(without, within, strict=True):
        assert one.weights == other.weights
        assert one.working == pytest.approx(other.working, rel=0.01)


def test_a_batch_twice_as_large_takes_twice_as_much() -> None:
    small, large = (learning(config(), 1, batch).working for batch in (16, 32))
    assert 1.9 * small < large <= 2 * small


def test_checkpointing_takes_less() -> None:
    plain, less = (learning(config(checkpointing=on, patch=8), 1, 16).working for on in (False, True))
    assert less < 0.85 * plain


def test_half_the_precision_takes_less() -> None:
    full, half = (learning(config(patch=8), 1, 16, dtype).working for dtype in (torch.float32, torch.bfloat16))
    assert half < 0.95 * full


def test_parameters_are_those_of_the_model() -> None:
    cascade = Cascade(config())
    expected = tuple(sum(t.nbytes for t in (*level.parameters(), *level.buffers())) for level in cascade.levels)
    assert parameters(config()) == pytest.approx(expected, abs=1000)  # a level's constants are no buffers


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_the_state_of_the_optimizer_is_counted(name: str) -> None:
    level = Cascade(config()).level(0)
    optimizers = make_optimizers(
        level, learning_rate=1e-3, weight_decay=0, muon_learning_rate=1e-3 if name == "muon" else None
    )
    for parameter in level.parameters():
        parameter.grad = torch.zeros_like(parameter)
    for optimizer in optimizers:
        optimizer.step()
    state = [v for o in optimizers for s in o.state.values() for k, v in s.items() if k != "step"]
    step = learning(config(), 0, 1)
    counted = training_bytes((0,), step, 0, muon=name == "muon") - step.working
    counted -= len(SIGMA_RELS) * step.weights
    assert counted == pytest.approx(sum(tensor.nbytes for tensor in state), abs=3000)  # constants are no parameters


def test_a_sample_is_its_bands_and_its_map() -> None:
    assert sample_bytes(config(), 1) == 4**3 * 8 * 4 + 8**3
    assert sample_bytes(config(schema=ConditionSchema()), 0) == 8**3 * 4


def test_nothing_is_really_used() -> None:
    """A level of a hundred GB is counted on any machine."""
    whole = config(patch=None).model_copy(update={"shape": (512, 512, 512)})
    assert learning(whole, 1, 16).working > 1e11


def test_what_cannot_be_estimated_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BrainDiffusionError, match="is no prepared cohort: prepare it first"):
        estimate(TrainRequest(data=tmp_path))
    with pytest.raises(BrainDiffusionError, match="There is no estimate for prepare"):
        estimate(PrepareRequest(data_dir=tmp_path, out=tmp_path))


def test_the_verdict() -> None:
    levels = (LevelEstimate(0, int(2e9), 10, 0.5, 5.0), LevelEstimate(1, int(9.1e9), 10, 1.0, 10.0))
    good = Estimate("cpu", levels, int(16e9), around=3.0)
    assert (good.fits, good.seconds, good.bytes) == (True, 18.0, int(9.1e9))
    assert good.verdict == "It needs 9.1 GB of the 16.0 GB that cpu has free, and takes about 18 s."
    bad = Estimate("cuda:0", (LevelEstimate(0, int(9.1e9), 10),), int(8e9), advice="use batch size 2")
    assert (bad.fits, bad.seconds) == (False, None)
    assert bad.verdict == "It needs 9.1 GB, and cuda:0 has 8.0 GB free: use batch size 2."
