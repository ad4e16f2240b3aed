"""Region volumes of one brain beside the percentiles of a cohort."""

import csv

import numpy as np
import pytest

from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.cohort.region_volumes import (
    COLUMNS,
    cohort_reference,
    model_reference,
    region_volume_table,
    region_volumes_tsv,
)
from braindiffusion.cohort.store import Cohort, PreparedVolume, Subject
from braindiffusion.conditions import ConditionSchema, Numbers, ScalarField, VectorField
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.regions import REGIONS, region_index, volumes_ml

HIPPOCAMPUS = "left hippocampus"


def labels_with(voxels: int) -> np.ndarray:
    labels = np.zeros((8, 8, 8), np.uint8)
    labels.ravel()[:voxels] = region_index(HIPPOCAMPUS)
    return labels


@pytest.fixture
def cohort(tmp_path) -> Cohort:
    preprocessing = Preprocessing(spacing=2.0, shape=(8, 8, 8))
    cohort = Cohort.create(tmp_path / "c.zarr", preprocessing, labels=np.dtype(np.uint16))
    empty = np.zeros((1, 8, 8, 8), np.float16)
    for number in range(1, 12):
        labels = labels_with(10 * number).astype(np.uint16)
        cohort.put(Subject(id=f"s{number:02}"), PreparedVolume(empty, labels > 0, labels, np.eye(4)))
    return cohort


def test_a_volume_stands_at_its_percentile_of_the_cohort(cohort) -> None:
    volumes = volumes_ml(labels_with(60), (2.0, 2.0, 2.0))
    rows = {row.region: row for row in region_volume_table(volumes, cohort_reference(cohort))}
    assert len(rows) == len(REGIONS) - 1
    row = rows[HIPPOCAMPUS]
    assert (row.hemisphere, row.tissue) == ("L", "grey")
    assert row.volume_ml == pytest.approx(60 * 8 / 1000)
    assert row.percentile == pytest.approx(50)
    assert row.reference_median_ml == pytest.approx(0.48)
    assert row.reference_p5_ml == pytest.approx(0.12)


def test_voxels_need_not_be_isotropic() -> None:
    volumes = volumes_ml(labels_with(10), (1.0, 2.0, 3.0))
    assert volumes[region_index(HIPPOCAMPUS)] == pytest.approx(0.06)


def test_a_cohort_without_label_maps_is_no_reference(tmp_path) -> None:
    bare = Cohort.create(tmp_path / "bare.zarr", Preprocessing(shape=(8, 8, 8)))
    with pytest.raises(BrainDiffusionError, match="no label maps"):
        cohort_reference(bare)


def test_the_conditions_of_a_model_are_a_reference() -> None:
    seen = Numbers.of(np.linspace(2, 4, 101))
    field = VectorField(name="volumes", entries=(HIPPOCAMPUS,), seen=(seen,), unit="ml")
    schema = ConditionSchema(fields=(ScalarField(name="age", seen=seen), field))
    assert model_reference(schema) == {HIPPOCAMPUS: seen}
    assert model_reference(ConditionSchema()) == {}


def test_the_table_is_written_as_tsv() -> None:
    text = region_volumes_tsv(region_volume_table(volumes_ml(labels_with(60), 2.0)))
    header, *rows = csv.reader(text.splitlines(), delimiter="\t")
    assert tuple(header) == COLUMNS
    assert [row for row in rows if row[0] == HIPPOCAMPUS] == [[HIPPOCAMPUS, "L", "grey", "0.48", *["n/a"] * 4]]
