"""The packaged segmentation model on real brains. Bounds are below the figures of its card."""

import numpy as np
import pytest

from braindiffusion.cohort.mask import brain_mask
from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.cohort.standardise import standardise
from braindiffusion.example_data import SUBJECTS, sample_labels_path, sample_t1_path
from braindiffusion.models.registry import DEFAULT_SEGMENTATION_MODEL, list_models, list_segmentation_models
from braindiffusion.regions import group, mirror
from braindiffusion.regions.overlap import mask_dice, region_dice
from braindiffusion.segmentation import SegmentationModel, load_segmentation_model
from braindiffusion.volume import load_volume


@pytest.fixture(scope="module")
def model() -> SegmentationModel:
    return load_segmentation_model()


def test_it_segments_a_sample_brain(model: SegmentationModel) -> None:
    # The only sample that was kept aside, and its hardest: an old brain whose regions it finds half.
    index = next(i for i, name in enumerate(SUBJECTS) if name in model.card["split"]["validation"])
    found = model.predict_volume(load_volume(sample_t1_path(index)))
    truth = group(load_volume(sample_labels_path(index)).data[0])
    assert found.regions.shape == truth.shape
    assert np.nanmean(region_dice(found.regions, truth)[1:]) > 0.45
    assert mask_dice(found.mask, brain_mask(truth, 2.0)) > 0.94
    assert 20 < found.age < 87
    assert found.embedding.shape == (model.net.config.features,)
    assert np.isfinite(found.embedding).all()


def test_a_mirror_image_has_the_mirrored_regions(model: SegmentationModel) -> None:
    preprocessing = Preprocessing(spacing=model.net.config.spacing, shape=model.net.config.shape, skull="keep")
    box = standardise(load_volume(sample_t1_path(1)), preprocessing).volume[0].astype(np.float32)
    found, mirrored = model.predict(box), model.predict(box[::-1].copy())
    assert np.array_equal(mirrored.regions, mirror(found.regions))
    assert found.mask.mean() > 0.1


def test_it_finds_the_brain_of_a_whole_head(model: SegmentationModel, shared_data) -> None:
    name = model.card["split"]["validation"][0]
    (scan,) = (shared_data / "ixi-2mm" / "IXI-T1").glob(f"{name}-*")
    (labels,) = (shared_data / "ixi-2mm" / "labels").glob(f"{name}-*")
    found = model.predict_volume(load_volume(scan))
    truth = group(load_volume(labels).data[0])
    assert np.nanmean(region_dice(found.regions, truth)[1:]) > 0.6
    assert mask_dice(found.mask, brain_mask(truth, 2.0)) > 0.94


def test_it_is_small_and_is_no_generator(model: SegmentationModel) -> None:
    (packaged,) = (one for one in list_segmentation_models() if one.name == DEFAULT_SEGMENTATION_MODEL)
    assert (packaged.path / "model.safetensors").stat().st_size < 15e6
    assert DEFAULT_SEGMENTATION_MODEL not in [model.name for model in list_models()]
    split = packaged.card.to_json()["split"]
    assert not set(split["train"]) & set(split["validation"])
    assert len(split["validation"]) == 30
