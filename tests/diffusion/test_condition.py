"""Conditions: fields are hidden by their own token, and dropped on their own."""

import pytest
import torch

from braindiffusion.diffusion.condition import drop_fields, without_fields


def asked(batch: int) -> dict[str, torch.Tensor]:
    return {
        "age": torch.full((batch, 1), 60.0),
        "volumes": torch.rand(batch, 3),
        "regions": torch.ones(batch, 2, 2, 2, dtype=torch.uint8),
    }


def test_hidden_fields_ask_for_nothing_and_the_others_stay() -> None:
    condition = asked(2)
    hidden = without_fields(condition, ["age", "regions"])
    assert bool(hidden["age"].isnan().all())
    assert hidden["regions"].dtype == torch.uint8
    assert bool((hidden["regions"] == 255).all())
    assert hidden["volumes"] is condition["volumes"]
    assert float(condition["age"].sum()) == 120  # as it was
    everything = without_fields(condition)
    assert bool(everything["volumes"].isnan().all())
    assert everything.keys() == condition.keys()
    with pytest.raises(KeyError, match="weight"):
        without_fields(condition, ["weight"])


def test_each_field_of_each_sample_is_dropped_on_its_own() -> None:
    count = 4000
    shares = {"age": 0.1, "volumes": 0.5, "regions": 0.0}
    told = drop_fields(asked(count), shares, torch.Generator().manual_seed(0))
    age, volumes = told["age"][:, 0].isnan(), told["volumes"].isnan()
    assert bool((volumes.all(dim=1) == volumes.any(dim=1)).all())  # a vector goes as a whole
    assert float(age.float().mean()) == pytest.approx(0.1, abs=0.02)
    assert float(volumes[:, 0].float().mean()) == pytest.approx(0.5, abs=0.03)
    assert float((age & volumes[:, 0]).float().mean()) == pytest.approx(0.05, abs=0.015)  # independent
    assert bool((told["regions"] == 1).all())
