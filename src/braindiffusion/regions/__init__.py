"""The regions that models are told of and read: 40 groups of DLMUSE's 146, left and right kept apart. Needs no torch.

The grouping is the table beside this file, and nothing else: one line a region, its tissue, and the DLMUSE values that
it takes in (their names: `labels.tsv` of the IXI label maps). Values 46 and 69 have no published name; they lie where
the cisterns around the third ventricle and the optic chiasm are, and are grouped so.
"""

from braindiffusion.regions.table import (
    BACKGROUND,
    MIRRORED,
    REGIONS,
    Region,
    group,
    is_grouped,
    mirror,
    region_index,
    volumes_ml,
)

__all__ = ["BACKGROUND", "MIRRORED", "REGIONS", "Region", "group", "is_grouped", "mirror", "region_index", "volumes_ml"]
