"""MONAI's U-Net as the network of a level: it trains, is sampled, and is stored like ours."""

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from braindiffusion.conditions import ConditionSchema, MapField, Numbers, VectorField
from braindiffusion.diffusion.denoiser import denoising_loss
from braindiffusion.models.cascade.cascade import Cascade
from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig, UNetConfig
from braindiffusion.models.cascade.files import load_cascade, save_model
from braindiffusion.models.cascade.sampling import sample_cascade
from braindiffusion.training.optimizers import muon_weights

pytest.importorskip("monai", reason="MONAI is an optional extra")
UNET = UNetConfig(network="monai", widths=(8, 16), blocks=(1, 1), attention=(False, True), embedding=16, map_width=4)
SEEN = Numbers.of(torch.arange(10.0).numpy().astype(float))
SCHEMA = ConditionSchema(
    fields=(VectorField(name="scores", entries=("a", "b"), seen=(SEEN, SEEN)), MapField(name="regions", labels=5))
)


def test_it_trains_a_step_is_stored_and_sampled(tmp_path: Path) -> None:
    torch.manual_seed(0)
    levels = (LevelConfig(unet=UNET), LevelConfig(unet=UNET))
    cascade = Cascade(CascadeConfig(shape=(12, 8, 10), spacing=8.0, depth=1, levels=levels, condition=SCHEMA))
    told = {"scores": torch.tensor([[3.0, torch.nan]]), "regions": torch.randint(0, 5, (1, 12, 8, 10)).byte()}
    level = cascade.level(1)
    clean = torch.randn(1, level.outputs, *level.grid)
    coarse, coarse_sigma, sigma = torch.randn(1, 1, *level.grid), torch.full((1,), 0.1), torch.ones(1)

    def predict(x: torch.Tensor, log_sigma: torch.Tensor, condition: object) -> torch.Tensor:
        return level(x, log_sigma, coarse, coarse_sigma, level.coordinates(), told)

    noise = torch.randn_like(clean)
    optimizer = torch.optim.Adam(level.parameters(), 3e-3)
    assert any(name.startswith("unet.net.") for name in muon_weights(level))  # the trainer's optimizer takes it
    losses = []
    for _ in range(12):
        loss = denoising_loss(predict, clean, noise, sigma).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]
    changed = {name for name, one in level.named_parameters() if one.grad is not None and one.grad.abs().sum() > 0}
    assert any("conditioning.numbers.scores" in name for name in changed)
    assert any("conditioning.maps.regions" in name for name in changed)

    save_model(cascade, tmp_path / "model", {"name": "mixed"})
    loaded, _ = load_cascade(tmp_path / "model")
    made = [list(sample_cascade(one.eval(), [0], condition=told, steps=2))[-1].volume() for one in (cascade, loaded)]
    assert made[0].shape == (1, 1, 12, 8, 10)
    torch.testing.assert_close(made[0], made[1])


def test_what_it_cannot_be_is_refused() -> None:
    with pytest.raises(ValidationError, match="cannot train on patches"):
        LevelConfig(unet=UNET, patch=8)
    with pytest.raises(ValidationError, match="multiples of 8"):
        UNetConfig(network="monai", widths=(12, 16))
