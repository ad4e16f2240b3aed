"""The features of a label map: a mean over the voxels of each site, however they are added up."""

import numpy as np
import pytest
import torch

from braindiffusion.models.cascade.conditioning import MapEncoder

LABELS, WIDTH, UNASKED = 5, 24, 255


def mean_of_vectors(encoder: MapEncoder, labels: np.ndarray, voxels: int) -> np.ndarray:
    """The definition, voxel by voxel: (width, x, y, z) of a map (x, y, z) that is read everywhere."""
    vectors = encoder.vectors.weight.detach().numpy()
    out = np.zeros((WIDTH, *(n // voxels for n in labels.shape)), np.float32)
    for place in np.ndindex(labels.shape):
        if labels[place] != UNASKED:
            upper = [2 * (n % voxels) >= voxels for n in place] if voxels > 1 else [0, 0, 0]
            octant = 4 * upper[0] + 2 * upper[1] + upper[2]
            out[(slice(None), *(n // voxels for n in place))] += vectors[octant * LABELS + labels[place]]
    return out / voxels**3


@pytest.mark.parametrize("voxels", [1, 2, 4, 8])
def test_features_are_the_mean_over_all_voxels_of_a_site(voxels: int) -> None:
    rng = np.random.default_rng(voxels)
    encoder = MapEncoder(LABELS, voxels, WIDTH, places=voxels)
    labels = rng.choice([*range(LABELS), UNASKED], (2 * voxels, 3 * voxels, voxels)).astype(np.uint8)
    expected = mean_of_vectors(encoder, labels, voxels)
    found = encoder(torch.from_numpy(labels)[None])[0].detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_counted_labels_have_the_gradient_of_added_vectors() -> None:
    encoder = MapEncoder(LABELS, 8, WIDTH, places=8)
    labels = torch.randint(0, LABELS + 1, (2, 16, 16, 16), dtype=torch.uint8)
    gradients = []
    for counts in (True, False):
        encoder._counts = counts
        encoder.zero_grad()
        encoder(labels).square().sum().backward()
        gradients.append(encoder.vectors.weight.grad.clone())
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-4)


def test_a_site_may_be_read_at_fewer_places() -> None:
    """As models of earlier versions were trained: every other voxel of a site of eight."""
    encoder = MapEncoder(LABELS, 8, WIDTH, places=4)
    labels = torch.randint(0, LABELS, (1, 16, 8, 8), dtype=torch.uint8)
    other = labels.clone()
    other[:, ::2] = UNASKED
    torch.testing.assert_close(encoder(labels), encoder(other))
