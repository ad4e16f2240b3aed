"""The table against DLMUSE's own names, FreeSurfer's own names, and numpy."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.regions import MIRRORED, REGIONS, group, is_grouped, mirror, region_index, volumes_ml

# From FreeSurferColorLUT.txt, and the lobes of the FreeSurfer wiki's page on cortical parcellation.
FREESURFER = {
    4: "left lateral ventricle",  # Left-Lateral-Ventricle
    5: "left lateral ventricle",  # Left-Inf-Lat-Vent
    63: "right lateral ventricle",  # Right-choroid-plexus
    14: "third ventricle",
    15: "fourth ventricle",
    24: "sulcal csf",
    2: "left cerebral white matter",
    41: "right cerebral white matter",
    3028: "left cerebral white matter",  # wm-lh-superiorfrontal
    4035: "right cerebral white matter",  # wm-rh-insula
    5002: "right cerebral white matter",  # Right-UnsegmentedWhiteMatter
    7: "left cerebellar white matter",
    8: "left cerebellar cortex",
    46: "right cerebellar white matter",
    47: "right cerebellar cortex",
    10: "left thalamus",
    49: "right thalamus",
    11: "left caudate",
    50: "right caudate",
    26: "left caudate",  # Left-Accumbens-area, as DLMUSE's is grouped
    12: "left putamen",
    51: "right putamen",
    13: "left pallidum",
    52: "right pallidum",
    16: "brainstem",
    17: "left hippocampus",
    53: "right hippocampus",
    18: "left amygdala",
    54: "right amygdala",
    28: "left ventral diencephalon",
    60: "right ventral diencephalon",
    251: "corpus callosum",  # CC_Posterior
    255: "corpus callosum",  # CC_Anterior
    1028: "left frontal cortex",  # superiorfrontal
    2024: "right frontal cortex",  # precentral
    1022: "left parietal cortex",  # postcentral
    2025: "right parietal cortex",  # precuneus
    1030: "left temporal cortex",  # superiortemporal
    2006: "right temporal cortex",  # entorhinal
    1021: "left occipital cortex",  # pericalcarine
    2013: "right occipital cortex",  # lingual
    1023: "left cingulate cortex",  # posteriorcingulate
    2026: "right cingulate cortex",  # rostralanteriorcingulate
    1035: "left insular cortex",
    2035: "right insular cortex",
}
WHOLE = [2, 41, 1028, 2028]
"""Values that only FreeSurfer has: with them a map is known to be its."""


def test_every_dlmuse_value_is_in_exactly_one_region(shared_data: Path) -> None:
    with (shared_data / "ixi-2mm" / "labels" / "labels.tsv").open() as file:
        names = {int(row["value"]): row["name"] for row in csv.DictReader(file, delimiter="\t")}
    taken = [value for region in REGIONS for value in region.dlmuse]
    assert len(taken) == len(set(taken))
    assert set(names) <= set(taken)
    for region in REGIONS:  # DLMUSE's names tell the side, and so must ours
        for value in region.dlmuse:
            sides = {
                part for part in names.get(value, "").replace("_", " ").lower().split() if part in ("left", "right")
            }
            assert sides <= {region.name.split()[0]}, (region.name, names[value])


def test_no_freesurfer_value_is_in_two_regions() -> None:
    taken = [value for region in REGIONS for value in region.freesurfer]
    assert len(taken) == len(set(taken))
    assert set(range(1000, 1036)) | set(range(2000, 2036)) | set(range(3000, 3036)) <= set(taken)


def test_freesurfer_sides_are_each_others_mirror() -> None:
    for low, shift in ((1000, 1000), (3000, 1000)):
        there = group(np.array([*range(low, low + 36), *WHOLE]))[:36]
        other = group(np.array([*range(low + shift, low + shift + 36), *WHOLE]))[:36]
        np.testing.assert_array_equal(MIRRORED[there], other)


def test_freesurfer_values() -> None:
    found = group(np.array([*FREESURFER, *WHOLE]))
    assert [REGIONS[index].name for index in found[: len(FREESURFER)]] == list(FREESURFER.values())


def test_what_has_no_side_takes_that_of_its_neighbours() -> None:
    labels = np.zeros((9, 3, 3), np.uint16)
    labels[:4], labels[5:] = 41, 2  # the right hemisphere comes first: sides are read, not assumed
    labels[1, 1, 1] = labels[6, 1, 1] = 77
    labels[4, 0, 0], labels[5, 0, 0], labels[6, 0, 0] = 251, 12, 80
    grouped = group(labels)
    assert grouped[1, 1, 1] == region_index("right cerebral white matter")
    assert grouped[6, 1, 1] == region_index("left cerebral white matter")
    assert grouped[6, 0, 0] == region_index("left putamen")
    with pytest.raises(BrainDiffusionError, match="85, which belongs to ventral diencephalon"):
        group(np.array([2, 41, 85]))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([0, 2, 3, 41], "whole cortex"),
        ([0, 2, 207], r"mixes values of DLMUSE \(207\) and of FreeSurfer \(2\)"),
        ([0, 4, 11], "could be DLMUSE's or FreeSurfer's, who mean other regions by 4, 11"),
        ([0, 6], "holds 6, which is no region"),
        ([0, 65535], "holds 65535"),
        ([-1, 4], "holds -1"),
    ],
)
def test_other_maps_are_told(values: list[int], said: str) -> None:
    with pytest.raises(BrainDiffusionError, match=said):
        group(np.array(values))


def test_an_empty_map_is_background() -> None:
    assert not group(np.zeros((2, 2, 2), np.uint16)).any()


def test_mirror_is_an_involution_and_changes_sides() -> None:
    np.testing.assert_array_equal(MIRRORED[MIRRORED], np.arange(len(REGIONS)))
    labels = np.random.default_rng(0).integers(0, len(REGIONS), (4, 5, 6)).astype(np.uint8)
    assert is_grouped(labels)
    np.testing.assert_array_equal(mirror(mirror(labels)), labels)
    for region in REGIONS:
        assert REGIONS[MIRRORED[region.index]].name.replace("left", "right") == region.name.replace("left", "right")
        assert (MIRRORED[region.index] == region.index) == (region.hemisphere == "-")


@given(st.integers(0, 2**32 - 1), st.sampled_from([1.0, 2.0, 1.5]))
def test_volumes(seed: int, spacing: float) -> None:
    labels = np.random.default_rng(seed).integers(0, len(REGIONS), (5, 4, 3)).astype(np.uint8)
    expected = [np.count_nonzero(labels == index) * spacing**3 / 1000 for index in range(len(REGIONS))]
    np.testing.assert_allclose(volumes_ml(labels, spacing), expected)
