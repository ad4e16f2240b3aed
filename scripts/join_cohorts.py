"""Join cohorts of several sites into one, so that a training can learn `site` as a condition.

    braindiffusion prepare IXI-T1 --labels labels --participants participants.tsv --out ixi.zarr
    braindiffusion prepare ds002748 --participants ds002748/participants.tsv --skull strip --out ds002748.zarr
    python scripts/join_cohorts.py ixi.zarr ds002748=ds002748.zarr --out two-sites.zarr
    braindiffusion train --data two-sites.zarr

The second command segments the brains first, since it gets no label maps. A site is the name before `=`; without one,
subjects keep the site that they have (IXI's file names tell it, or a column `site` of the participants file).
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from braindiffusion.cohort.demographics import table_key
from braindiffusion.cohort.store import Cohort, PreparedVolume
from braindiffusion.cohort.vectors.table import VectorTable
from braindiffusion.errors import BrainDiffusionError


def join(cohorts: dict[Path, str], out: Path) -> Cohort:
    """Write the subjects of all cohorts into one.

    Args:
        cohorts: stores, and the site of their subjects; empty keeps what each has.
        out: the store to write.

    Raises:
        BrainDiffusionError: the cohorts are not prepared alike, or two subjects have the same name.
    """
    every = [Cohort.open(path) for path in cohorts]
    first = every[0]
    for other in every[1:]:
        if other.preprocessing != first.preprocessing or (other.labels is None) != (first.labels is None):
            raise BrainDiffusionError(
                f"{other.path} was prepared in another way than {first.path}: prepare both alike."
            )
    names = [subject.id for cohort in every for subject in cohort.subjects]
    if double := next((name for name in names if names.count(name) > 1), None):
        raise BrainDiffusionError(f"Two subjects are called {double}: rename the files of one.")
    labels = None if first.labels is None else np.dtype(np.uint16)
    joined = Cohort.create(out, first.preprocessing, channels=first.volumes.shape[1], labels=labels)
    for cohort, site in zip(every, cohorts.values(), strict=True):
        for row, subject in enumerate(cohort.subjects):
            volume = PreparedVolume(
                np.asarray(cohort.volumes[row]),
                np.asarray(cohort.masks[row]),
                None if cohort.labels is None else np.asarray(cohort.labels[row]),
                cohort.affines[row],
            )
            joined.put(subject.model_copy(update={"site": site or subject.site}), volume)
    joined.finish(tables=_tables(every))
    return joined


def _tables(cohorts: list[Cohort]) -> list[VectorTable]:
    """Return the tables of all cohorts; what a cohort does not have of a table is unknown for its subjects."""
    joined = []
    for name in dict.fromkeys(name for cohort in cohorts for name in cohort.tables):
        having = [cohort.tables[name] for cohort in cohorts if name in cohort.tables]
        entries = tuple(dict.fromkeys(entry for table in having for entry in table.entries))
        rows = {}
        for cohort in cohorts:
            table = cohort.tables.get(name)
            for row, subject in enumerate(cohort.subjects):
                known = {} if table is None else dict(zip(table.entries, table.values[row].tolist(), strict=True))
                rows[table_key(subject.id)] = tuple(known.get(entry) for entry in entries)
        joined.append(VectorTable(name, entries, rows, name))
    return joined


def main(
    cohorts: Annotated[list[str], typer.Argument(help="SITE=COHORT, or COHORT, for each.")],
    out: Annotated[Path, typer.Option(help="The cohort to write (.zarr).")],
) -> None:
    """Join cohorts that were prepared alike."""
    parts = [one.rpartition("=") for one in cohorts]
    joined = join({Path(path): site for site, _, path in parts}, out)
    sites = [subject.site for subject in joined.subjects]
    print(f"{len(joined)} subjects: {', '.join(f'{sites.count(one)} of {one}' for one in dict.fromkeys(sites))}")


if __name__ == "__main__":
    typer.run(main)
