"""Heads that are moved: the same as TorchIO and ITK move them, all images and labels by one field."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch
import torchio as tio
from scipy.ndimage import map_coordinates

from braindiffusion.cohort.transforms import draw_bias
from braindiffusion.training.augment import Movement, move
from braindiffusion.training.patches import patch_centres

SHAPE, SPACING = (18, 22, 20), 8.0
STILL = ((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
TURNED = ((1.03, 0.97, 1.02), (4.0, -3.0, 2.0), (3.0, -5.0, 2.0))


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).random((2, *SHAPE), dtype=np.float32)) - 1


@pytest.fixture(scope="module")
def bend() -> np.ndarray:
    controls = np.zeros((7, 7, 7, 3))
    controls[2:-2, 2:-2, 2:-2] = np.random.default_rng(1).uniform(-9, 9, (3, 3, 3, 3))
    return controls


def displaced(bend: np.ndarray) -> np.ndarray:
    """Voxels from which each voxel takes its value, by ITK's B-spline."""
    size = [(n - 1) * SPACING for n in SHAPE]
    spline = sitk.BSplineTransform(3, 3)
    spline.SetTransformDomainOrigin([0.0, 0.0, 0.0])
    spline.SetTransformDomainPhysicalDimensions(size)
    spline.SetTransformDomainMeshSize([4, 4, 4])
    spline.SetParameters(bend.flatten(order="F").tolist())
    # ITK has nothing beyond the last plane itself
    points = [np.minimum(np.array(index) * SPACING, np.array(size) - 1e-6) for index in np.ndindex(*SHAPE)]
    moved = np.array([spline.TransformPoint(point.tolist()) for point in points]) / SPACING
    return moved.reshape(*SHAPE, 3).transpose(3, 0, 1, 2)


def test_bending_is_the_b_spline_of_itk(image: torch.Tensor, bend: np.ndarray) -> None:
    labels = (image[0] > -0.5).to(torch.uint8)
    (moved,), turned = move([image], labels, SPACING, Movement(*STILL, bend))
    places = displaced(bend)
    inside = (places > 0).all(0) & (places < np.array(SHAPE)[:, None, None, None] - 1).all(0)
    for channel in range(2):
        wanted = map_coordinates(image[channel].numpy(), places, order=1)
        np.testing.assert_allclose(moved[channel].numpy()[inside], wanted[inside], atol=1e-4)
    wanted = map_coordinates(labels.numpy(), places, order=0)
    assert turned is not None
    assert turned.dtype == torch.uint8
    assert (turned.numpy() != wanted)[inside].mean() < 1e-3  # but where a place is half-way between two voxels


def test_splines_are_those_of_scipy_and_keep_fine_texture(image: torch.Tensor, bend: np.ndarray) -> None:
    labels = (image[0] > -0.5).to(torch.uint8)
    (moved,), turned = move([image], labels, SPACING, Movement(*STILL, bend), "cubic")
    places = displaced(bend)
    inside = (places > 0).all(0) & (places < np.array(SHAPE)[:, None, None, None] - 1).all(0)
    for channel in range(2):
        wanted = map_coordinates(image[channel].numpy(), places, order=3)
        np.testing.assert_allclose(moved[channel].numpy()[inside], wanted[inside], atol=1e-3)
    assert turned is not None
    assert turned.dtype == torch.uint8
    assert set(turned.unique().tolist()) == {0, 1}
    (blurred,), _ = move([image], None, SPACING, Movement(*STILL, bend))
    kept, lost = (float(one[0].numpy()[inside].std() / image[0].numpy()[inside].std()) for one in (moved, blurred))
    assert lost < 0.75 < 0.85 < kept


