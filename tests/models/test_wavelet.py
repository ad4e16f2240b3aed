"""The Haar transform against SciPy's Hadamard matrix: it is the Hadamard transform of each 2 x 2 x 2 block."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import hadamard

from braindiffusion.models.cascade.wavelet import haar, inverse_haar

even = st.integers(1, 5).map(lambda n: 2 * n)


@settings(max_examples=20, deadline=None)
@given(st.tuples(even, even, even), st.integers(1, 3), st.integers(0, 2**31))
def test_inverse_is_exact_and_energy_is_kept(shape: tuple[int, int, int], channels: int, seed: int) -> None:
    volume = torch.randn(2, channels, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    bands = haar(volume)
    assert bands.shape == (2, 8, channels, *(n // 2 for n in shape))
    torch.testing.assert_close(inverse_haar(bands), volume, atol=1e-12, rtol=0)
    assert float(bands.square().sum()) == pytest.approx(float(volume.square().sum()), rel=1e-12)


def test_each_block_is_hadamard_transformed() -> None:
    volume = torch.randn(1, 1, 4, 6, 2, dtype=torch.float64)
    bands = haar(volume)[0, :, 0]
    matrix = hadamard(8) / np.sqrt(8)  # rows by the bits (x, y, z) that they difference
    for x, y, z in ((0, 0, 0), (1, 2, 0), (0, 1, 0)):
        block = volume[0, 0, 2 * x : 2 * x + 2, 2 * y : 2 * y + 2, 2 * z : 2 * z + 2].numpy().reshape(8)
        np.testing.assert_allclose(bands[:, x, y, z], matrix @ block, atol=1e-12)


def test_coarse_band_is_the_local_mean_times_the_root_of_eight() -> None:
    volume = torch.full((1, 1, 8, 8, 8), 0.7)
    for halvings in (1, 2, 3):
        volume = haar(volume)[:, 0]
        assert float(volume.mean()) == pytest.approx(0.7 * 8 ** (halvings / 2), rel=1e-5)


def test_odd_sides_are_refused() -> None:
    with pytest.raises(ValueError, match="even sides"):
        haar(torch.zeros(1, 1, 4, 5, 4))
