"""What a model can learn to be asked for is what its cohort tells."""

from pathlib import Path

import numpy as np
import pytest

from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.cohort.store import Cohort, PreparedVolume, Subject
from braindiffusion.regions import REGIONS
from braindiffusion.training.subject_condition import schema_of, subject_condition

SHAPE = (8, 8, 8)


def labelled(path: Path, values: list[int]) -> Cohort:
    """Two brains that are filled with these labels, the second with more of the last."""
    store = Cohort.create(path, Preprocessing(spacing=8.0, shape=SHAPE, skull="strip"), labels=np.dtype(np.uint16))
    for number in range(2):
        labels = np.resize(np.array(values, np.uint16), SHAPE)
        labels[: 2 * number] = values[-1]
        volume = np.zeros((1, *SHAPE), np.float16)
        store.put(Subject(id=f"s{number}"), PreparedVolume(volume, labels > 0, labels, np.eye(4)))
    store.finish()
    return Cohort.open(path)


def test_region_maps_of_the_segmentation_model_are_conditions(tmp_path: Path) -> None:
    cohort = labelled(tmp_path / "read.zarr", [region.index for region in REGIONS])
    schema = schema_of(cohort, [0, 1])
    assert schema.names == ("volumes", "regions")
    labels = np.asarray(cohort.labels[1]).astype(np.uint8)
    told = subject_condition(schema, cohort, 1, None)
    assert told["volumes"].shape == (1, len(REGIONS) - 1)
    assert "regions" in told
    # The last region fills a quarter of the box and its share of the rest, at 0.512 ml a voxel.
    assert np.isclose(schema.fields[0].seen[-1].quantiles[-1], (labels == REGIONS[-1].index).sum() * 0.512)


@pytest.mark.parametrize("values", [[0, 1], [0, 999]])
def test_a_mask_and_strange_labels_are_not(tmp_path: Path, values: list[int]) -> None:
    assert schema_of(labelled(tmp_path / "mask.zarr", values), [0, 1]).names == ()


@pytest.mark.parametrize("age", [30.3, 72.7])
def test_one_age_is_no_condition(tmp_path: Path, age: float) -> None:
    store = Cohort.create(tmp_path / "one.zarr", Preprocessing(spacing=8.0, shape=SHAPE, skull="strip"))
    for number in range(7):
        volume = np.zeros((1, *SHAPE), np.float16)
        store.put(Subject(id=f"s{number}", age=age), PreparedVolume(volume, volume[0] > -1, None, np.eye(4)))
    assert schema_of(store, list(range(7))).names == ()
