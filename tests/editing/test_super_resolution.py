"""Super-resolution: the finer grid, and the scan that stays the average of what is generated."""

from pathlib import Path

import numpy as np
import pytest
import torch
from nibabel.affines import apply_affine
from scipy import ndimage

from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.editing.scan import averages_kept, coarsened, upsampled
from braindiffusion.example_data import sample_t1_path
from braindiffusion.jobs.edit import edit
from braindiffusion.models.cascade import Cascade, save_model
from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig, UNetConfig
from braindiffusion.runs import ArtifactWritten, EditRequest, Run
from braindiffusion.volume import Volume, load_volume, save_volume

SETTINGS = Preprocessing(spacing=8.0, shape=(20, 26, 22))


def averaged(volume: Volume, times: int) -> Volume:
    """The average over blocks of voxels, in their middle."""
    x, y, z = (n // times for n in volume.shape)
    data = volume.data[0, : x * times, : y * times, : z * times].astype(np.float32)
    blocks = data.reshape(x, times, y, times, z, times).mean((1, 3, 5))
    affine = volume.affine @ np.diag([times, times, times, 1.0])
    affine[:3, 3] = apply_affine(volume.affine, np.full(3, (times - 1) / 2))
    return Volume(blocks[None], affine)


def test_a_finer_grid_keeps_the_place_and_the_averages() -> None:
    """Nearer to the truth than nearest neighbours, and averaged again it is the scan."""
    noise = np.random.default_rng(0)
    x, y, z = np.indices((24, 20, 28)) / 4
    truth = Volume((np.sin(x) + np.cos(y + z) + 0.05 * noise.standard_normal(x.shape))[None] + 3, np.diag([2, 2, 2, 1]))
    coarse = averaged(truth, 2)
    fine = upsampled(coarse, 2.0)
    assert fine.shape == truth.shape
    np.testing.assert_allclose(fine.affine, truth.affine, atol=1e-9)
    inner = (0, *(slice(4, -4),) * 3)
    repeated = coarse.data[0].repeat(2, 0).repeat(2, 1).repeat(2, 2)
    wrong = [float(np.square(one - truth.data[0])[inner[1:]].mean()) for one in (fine.data[0], repeated)]
    assert wrong[0] < 0.2 * wrong[1]
    again = averaged(fine, 2).data[0]
    np.testing.assert_allclose(again[2:-2, 2:-2, 2:-2], coarse.data[0][2:-2, 2:-2, 2:-2], atol=0.03)
    slabs = upsampled(Volume(coarse.data, np.diag([2.0, 2.0, 6.0, 1.0])), 2.0)
    assert slabs.shape == (12, 10, 42)
    assert slabs.spacing == pytest.approx((2, 2, 2))


@pytest.mark.parametrize("spacing", [(0.5, 0.5, 5.0), (0.9, 5.0, 0.9), (3.0, 1.3, 1.0), (0.47, 0.47, 0.47)])
def test_axes_with_smaller_voxels_are_averaged_and_stay_in_place(spacing: tuple[float, float, float]) -> None:
    """Noise falls, what is finer than the new voxels makes no pattern, and a ball stays where it is."""
    shape = tuple(round(60 / size) for size in spacing)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = (-20, 5, 7)
    noise = Volume(np.random.default_rng(0).standard_normal((1, *shape)) + 100, affine)
    fine = upsampled(coarsened(noise, 2.0), 2.0)
    assert fine.spacing == pytest.approx((2, 2, 2))
    assert fine.data.mean() == pytest.approx(100, abs=0.1)
    assert coarsened(noise, 2.0).data.std() < 1.25 * np.prod([min(1, size / 2) for size in spacing]) ** 0.5
    places = [np.arange(n) * size for n, size in zip(shape, spacing, strict=True)]
    for axis, (place, size) in enumerate(zip(places, spacing, strict=True)):
        if size < 0.9:  # it can hold a grating of 1.9 mm
            grating = 100 + 10 * np.cos(2 * np.pi * place / 1.9)
            data = np.broadcast_to(grating.reshape([-1 if i == axis else 1 for i in range(3)]), shape)
            made = upsampled(coarsened(Volume(data[None], affine), 2.0), 2.0)
            assert np.ptp(made.data[0][(slice(5, -5),) * 3]) < 5  # 20 where voxels are picked
    x, y, z = np.meshgrid(*places, indexing="ij")
    ball = Volume(np.exp(-((x - 28) ** 2 + (y - 31) ** 2 + (z - 30) ** 2) / 150)[None], affine)
    made = upsampled(coarsened(ball, 2.0), 2.0)
    middles = [apply_affine(one.affine, ndimage.center_of_mass(one.data[0])) for one in (ball, made)]
    np.testing.assert_allclose(*middles, atol=0.1)


def test_a_scan_without_smaller_voxels_is_not_averaged() -> None:
    scan = Volume(np.ones((1, 4, 5, 6), np.int16), np.diag([2.0, 1.9, 6.0, 1.0]))
    assert coarsened(scan, 2.0) is scan


def test_a_coarse_scan_gets_the_voxel_size_of_the_model(tmp_path: Path, tmp_runs: Path) -> None:
    level = LevelConfig(unet=UNetConfig(widths=(8,), blocks=(1,), attention=(False,)), steps=2, refinement=0.3)
    cascade = Cascade(CascadeConfig(shape=(40, 52, 44), spacing=4.0, depth=1, levels=(level,) * 2)).eval()
    with torch.no_grad():
        cascade.level(1).std.fill_(0.01)
    settings = Preprocessing(spacing=4.0, shape=(40, 52, 44))
    save_model(cascade, tmp_path / "toy", {"name": "toy", "preprocessing": settings.model_dump(mode="json")})
    truth = load_volume(sample_t1_path())
    coarse = averaged(truth, 3)
    save_volume(coarse, tmp_path / "coarse.nii.gz")
    request = EditRequest(
        scan=tmp_path / "coarse.nii.gz",
        super_resolution=True,
        model=str(tmp_path / "toy"),
        out=tmp_path / "out",
        device="cpu",
    )
    (event,) = (one for one in edit(request, Run.create(request)) if isinstance(one, ArtifactWritten))
    made = load_volume(event.path)
    assert made.spacing == pytest.approx((4, 4, 4), abs=1e-4)
    plain = upsampled(coarse, 4.0)
    np.testing.assert_allclose(made.affine, plain.affine, atol=1e-4)
    brain = plain.data[0] > 0.3 * plain.data.max()
    assert np.abs(made.data[0] - plain.data[0])[brain].mean() > 0.01 * plain.data.max()
    kept, lost = averages_kept(coarse, made), averages_kept(coarse, Volume(np.zeros_like(made.data), made.affine))
    assert np.corrcoef(kept.data[0][brain], made.data[0][brain])[0, 1] > 0.99  # the averages were those of the scan
    np.testing.assert_allclose(lost.data, plain.data)
