"""A generated brain lies over the region map that conditioned it, and on the grid that was asked for."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.generation.inputs import Conditions, load_label_map
from braindiffusion.generation.placement import Placement
from braindiffusion.generation.reproduce import request_from_sidecar
from braindiffusion.jobs.generate import generate
from braindiffusion.models.card import ModelCard
from braindiffusion.models.cascade import Cascade
from braindiffusion.models.cascade.generator import CascadeGenerator
from braindiffusion.runs import GenerateRequest, Run
from braindiffusion.volume import Volume, load_volume, save_volume

SHAPE, SPACING = (16, 24, 16), 2.0


def centre_mm(inside: np.ndarray, affine: np.ndarray) -> np.ndarray:
    return (affine @ [*ndimage.center_of_mass(inside), 1.0])[:3]


def save_map(path: Path, shape: tuple[int, int, int], affine: np.ndarray, corner: tuple[int, int, int]) -> Volume:
    """A brain of two regions, 20 x 28 x 20 mm, on any grid of 1 or 2 mm."""
    size = np.round(np.array([20, 28, 20]) / np.linalg.norm(affine[:3, :3], axis=0)).astype(int)
    data = np.zeros((1, *shape), np.uint8)
    x, y, z = (slice(c, c + n) for c, n in zip(corner, size, strict=True))
    data[:, x, y, z] = 18
    data[:, x, y, z.start : z.start + size[2] // 2] = 40
    volume = Volume(data, affine, {"kind": "labels"})
    save_volume(volume, path)
    return volume


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    spacing=st.sampled_from([1.0, 2.0]),
    corner=st.tuples(*[st.integers(0, 9)] * 3),
    translation=st.tuples(*[st.floats(-300, 300)] * 3),
    odd=st.tuples(*[st.integers(0, 3)] * 3),
)
def test_the_box_lies_over_the_map(tmp_path: Path, told: Cascade, spacing, corner, translation, odd) -> None:
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = translation
    shape = tuple(round(40 / spacing) + n for n in odd)
    path = tmp_path / "map.nii.gz"
    labels = save_map(path, shape, affine, corner)
    generator = CascadeGenerator(told, ModelCard())
    request = GenerateRequest(condition={"regions": str(path)}, grid=path, anatomy="none")
    placement = Placement(request, generator, Conditions(request, generator))
    boxed, _ = load_label_map(path, SHAPE, SPACING)  # stands for a brain that follows the map
    placed = placement.place(Volume((boxed[None] > 0).astype(np.float32), np.eye(4)), 1)
    wanted = centre_mm(labels.data[0] > 0, labels.affine)
    np.testing.assert_allclose(centre_mm(placed.data[0], placed.affine), wanted, atol=spacing + 1e-3)
    written = placement.on_grid(placed)
    assert written.shape == labels.shape
    np.testing.assert_allclose(written.affine, labels.affine, atol=1e-4)  # the file rounds
    np.testing.assert_allclose(centre_mm(written.data[0], written.affine), wanted, atol=spacing + 1e-3)


@pytest.mark.parametrize("spacing", [1.0, 4.0])
@pytest.mark.parametrize("shift", [0.0, 0.5, 1.0])
def test_a_region_map_stays_over_its_brain_on_any_grid(
    tmp_path: Path, told: Cascade, spacing: float, shift: float
) -> None:
    """Where voxels of the grid lie in the middle between two of the map, none of the two always wins."""
    path = tmp_path / "grid.nii.gz"
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = shift
    head = np.pad(np.ones((1, *(round(60 / spacing),) * 3), np.float32), ((0, 0), *[(0, round(12 / spacing))] * 3))
    save_volume(Volume(head, affine), path)
    generator = CascadeGenerator(told, ModelCard())
    request = GenerateRequest(grid=path, anatomy="none")
    placement = Placement(request, generator, Conditions(request, generator))
    middle = np.diag([SPACING] * 3 + [1.0])
    middle[:3, 3] = 20
    regions = np.linalg.norm(np.indices(SHAPE) - np.array([7.5, 11.5, 7.5])[:, None, None, None], axis=0) < 6
    labels = placement.on_grid(Volume(regions[None].astype(np.uint8), middle, {"kind": "labels"}))
    brain = placement.on_grid(Volume(regions[None].astype(np.float32), middle))
    assert labels.data.dtype == np.uint8
    np.testing.assert_allclose(labels.affine, affine)
    np.testing.assert_allclose(
        centre_mm(labels.data[0], labels.affine), centre_mm(brain.data[0], brain.affine), atol=0.15 * spacing
    )


def test_a_brain_without_a_map_lies_over_the_brain_of_the_grid(tmp_path: Path, told: Cascade) -> None:
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[:3, 3] = 30, -40, 50
    scan = save_map(tmp_path / "scan.nii.gz", (50, 60, 30), affine, (20, 20, 5))
    save_volume(Volume(scan.data.astype(np.float32), scan.affine), tmp_path / "scan.nii.gz")
    generator = CascadeGenerator(told, ModelCard())
    request = GenerateRequest(grid=tmp_path / "scan.nii.gz", anatomy="none")
    placement = Placement(request, generator, Conditions(request, generator))
    middle = placement.affine(1) @ [7.5, 11.5, 7.5, 1]
    np.testing.assert_allclose(middle[:3], centre_mm(scan.data[0] > 0, scan.affine), atol=1.0)
    save_volume(Volume(np.zeros((1, 4, 4, 4), np.float32), affine), tmp_path / "air.nii.gz")
    request = GenerateRequest(grid=tmp_path / "air.nii.gz", anatomy="none")
    with pytest.raises(BrainDiffusionError, match="shows no brain"):
        Placement(request, generator, Conditions(request, generator))


def test_a_grid_far_from_the_region_map_is_refused(tmp_path: Path, told: Cascade) -> None:
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    save_map(tmp_path / "map.nii.gz", (21, 25, 19), affine, (5, 6, 4))
    affine[:3, 3] = 500, 0, 0
    save_map(tmp_path / "far.nii.gz", (21, 25, 19), affine, (5, 6, 4))
    generator = CascadeGenerator(told, ModelCard())
    condition = {"regions": str(tmp_path / "map.nii.gz")}
    request = GenerateRequest(condition=condition, grid=tmp_path / "far.nii.gz", anatomy="none")
    placement = Placement(request, generator, Conditions(request, generator))
    voxels = np.pad(np.ones((1, 12, 20, 12), np.float32), ((0, 0), (2, 2), (2, 2), (2, 2)))
    brain = placement.place(Volume(voxels, np.eye(4)), 1)
    with pytest.raises(BrainDiffusionError, match=r"outside of the grid of .*far\.nii\.gz"):
        placement.on_grid(brain)


def test_the_job_writes_the_place(told_model: Path, tmp_path: Path, tmp_runs: Path) -> None:
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = 11, -7, 3
    save_map(tmp_path / "map.nii.gz", (21, 25, 19), affine, (5, 6, 4))
    common = {"model": str(told_model), "condition": {"regions": str(tmp_path / "map.nii.gz")}, "device": "cpu"}
    plain = GenerateRequest(**common, out=tmp_path / "plain")
    moved = GenerateRequest(**common, out=tmp_path / "moved", grid=tmp_path / "map.nii.gz", trajectory=True)
    free = GenerateRequest(model=str(told_model), out=tmp_path / "free", device="cpu")
    for request in (plain, moved, free):
        list(generate(request, Run.create(request)))
    model_voxels = load_volume(tmp_path / "plain" / "sample_001.nii.gz")
    assert model_voxels.shape == SHAPE  # nothing is interpolated
    assert model_voxels.metadata["description"] == "BrainDiffusion synthetic toy seed 0"
    sidecar = json.loads((tmp_path / "moved" / "sample_001.json").read_text())
    np.testing.assert_allclose(sidecar["placement"]["box_affine"], model_voxels.affine, atol=1e-4)
    written = load_volume(tmp_path / "moved" / "sample_001.nii.gz")
    assert written.shape == (21, 25, 19)
    np.testing.assert_array_equal(written.affine, affine)
    # Both grids have 2 mm and differ by whole voxels: what lies in both is the same.
    x, y, z = (int(n) for n in np.rint((model_voxels.affine[:3, 3] - affine[:3, 3]) / 2))
    inner = np.s_[max(x, 0) : x + 16, max(y, 0) : y + 24, max(z, 0) : z + 16]
    shift = tuple(
        slice(max(-n, 0), max(-n, 0) + k) for n, k in zip((x, y, z), written.data[0][inner].shape, strict=True)
    )
    np.testing.assert_allclose(written.data[0][inner], model_voxels.data[0][shift], atol=1e-5)
    frames = nib.load(tmp_path / "moved" / "sample_001_trajectory.nii.gz")
    np.testing.assert_allclose(frames.get_fdata()[..., -1], model_voxels.data[0], atol=1e-6)
    assert json.loads((tmp_path / "free" / "sample_001.json").read_text())["placement"] is None
    again = request_from_sidecar(tmp_path / "moved" / "sample_001.json", tmp_path / "again")
    assert again.grid == tmp_path / "map.nii.gz"
    save_map(tmp_path / "map.nii.gz", (21, 25, 19), affine, (4, 6, 4))
    with pytest.raises(BrainDiffusionError, match="has changed or gone"):
        request_from_sidecar(tmp_path / "moved" / "sample_001.json", tmp_path / "again")


def test_a_trajectory_shows_the_noisy_samples(told_model: Path, tmp_path: Path, tmp_runs: Path) -> None:
    request = GenerateRequest(model=str(told_model), out=tmp_path, trajectory=True, device="cpu")
    noisy = request.model_copy(update={"trajectory_shows": "noisy"})
    shown = []
    for one in (request, noisy):
        list(generate(one, Run.create(one)))
        shown.append(nib.load(tmp_path / "sample_001_trajectory.nii.gz").get_fdata())
    sidecar = json.loads((tmp_path / "sample_001.json").read_text())
    assert sidecar["trajectory_shows"] == "noisy"
    assert len(sidecar["trajectory"]) == shown[0].shape[-1] == shown[1].shape[-1]
    assert sidecar["trajectory"][0] == {"level": 0, "step": 0, "of": 3, "sigma": 20.0}
    np.testing.assert_array_equal(shown[0][..., 0], shown[1][..., 0])  # both begin with the noise
    np.testing.assert_array_equal(shown[0][..., -1], shown[1][..., -1])  # and end with the brain
    assert np.abs(shown[0][..., 1] - shown[1][..., 1]).mean() > 0.01