def test_splines_of_a_brain_in_air_are_those_of_all_voxels(image: torch.Tensor, bend: np.ndarray) -> None:
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    ball = torch.from_numpy(np.where(x**2 + y**2 + z**2 < 0.2, image.numpy(), -1).astype(np.float32))
    (moved,), _ = move([ball], None, SPACING, Movement(*STILL, bend), "cubic")
    places = displaced(bend)
    for channel in range(2):
        wanted = map_coordinates(ball[channel].numpy(), places, order=3, mode="constant", cval=-1)
        np.testing.assert_allclose(moved[channel].numpy(), wanted, atol=0.01)  # ringing of a step of 2
    assert moved[:, 0, 0, 0].tolist() == [-1, -1]
    assert float((moved == -1).float().mean()) > 0.2


def test_splines_leave_a_head_that_is_not_moved(image: torch.Tensor) -> None:
    labels = (4 * (image[0] + 1)).to(torch.uint8)
    (still,), same = move([image], labels, SPACING, Movement(*STILL), "cubic")
    np.testing.assert_allclose(still.numpy(), image.numpy(), atol=1e-3)
    assert same is not None
    assert (same == labels).float().mean() > 0.999


def test_bending_by_nothing_turns_as_torchio_does(image: torch.Tensor) -> None:
    (turned,), _ = move([image], None, SPACING, Movement(*TURNED))
    affine = np.diag([SPACING, SPACING, SPACING, 1])
    torchio = tio.Affine(*TURNED, default_pad_value="minimum")(tio.ScalarImage(tensor=image, affine=affine)).data
    core = (slice(None), *(slice(4, -4),) * 3)
    torch.testing.assert_close(turned[core], torchio[core], atol=1e-5, rtol=0)
    (bent,), _ = move([image], None, SPACING, Movement(*TURNED, np.zeros((7, 7, 7, 3))))
    torch.testing.assert_close(bent, turned, atol=1e-5, rtol=0)


def test_all_images_and_labels_are_moved_alike(bend: np.ndarray) -> None:
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    ball = torch.from_numpy((x**2 + y**2 + z**2 < 0.4).astype(np.float32))
    for movement in (Movement(*TURNED), Movement(*TURNED, bend)):
        (one, other), labels = move([ball[None], 3 * ball[None]], ball.to(torch.uint8), SPACING, movement)
        torch.testing.assert_close(3 * one, other)
        assert labels is not None
        assert ((one[0] > 0.5) == labels.bool()).float().mean() > 0.98
        assert not torch.equal(labels, ball.to(torch.uint8))


def test_what_comes_in_from_outside_is_background(bend: np.ndarray) -> None:
    for movement in (Movement(*TURNED), Movement(*TURNED, bend)):
        (moved,), _ = move([torch.full((1, *SHAPE), -1.0)], None, SPACING, movement)
        torch.testing.assert_close(moved, torch.full((1, *SHAPE), -1.0))


def test_bias_is_smooth_positive_and_keeps_the_mean(image: torch.Tensor) -> None:
    ones = torch.ones(1, *SHAPE)
    field = draw_bias(ones, 0.3, np.random.default_rng(0))
    assert float(field.mean()) == pytest.approx(1, abs=1e-5)
    assert 0.1 < float(field.std()) < 1
    assert float(field.min()) > 0
    assert float(field.diff(dim=1).abs().max()) < 0.5
    assert torch.equal(draw_bias(ones, 0.3, np.random.default_rng(0)), field)
    torch.testing.assert_close(draw_bias(image + 1, 0.0, np.random.default_rng(0)), image + 1)


def test_patches_are_centred_where_torchio_centres_them() -> None:
    inside = torch.zeros(12, 10, 9)
    inside[1:9, 4:, 3:6] = 1
    size = (4, 5, 9)
    subject = tio.Subject(
        image=tio.ScalarImage(tensor=torch.rand(1, 12, 10, 9)), inside=tio.ScalarImage(tensor=inside[None])
    )
    sampler = tio.WeightedSampler(size, probability_map="inside")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        firsts = {tuple(patch[tio.LOCATION][:3].tolist()) for patch in sampler(subject, num_patches=800)}
    assert {tuple((centre - np.array(size) // 2).tolist()) for centre in patch_centres(inside, size)} == firsts
    assert patch_centres(inside * 0, size).tolist() == [[6, 5, 4]]
