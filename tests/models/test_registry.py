"""How a model is found, and what is said where it is not."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.models import registry as pretrained
from braindiffusion.models.card import ModelCard
from braindiffusion.models.registry import PretrainedModel, find_model, list_models, read_card
from braindiffusion.runs import Run, TrainRequest


def make_model(folder: Path, card: dict[str, object] | None = None) -> Path:
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(json.dumps(card or {}))
    (folder / "model.safetensors").touch()
    return folder


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package with one model, `small`."""
    home = tmp_path / "package"
    make_model(home / "small", {"summary": "for tests"})
    (home / "__pycache__").mkdir()
    monkeypatch.setattr(pretrained, "_HOME", home)
    return home


def test_packaged_models_are_listed_with_their_cards(packaged: Path) -> None:
    assert list_models() == [PretrainedModel("small", packaged / "small", ModelCard(summary="for tests"))]


def test_a_packaged_name_comes_before_a_folder_of_that_name(
    packaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_model(tmp_path / "small")
    assert find_model("small") == packaged / "small"
    assert find_model("./small") == tmp_path / "small"


def test_a_model_a_folder_of_checkpoints_and_a_run_are_found(tmp_path: Path) -> None:
    run = Run.create(TrainRequest(data=tmp_path), tmp_path)
    best = make_model(run.checkpoints / "best")
    make_model(run.checkpoints / "last")
    assert find_model(best) == find_model(run.checkpoints) == find_model(str(run.path)) == best
    assert find_model(run.checkpoints / "last") == run.checkpoints / "last"


def test_a_training_run_is_found_by_its_name(tmp_path: Path, tmp_runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run.create(TrainRequest(data=tmp_path), name="mine")
    best = make_model(run.checkpoints / "best")
    assert find_model("mine") == best
    monkeypatch.chdir(tmp_path)
    here = make_model(tmp_path / "mine")
    assert find_model("mine") == here  # a folder comes first
    with pytest.raises(BrainDiffusionError, match="no such folder or run"):
        find_model("nobody's")


def test_what_is_not_there_is_told_with_what_is(packaged: Path, tmp_path: Path) -> None:
    with pytest.raises(BrainDiffusionError, match=r"no model 'big'.*packaged models are: small"):
        find_model("big")
    with pytest.raises(BrainDiffusionError, match="no checkpoint yet"):
        find_model(Run.create(TrainRequest(data=tmp_path), tmp_path).path)
    with pytest.raises(BrainDiffusionError, match="is no model"):
        find_model(tmp_path)


@pytest.mark.parametrize("missing", ["model.json", "model.safetensors"])
def test_half_a_model_is_told(tmp_path: Path, missing: str) -> None:
    folder = make_model(tmp_path / "half")
    (folder / missing).unlink()
    with pytest.raises(BrainDiffusionError, match=f"its {missing} is missing"):
        find_model(folder)


@pytest.mark.parametrize("content", ["{", "[]", "3"])
def test_a_damaged_card_is_told(packaged: Path, content: str) -> None:
    (packaged / "small" / "model.json").write_text(content)
    with pytest.raises(BrainDiffusionError, match=r"model\.json"):
        list_models()


def test_a_card_tells_the_sampling_settings_of_the_trained_levels():
    levels = [{"steps": steps, "sampler": "ddim"} for steps in (30, 15, 10)]
    card = ModelCard(configuration={"levels": levels}, steps=[100, 50, 0])
    assert card.sampling_defaults == {
        "steps": [30, 15],
        "sampler": ["ddim", "ddim"],
        "levels": [2],
        "guidance": [1.0],
    }
    assert ModelCard(configuration={"levels": levels}).sampling_defaults["levels"] == [3]
    assert ModelCard().sampling_defaults == {}
    assert ModelCard(kind="monai", configuration={"levels": levels}).sampling_defaults == {}


@pytest.mark.parametrize("path", sorted(pretrained._HOME.glob("*/model.json")), ids=lambda path: path.parent.name)
def test_cards_of_packaged_models_name_no_folder_of_a_machine(path: Path) -> None:
    def words(value: object) -> Iterator[str]:
        if isinstance(value, dict):
            for inner in value.values():
                yield from words(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from words(inner)
        elif isinstance(value, str):
            yield value

    card = json.loads(path.read_text(encoding="utf-8"))
    assert [word for word in words(card) if word.startswith(("/", "~")) or word[1:3] == ":\\"] == []


@pytest.mark.parametrize("path", sorted(pretrained._HOME.glob("*/anatomy.npz")), ids=lambda path: path.parent.name)
def test_packaged_region_maps_are_of_training_subjects(path: Path) -> None:
    split = read_card(path.parent).split
    with np.load(path) as library:
        subjects = set(library["subjects"].tolist())
    assert subjects <= set(split.train or ())
    assert not subjects & set(split.validation)
