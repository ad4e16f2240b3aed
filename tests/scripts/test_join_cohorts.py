"""Cohorts of two sites become one, whose model can be conditioned on the site."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from braindiffusion.cohort.store import Cohort
from braindiffusion.cohort.vectors.table import VectorTable
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.training.subject_condition import schema_of

MakeCohort = Callable[..., Cohort]


def test_two_sites_become_a_condition(
    load: Callable[[str], ModuleType], make_cohort: MakeCohort, tmp_path: Path
) -> None:
    script = load("join_cohorts")
    first, second = make_cohort("ixi", 3), make_cohort("sub-", 2, site="")
    script.main([str(first.path), f"ds002748={second.path}"], tmp_path / "both.zarr")
    both = Cohort.open(tmp_path / "both.zarr")
    assert [(one.id, one.site) for one in both.subjects] == [
        *(("ixi0", "HH"), ("ixi1", "HH"), ("ixi2", "HH")),
        *(("sub-0", "ds002748"), ("sub-1", "ds002748")),
    ]
    assert both.complete
    np.testing.assert_array_equal(np.asarray(both.volumes[4]), np.asarray(second.volumes[1]))
    np.testing.assert_array_equal(np.asarray(both.labels)[3], np.asarray(second.labels)[0])
    site = schema_of(both, list(range(5)), ["site"]).fields[0]
    assert site.values == ("HH", "ds002748")


def test_tables_of_numbers_are_joined(
    load: Callable[[str], ModuleType], make_cohort: MakeCohort, tmp_path: Path
) -> None:
    first, second, third = make_cohort("ixi", 2), make_cohort("sub-", 2), make_cohort("other", 1)
    first.finish(tables=[VectorTable("scores", ("a", "b"), {"ixi0": (1.0, 2.0), "ixi1": (3.0, None)}, "scores.tsv")])
    second.finish(tables=[VectorTable("scores", ("b", "c"), {"0": (4.0, 5.0), "1": (6.0, 7.0)}, "scores.tsv")])
    joined = load("join_cohorts").join({one.path: "" for one in (first, second, third)}, tmp_path / "all.zarr")
    table = Cohort.open(joined.path).tables["scores"]
    assert table.entries == ("a", "b", "c")
    nan = np.nan
    np.testing.assert_array_equal(table.values, [[1, 2, nan], [3, nan, nan], [nan, 4, 5], [nan, 6, 7], [nan, nan, nan]])


def test_cohorts_that_do_not_fit_are_told(
    load: Callable[[str], ModuleType], make_cohort: MakeCohort, tmp_path: Path
) -> None:
    script = load("join_cohorts")
    one, heads = make_cohort("ixi"), make_cohort("heads", skull="keep")
    with pytest.raises(BrainDiffusionError, match="prepared in another way"):
        script.join({one.path: "a", heads.path: "b"}, tmp_path / "both.zarr")
    with pytest.raises(BrainDiffusionError, match="Two subjects are called ixi0"):
        script.join({one.path: "a", shutil.copytree(one.path, tmp_path / "copy.zarr"): "b"}, tmp_path / "both.zarr")
