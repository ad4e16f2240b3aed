"""The 40 regions of the models: groups of DLMUSE's 146, left and right kept apart. Needs no torch.

The grouping is the table beside this file: one line a region, its tissue, and the values that it takes in of DLMUSE
(their names: `labels.tsv` of the IXI label maps) and of FreeSurfer's aparc+aseg and wmparc (their names:
`FreeSurferColorLUT.txt`; parcels by its own lobes, cingulate and insula apart). DLMUSE's 46 and 69 have no published
name; they lie where the cisterns around the third ventricle and the optic chiasm are, and are grouped so. FreeSurfer
draws no vermis: of its label maps that region is empty, and its voxels are cerebellar cortex.
"""

from braindiffusion.regions.table import (
    BACKGROUND,
    MIRRORED,
    REGION_NAMES,
    REGIONS,
    Region,
    Scheme,
    freesurfer_names,
    group,
    is_grouped,
    mirror,
    mixed_sides,
    region_index,
    regions_of,
    scheme_of,
    table_problem,
    volumes_ml,
)

__all__ = [
    "BACKGROUND",
    "MIRRORED",
    "REGIONS",
    "REGION_NAMES",
    "Region",
    "Scheme",
    "freesurfer_names",
    "group",
    "is_grouped",
    "mirror",
    "mixed_sides",
    "region_index",
    "regions_of",
    "scheme_of",
    "table_problem",
    "volumes_ml",
]
