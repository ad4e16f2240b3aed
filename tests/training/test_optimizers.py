"""Muon against PyTorch's own, its weights, the course of the learning rate, and recipes of earlier versions."""

import json

import pytest
import torch
from torch import nn

from braindiffusion.conditions import ConditionSchema, MapField
from braindiffusion.models.cascade import Cascade
from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig, UNetConfig
from braindiffusion.models.registry import find_model
from braindiffusion.training.optimizers import AdamW, Muon, Optimizer, make_optimizers, muon_weights, orthogonalize
from braindiffusion.training.presets import PRESETS
from braindiffusion.training.recipe import LevelRecipe


def descend(optimizer: Optimizer | torch.optim.Optimizer, weight: nn.Parameter) -> torch.Tensor:
    for step in range(5):
        draw = torch.Generator().manual_seed(step)
        matrix = torch.randn(weight.flatten(1).shape, generator=draw)
        weight.grad = matrix.view(weight.shape).clone(memory_format=torch.preserve_format)
        optimizer.step()
    return weight.detach().flatten(1)


@pytest.mark.parametrize("shape", [(16, 48), (48, 16)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_muon_of_a_convolution_is_that_of_its_matrix(shape: tuple[int, int], layout: torch.memory_format) -> None:
    start = torch.randn(shape)
    matrix = nn.Parameter(start.clone())
    theirs = torch.optim.Muon([matrix], lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    kernel = nn.Parameter(start.view(shape[0], -1, 2, 2, 2).contiguous(memory_format=layout))
    ours = Muon([kernel], 0.02, weight_decay=0.1, dtype=torch.bfloat16)
    torch.testing.assert_close(descend(ours, kernel), descend(theirs, matrix), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_adamw_is_that_of_pytorch(layout: torch.memory_format) -> None:
    start = torch.randn(8, 4, 3, 3, 3)
    theirs, ours = (nn.Parameter(start.clone(memory_format=layout)) for _ in range(2))
    expected = descend(torch.optim.AdamW([theirs], lr=0.02, weight_decay=0.1), theirs)
    torch.testing.assert_close(descend(AdamW([ours], 0.02, 0.1), ours), expected)


def test_an_orthogonalized_matrix_has_singular_values_near_one() -> None:
    values = torch.linalg.svdvals(orthogonalize(torch.randn(32, 100)))
    assert ((values > 0.6) & (values < 1.3)).all()
    assert not orthogonalize(torch.zeros(16, 16)).any()


def test_matrices_within_the_network_are_muons_and_the_rest_adamws() -> None:
    unet = UNetConfig(widths=(16, 32), blocks=(1, 1), attention=(False, True), embedding=32)
    level = LevelConfig(unet=unet)
    schema = ConditionSchema(fields=(MapField(name="regions", labels=5),))
    network = Cascade(CascadeConfig(shape=(16, 16, 16), depth=1, levels=(level, level), condition=schema)).level(1)
    matrices = muon_weights(network)
    assert {"unet.down_blocks.0.0.conv1.weight", "unet.down_blocks.1.0.attention.qkv.weight"} <= set(matrices)
    assert not [name for name in matrices if "stem" in name or "head" in name or "vectors" in name]
    adamw, muon = make_optimizers(network, learning_rate=1.0, weight_decay=0.0, muon_learning_rate=1.0)
    assert isinstance(muon, Muon)
    both = [*adamw.parameters, *muon.parameters]
    assert len(both) == len(set(both)) == len(list(network.parameters()))


def test_the_learning_rate_warms_up_stays_and_falls_to_zero() -> None:
    recipe = LevelRecipe(batch_size=1, epochs=1, warmup=10, decay=0.25)
    steps = (1, 5, 10, 75, 88, 100)
    expected = [0.1, 0.5, 1, 1, 13 / 26, 1 / 26]
    assert [recipe.rate_scale(step, 100) for step in steps] == pytest.approx(expected)
    short = recipe.model_copy(update={"warmup": None})
    assert [short.rate_scale(step, 100) for step in (1, 10)] == pytest.approx([0.1, 1])
    assert short.rate_scale(100, 10_000) == pytest.approx(0.5)


def test_recipes_of_earlier_versions_are_read_as_they_were_meant() -> None:
    card = json.loads((find_model("ixi-2mm") / "model.json").read_text())
    recipes = [LevelRecipe.model_validate(one) for one in card["recipes"]]
    old = LevelRecipe.model_validate({"batch_size": 1, "epochs": 1, "variants": 16, "warmup": 100, "constant": 300})
    for recipe in (*recipes, old):
        again = LevelRecipe.model_validate_json(recipe.model_dump_json())
        assert again == recipe
    assert (old.augmented_copies, old.optimizer, old.decay, old.constant) == (16, "adamw", 0.0, 300)


def test_presets_train_with_muon_and_decay() -> None:
    recipes = [recipe for preset in PRESETS.values() for recipe in preset.recipes]
    assert {(recipe.optimizer, recipe.constant) for recipe in recipes} == {("muon", None)}
    assert all(recipe.decay >= 0.25 for recipe in recipes)
