"""SSIM, MS-SSIM and PSNR equal MONAI's."""

import numpy as np
import pytest
import torch
from monai.metrics import MultiScaleSSIMMetric, PSNRMetric, SSIMMetric
from scipy.ndimage import gaussian_filter

from braindiffusion.evaluation.metrics import similarity
from braindiffusion.example_data import sample_t1_path
from braindiffusion.volume import load_volume


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    """Two smooth volumes that differ by noise, odd and even groups, (46, 45, 44): three scales."""
    rng = np.random.default_rng(0)
    a = gaussian_filter(rng.normal(size=(46, 45, 44)), 2)
    a = (a - a.min()) / np.ptp(a)
    b = np.clip(a + 0.05 * rng.normal(size=a.shape), 0, 1)
    return a.astype(np.float32), b.astype(np.float32)


def tensors(pair: tuple[np.ndarray, np.ndarray]) -> list[torch.Tensor]:
    return [torch.from_numpy(each)[None, None] for each in pair]


def test_psnr(pair: tuple[np.ndarray, np.ndarray]) -> None:
    assert similarity.psnr(*pair) == pytest.approx(PSNRMetric(1.0)(*tensors(pair)).item(), abs=1e-3)
    assert similarity.psnr(pair[0], pair[0]) == np.inf


def test_ssim(pair: tuple[np.ndarray, np.ndarray]) -> None:
    expected = SSIMMetric(3, data_range=1.0, win_size=11)(*tensors(pair)).item()
    assert similarity.ssim(*pair) == pytest.approx(expected, abs=1e-4)
    assert similarity.ssim(pair[0], pair[0]) == pytest.approx(1, abs=1e-6)


def test_ms_ssim(pair: tuple[np.ndarray, np.ndarray]) -> None:
    count = similarity.scales(pair[0].shape)
    assert count == 3
    weights = np.array(similarity.WEIGHTS[:count]) / sum(similarity.WEIGHTS[:count])
    metric = MultiScaleSSIMMetric(3, data_range=1.0, kernel_size=11, weights=tuple(weights))
    even = tuple(each[:44, :44, :44] for each in pair)
    # MONAI asks for more room than its windows need (groups above 10 * 2^2): 44 has it.
    assert similarity.ms_ssim(*even) == pytest.approx(metric(*tensors(even)).item(), abs=1e-4)
    assert similarity.ms_ssim(pair[0], pair[0]) == pytest.approx(1, abs=1e-6)


def test_as_many_scales_as_the_window_fits_into() -> None:
    assert similarity.scales((80, 104, 88)) == 3
    assert similarity.scales((176, 208, 176)) == 5
    with pytest.raises(ValueError, match="needs 11 voxels"):
        similarity.scales((10, 40, 40))


def test_two_real_brains_have_the_numbers_of_earlier_versions() -> None:
    """Measured with NumPy and SciPy alone, before PSNR and SSIM came from scikit-image."""
    a, b = (load_volume(sample_t1_path(i)).data[0, :64, :80, :60].astype(np.float32) / 255 for i in (0, 1))
    assert similarity.psnr(a, b) == pytest.approx(13.5235364, abs=1e-5)
    assert similarity.ssim(a, b) == pytest.approx(0.2849303, abs=1e-5)
    assert similarity.ms_ssim(a, b) == pytest.approx(0.4483439, abs=1e-5)
