"""The encoder of fixed random weights: its input, with a package of the same functions, and the package itself."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.evaluation.encoders.uncnn import GRID, centred, load_uncnn
from braindiffusion.evaluation.sources import Brain


class Sums(torch.nn.Module):
    """The sum of each channel."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.shape == (1, 3, *GRID)
        return x.sum((2, 3, 4))


def load_model(device: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return Sums()


STUB = SimpleNamespace(
    load_model=load_model,
    scale_robust=lambda image: image,
    rank_filter=lambda image, size: 2 * image,
    norm=lambda image: image,
    sobel_mag=lambda image: 3 * image,
)


def brain(shape: tuple[int, int, int], spacing: float = 2.0) -> Brain:
    return Brain("p", np.random.default_rng(0).random(shape).astype(np.float32), None, spacing)


def test_brains_are_centred_and_not_interpolated() -> None:
    one = brain((80, 104, 88)).voxels
    out = centred(one)
    np.testing.assert_array_equal(out[5:85, 2:106, 1:89], one)
    assert np.count_nonzero(out) == np.count_nonzero(one)
    larger = brain((95, 109, 92)).voxels
    np.testing.assert_array_equal(centred(larger), larger[2:93, :, 1:92])


def test_three_channels_reach_the_network_and_the_global_generator_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uncnn", STUB)
    before = torch.get_rng_state()
    encode = load_uncnn()
    assert torch.equal(torch.get_rng_state(), before)
    one = brain((80, 104, 88))
    np.testing.assert_allclose(encode(one), one.voxels.sum() * np.array([1, 2, 3]), rtol=1e-4)
    with pytest.raises(BrainDiffusionError, match=r"voxels of 2 mm, and these have 1\.5 mm"):
        encode(brain((8, 8, 8), 1.5))


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uncnn", None)
    with pytest.raises(BrainDiffusionError, match=r"pip install 'napari-braindiffusion\[uncnn\]'"):
        load_uncnn()


@pytest.mark.slow
def test_the_package_gives_other_features_for_a_blurred_brain() -> None:
    pytest.importorskip("uncnn")
    one, encode = brain((80, 104, 88)), load_uncnn()
    features = encode(one)
    assert features.shape == (9664,)
    blurred = Brain("b", gaussian_filter(one.voxels, 1.0), None, 2.0)
    assert np.abs(features - encode(blurred)).mean() > 0.1 * np.abs(features).mean()
