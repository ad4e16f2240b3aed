"""The table of one brain's region volumes beside the percentiles of a reference cohort. Needs no torch."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields

import numpy as np

from braindiffusion.cohort.store import Cohort
from braindiffusion.conditions import VOLUMES, ConditionSchema, Numbers, VectorField
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.regions import REGIONS, regions_of, volumes_ml
from braindiffusion.tables import UNKNOWN

REFERENCE_BAND = (5.0, 50.0, 95.0)
"""Percentiles of the reference that the table shows."""


@dataclass(frozen=True)
class RegionVolume:
    """One row of the table. The fields are the columns of the TSV file.

    Attributes:
        region: name of the region.
        hemisphere: `L`, `R`, or `-` for a region without a side.
        tissue: `csf`, `grey` or `white`.
        volume_ml: volume.
        percentile: 0 to 100, position in the reference cohort; None without a reference.
        reference_p5_ml: 5th percentile of the reference cohort.
        reference_median_ml: median of the reference cohort.
        reference_p95_ml: 95th percentile of the reference cohort.
    """

    region: str
    hemisphere: str
    tissue: str
    volume_ml: float
    percentile: float | None = None
    reference_p5_ml: float | None = None
    reference_median_ml: float | None = None
    reference_p95_ml: float | None = None


COLUMNS = tuple(field.name for field in fields(RegionVolume))


def region_volume_table(volumes: Sequence[float], reference: Mapping[str, Numbers] | None = None) -> list[RegionVolume]:
    """Return one row for each region, in the order of the region table, without background.

    Args:
        volumes: (regions,) ml, background included, as `braindiffusion.regions.volumes_ml` returns them.
        reference: distribution of the volume of each region, from `cohort_reference` or `model_reference`.
    """
    rows = []
    for region in REGIONS[1:]:
        volume = round(float(volumes[region.index]), 4)
        known = (reference or {}).get(region.name)
        beside = () if known is None else (round(known.percentile(volume), 1), *map(known.at, REFERENCE_BAND))
        rows.append(RegionVolume(region.name, region.hemisphere, region.tissue, volume, *beside))
    return rows


def cohort_reference(cohort: Cohort) -> dict[str, Numbers]:
    """Measure the region volumes of a prepared cohort.

    Raises:
        BrainDiffusionError: the cohort has no label maps, or they are of an unknown scheme.
    """
    if cohort.labels is None or not len(cohort):
        raise BrainDiffusionError(f"The cohort {cohort.path} has no label maps: prepare it with label maps.")
    spacing = cohort.preprocessing.spacing
    volumes = [volumes_ml(regions_of(np.asarray(cohort.labels[row])), spacing) for row in range(len(cohort))]
    return {region.name: Numbers.of(np.array(volumes)[:, region.index]) for region in REGIONS[1:]}


def model_reference(schema: ConditionSchema) -> dict[str, Numbers]:
    """Return the region volumes of a model's training subjects, from its conditions; empty if it has none."""
    for field in schema.fields:
        if isinstance(field, VectorField) and field.name == VOLUMES:
            return dict(zip(field.entries, field.seen, strict=True))
    return {}


def region_volumes_tsv(rows: Sequence[RegionVolume]) -> str:
    """Format the table as tab-separated values with a header line; `n/a` where a value is unknown, as BIDS has it."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([UNKNOWN if value is None else value for value in astuple(row)] for row in rows)
    return text.getvalue()
