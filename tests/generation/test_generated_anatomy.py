"""Generated anatomy: folds of their own on the shape of a sampled map, by a model of region maps."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.evaluation.metrics.cortex import CORTEX
from braindiffusion.generation.anatomy import AnatomyLibrary, load_anatomy
from braindiffusion.generation.generated_anatomy import RegionMapModel, without_specks
from braindiffusion.generation.reproduce import request_from_sidecar
from braindiffusion.jobs import perform
from braindiffusion.models.cascade import load_cascade, save_model
from braindiffusion.models.cascade.config import CascadeConfig
from braindiffusion.models.registry import find_model, load_generator, read_card
from braindiffusion.regions import region_index, volumes_ml
from braindiffusion.regions.codes import CHANNELS, encode
from braindiffusion.regions.overlap import mask_dice
from braindiffusion.runs import Failed, Finished, Run
from braindiffusion.untrusted import read_json
from braindiffusion.volume import load_volume

from .conftest import CARD, LEVEL, SCHEMA, SHAPE, generated, speaking

SPACING = 2.0
FIRST = 1


@pytest.fixture
def maps_model(tmp_path: Path) -> Path:
    """A model of region maps with nothing learnt."""
    condition = SCHEMA.model_copy(update={"fields": SCHEMA.fields[:3]})
    config = CascadeConfig(
        shape=SHAPE, spacing=SPACING, channels=CHANNELS, content="regions", depth=1, levels=(LEVEL,) * 2,
        condition=condition,
    )  # fmt: skip
    save_model(speaking(config), tmp_path / "maps", CARD)
    return tmp_path / "maps"


@pytest.fixture
def image_model(told, tmp_path: Path, maps_model: Path) -> Path:
    """An image model with two region maps and that model of region maps."""
    folder = tmp_path / "image"
    save_model(told, folder, {**CARD, "generated_anatomy": {"model": str(maps_model), "first_level": FIRST}})
    labels = np.zeros((2, *SHAPE), np.uint8)
    labels[0, 4:12, 4:20, 4:12] = region_index("brainstem")
    labels[1, 5:11, 6:18, 5:11] = region_index("left hippocampus")
    AnatomyLibrary.build(labels, SPACING, ["a", "b"], [20.0, 80.0], ["F", "M"]).save(folder)
    load_anatomy.cache_clear()
    return folder


def regions_of_sample(folder: Path) -> np.ndarray:
    return load_volume(folder / "sample_001_regions.nii.gz").data[0].astype(np.uint8)


def test_the_coarse_shape_is_that_of_the_sampled_map_and_the_rest_is_generated(image_model, tmp_path) -> None:
    events = generated(image_model, tmp_path / "out", anatomy="generated", segmentation=True, seed=3)
    assert isinstance(events[-1], Finished), events[-1]
    made, sampled = regions_of_sample(tmp_path / "out"), load_anatomy(image_model).sample(3, {}).regions
    assert not np.array_equal(made, sampled)
    told = json.loads((tmp_path / "out/sample_001.json").read_text())["anatomy"]
    assert (told["kind"], told["first_level"], told["model"]["name"]) == ("generated", FIRST, CARD["name"])
    coarse = [torch.from_numpy(encode(one)).unflatten(1, (8, 2)).mean(2) for one in (made, sampled)]
    assert torch.corrcoef(torch.stack([one.mean((2, 3)).flatten() for one in coarse]))[0, 1] > 0.5


def test_a_seed_gives_one_map_which_its_sidecar_makes_again(image_model, tmp_path) -> None:
    for name in ("out", "again"):
        generated(image_model, tmp_path / name, anatomy="generated", segmentation=True)
    assert (regions_of_sample(tmp_path / "out") == regions_of_sample(tmp_path / "again")).all()
    request = request_from_sidecar(tmp_path / "out/sample_001.json", tmp_path / "third")
    assert request.anatomy == "generated"
    events = list(perform(Run.create(request, root=tmp_path / "runs")))
    assert isinstance(events[-1], Finished), events[-1]
    brains = [load_volume(tmp_path / name / "sample_001.nii.gz").data for name in ("out", "third")]
    assert (brains[0] == brains[1]).all()


def test_a_changed_model_of_region_maps_is_told(image_model, maps_model, tmp_path) -> None:
    generated(image_model, tmp_path / "out", anatomy="generated")
    sidecar = tmp_path / "out/sample_001.json"
    card = read_json(image_model / "model.json")
    other = {**card, "generated_anatomy": {**card["generated_anatomy"], "sigma": 1.0}}
    (image_model / "model.json").write_text(json.dumps(other))
    with pytest.raises(BrainDiffusionError, match="makes other region maps"):
        request_from_sidecar(sidecar, tmp_path / "again")
    (image_model / "model.json").write_text(json.dumps(card))
    cascade, _ = load_cascade(maps_model)
    save_model(speaking(cascade.config, seed=1), maps_model, CARD)
    with pytest.raises(BrainDiffusionError, match="has changed since"):
        request_from_sidecar(sidecar, tmp_path / "again")


def test_requested_volumes_are_those_of_the_generated_map(image_model, tmp_path) -> None:
    condition = {"age": 20.0, "volumes": {"brainstem": 4.0}}
    events = generated(image_model, tmp_path / "out", anatomy="generated", segmentation=True, condition=condition)
    assert isinstance(events[-1], Finished), events[-1]
    made = np.count_nonzero(regions_of_sample(tmp_path / "out") == region_index("brainstem"))
    assert made * SPACING**3 / 1000 == pytest.approx(4.0, rel=0.1)


def test_a_model_without_it_says_so(told_model, model_with_maps_only, tmp_path) -> None:
    for folder in (told_model, model_with_maps_only):
        last = generated(folder, tmp_path / "out", anatomy="generated")[-1]
        assert isinstance(last, Failed)
        assert "no model of region maps" in last.message or "no region maps" in last.message


@pytest.fixture
def model_with_maps_only(told, tmp_path) -> Path:
    folder = tmp_path / "only"
    save_model(told, folder, CARD)
    labels = np.full((2, *SHAPE), region_index("brainstem"), np.uint8)
    AnatomyLibrary.build(labels, SPACING, ["a", "b"], [20.0, 80.0], ["F", "M"]).save(folder)
    load_anatomy.cache_clear()
    return folder


def test_a_model_of_region_maps_generates_no_images(maps_model, image_model, tmp_path) -> None:
    last = generated(maps_model, tmp_path / "out")[-1]
    assert isinstance(last, Failed)
    assert "generates region maps, not images" in last.message
    with pytest.raises(BrainDiffusionError, match="generates images, not region maps"):
        load_generator(image_model, "regions")


def test_specks_take_the_label_around_them_and_pieces_stay() -> None:
    regions = np.zeros((10, 10, 10), np.uint8)
    regions[2:8, 2:8, 2:8] = 7
    regions[4, 4, 4] = 9
    regions[0, 0, 0] = 9
    regions[4:6, 4:6, 6] = 9
    cleaned = without_specks(regions)
    assert (cleaned[4, 4, 4], cleaned[0, 0, 0]) == (7, 0)
    assert (cleaned == 9).sum() == 4
    assert (cleaned != regions).sum() == 2


def test_the_packaged_model_keeps_the_shape_of_a_sampled_map_and_changes_its_folds() -> None:
    """The packaged model of region maps, at two seeds on the same sampled map."""
    folder = find_model("ixi-2mm")
    library, settings = load_anatomy(folder), read_card(folder).generated_anatomy
    assert library is not None
    assert settings is not None
    sampled = library.sample(0, {})
    model = RegionMapModel(settings, library, torch.device("cpu"))
    first, second = (model.generate(sampled, seed, {}).regions for seed in (0, 1))
    for made in (first, second):
        ratio = volumes_ml(made, SPACING)[1:] / volumes_ml(sampled.regions, SPACING)[1:]
        assert np.median(ratio) == pytest.approx(1, abs=0.1)
        assert mask_dice(made > 0, sampled.regions > 0) > 0.95
    cortex = [np.isin(one, CORTEX) for one in (sampled.regions, first, second)]
    assert mask_dice(cortex[1], cortex[2]) < 0.9
    assert mask_dice(cortex[1], cortex[0]) < 0.9
