"""Model files: what comes back is what went in, and what is damaged is told in one sentence."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.models.cascade import Cascade, load_model, save_model
from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig, UNetConfig

TINY = LevelConfig(unet=UNetConfig(widths=(8,), blocks=(1,), attention=(False,)))
CONFIG = CascadeConfig(shape=(8, 8, 8), depth=1, levels=(TINY, TINY))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(Cascade(CONFIG), tmp_path / "model", {"name": "mine"})
    return tmp_path / "model"


def test_a_model_comes_back(tmp_path: Path) -> None:
    cascade = Cascade(CONFIG)
    cascade.level(1).std.fill_(3.25)
    save_model(cascade, tmp_path, {"name": "mine"})
    again, card = load_model(tmp_path)
    assert card.name == "mine"
    assert again.config == CONFIG
    for name, tensor in cascade.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor, rtol=0, atol=0)


def test_half_precision_weights_keep_full_constants(tmp_path: Path) -> None:
    cascade = Cascade(CONFIG)
    cascade.level(0).mean.fill_(1.2345678)
    save_model(cascade, tmp_path, {}, dtype=torch.bfloat16)
    again, _ = load_model(tmp_path)
    assert float(again.level(0).mean[0]) == float(cascade.level(0).mean[0])
    weight = again.level(0).unet.stem.weight
    assert torch.equal(weight, cascade.level(0).unet.stem.weight.bfloat16().float())


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / "model.safetensors").write_bytes(b"not weights"), "damaged"),
        (lambda f: (f / "model.json").write_text("{"), "cannot be read"),
        (lambda f: (f / "model.json").write_text('{"configuration": {"levels": 3}}'), "does not describe"),
        (lambda f: (f / "model.json").unlink(), "model"),
        (lambda f: (f / "model.safetensors").unlink(), "model"),
    ],
)
def test_damage_is_told_in_one_sentence(folder: Path, damage, said: str) -> None:  # type: ignore[no-untyped-def]
    damage(folder)
    with pytest.raises(BrainDiffusionError, match=said) as told:
        load_model(folder)
    assert "\n" not in str(told.value)


def test_weights_of_another_model_are_refused(folder: Path) -> None:
    card = json.loads((folder / "model.json").read_text())
    card["configuration"]["levels"][0]["unet"]["widths"] = [16]
    (folder / "model.json").write_text(json.dumps(card))
    with pytest.raises(BrainDiffusionError, match="another model"):
        load_model(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_told(folder: Path, value: float) -> None:
    cascade = Cascade(CONFIG)
    with torch.no_grad():
        next(cascade.level(1).parameters()).view(-1)[0] = value
    save_model(cascade, folder, {"name": "mine"})
    with pytest.raises(BrainDiffusionError, match=r"model\.safetensors hold values that are no numbers"):
        load_model(folder)


def test_a_model_is_read_without_the_compiler_of_torch() -> None:
    """Its import takes two seconds; a network that is built without memory would need it for its first weights."""
    code = """
import sys
from braindiffusion.models.registry import find_model
from braindiffusion.models.cascade.files import load_cascade
from braindiffusion.segmentation import load_segmentation_model
load_cascade(find_model("brain-1mm-fast"))
load_segmentation_model()
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
