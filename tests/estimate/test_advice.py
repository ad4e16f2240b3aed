"""What is advised where a training does not fit: the mildest change that makes it fit."""

from pathlib import Path

import pytest
import torch

from braindiffusion.estimate.advice import Changes, in_words, mildest_change
from braindiffusion.estimate.memory import preset_bytes
from braindiffusion.runs import TrainRequest
from braindiffusion.training import presets
from braindiffusion.training.plan import preset_of
from braindiffusion.training.presets import PRESETS, Preset, preset_for

GPU = TrainRequest(data=Path("brains.zarr"), preset="gpu-24gb", device="cpu")


def size(preset: Preset) -> float:
    """Grows as memory does: batch, sites of the largest patch, halved by computing twice."""
    return max(
        recipe.batch_size * ((level.patch or 64) ** 3 if not any(level.unet.attention) else 8**3)
        * (0.5 if level.unet.checkpointing else 1)
        for level, recipe in zip(preset.levels, preset.recipes, strict=True)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("most", "advised", "words"),
    [
        (16 * 64**3, {"batch_size": 16}, "use batch size 16"),
        (16 * 32**3, {"patch": 32}, "use patch size 32"),
        (16 * 16**3, {"patch": 16}, "use patch size 16"),
        (8 * 16**3, {"patch": 16, "checkpointing": True}, "use patch size 16, gradient checkpointing"),
        (16**3, {"batch_size": 1, "patch": 16}, "use batch size 1, patch size 16"),
        (1, {}, "take a device with more memory"),
    ],
)
def test_the_mildest_change(most: float, advised: Changes, words: str) -> None:
    found = mildest_change(GPU, lambda preset: preset.name == "gpu-24gb" and size(preset) <= most)
    assert found == advised
    assert in_words(found) == words
    if found:
        assert size(preset_of(GPU.model_copy(update=found))) <= most


def test_a_smaller_preset_is_the_last_way_out() -> None:
    found = mildest_change(GPU, lambda preset: preset.name == "laptop")
    assert found == {"preset": "laptop"}
    assert in_words(found) == "use preset laptop"


def test_what_computes_twice_already_is_not_told_to() -> None:
    request = GPU.model_copy(update={"checkpointing": True})
    assert "checkpointing" not in mildest_change(request, lambda preset: size(preset) <= 16**3 / 2)


@pytest.mark.parametrize(
    ("kind", "gigabytes", "expected"),
    [
        ("cpu", 999, "laptop"),
        ("cuda", 85.1, "gpu-80gb"),
        ("cuda", 48, "gpu-24gb"),
        ("cuda", 25.3, "gpu-24gb"),
        ("cuda", 16.9, "gpu-8gb"),
        ("cuda", 8.2, "gpu-8gb"),
        ("cuda", 6, "laptop"),
        ("mps", 90, "gpu-8gb"),
        ("mps", 5, "laptop"),
    ],
)
def test_a_preset_for_each_device(kind: str, gigabytes: float, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presets, "memory_of", lambda device: int(gigabytes * 1e9))
    assert preset_for(torch.device(kind)) == expected


def test_auto_is_what_the_device_suits() -> None:
    assert preset_of(TrainRequest(data=Path("brains.zarr"), device="cpu")) == PRESETS["laptop"]


def test_memory_of_a_preset_is_counted_without_a_gpu() -> None:
    assert 2e7 < preset_bytes(PRESETS["tiny"], 2.0) < 2e8
