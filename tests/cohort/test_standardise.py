"""Values and places, against nibabel, SciPy and what was put in."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine, from_matvec
from nibabel.eulerangles import euler2mat
from scipy import ndimage

from braindiffusion.cohort import transforms
from braindiffusion.cohort.preprocessing import Preprocessing, box_shape
from braindiffusion.cohort.standardise import standardise, standardise_file
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.example_data import sample_labels_path, sample_t1_path
from braindiffusion.volume import Volume

Heads = Callable[[int], tuple[np.ndarray, np.ndarray, np.ndarray]]
AT_4_MM = Preprocessing(spacing=4.0, shape=box_shape(4.0))


def as_volumes(head: tuple[np.ndarray, np.ndarray, np.ndarray]) -> tuple[Volume, Volume]:
    data, labels, affine = head
    return Volume(data[None], affine), Volume(labels[None], affine)


@pytest.mark.parametrize("index", range(6))
def test_every_voxel_of_a_real_brain_keeps_its_place(index: int) -> None:
    prepared = standardise_file(sample_t1_path(index), sample_labels_path(index), Preprocessing())
    original, regions = nib.load(sample_t1_path(index)), nib.load(sample_labels_path(index))
    assert prepared.volume.shape == (1, 80, 104, 88)
    assert prepared.labels is not None
    inside = np.argwhere(prepared.labels > 0)
    assert len(inside) == np.count_nonzero(regions.get_fdata())
    places = apply_affine(np.linalg.inv(regions.affine) @ prepared.affine, inside)
    voxels = np.rint(places).astype(int)
    np.testing.assert_allclose(places, voxels, atol=1e-4)
    np.testing.assert_array_equal(prepared.labels[tuple(inside.T)], regions.get_fdata()[tuple(voxels.T)])
    # Intensities: the same voxels, scaled by percentiles of the mask and clipped.
    values = original.get_fdata()[tuple(voxels.T)]
    everywhere = np.argwhere(prepared.mask)
    all_places = apply_affine(np.linalg.inv(original.affine) @ prepared.affine, everywhere)
    low, high = np.percentile(original.get_fdata()[tuple(np.rint(all_places).astype(int).T)], (0.5, 99.5))
    expected = np.clip((values - low) / (high - low) * 2 - 1, -1, 1)
    np.testing.assert_allclose(prepared.volume[0][tuple(inside.T)], expected, atol=2e-3)


@pytest.mark.parametrize("index", range(6))
def test_no_brain_is_cut_and_the_background_is_exact(index: int) -> None:
    prepared = standardise_file(sample_t1_path(index), sample_labels_path(index), Preprocessing())
    assert (prepared.volume[0][~prepared.mask] == -1).all()
    assert prepared.volume.min() == -1
    assert prepared.volume.max() == 1
    for axis in range(3):
        where = np.flatnonzero(prepared.mask.any(axis=tuple({0, 1, 2} - {axis})))
        before, after = where[0], prepared.mask.shape[axis] - 1 - where[-1]
        assert before > 0
        assert before - after in (0, 1)
    filled = ndimage.binary_fill_holes(prepared.mask)
    np.testing.assert_array_equal(filled, prepared.mask)


def test_one_hot_voxel_changes_nothing_else(head: Heads) -> None:
    volume, labels = as_volumes(head(0))
    before = standardise(volume, AT_4_MM, labels).volume
    hot = volume.data.copy()
    hot[0, 24, 27, 32] = 30000
    after = standardise(Volume(hot, volume.affine), AT_4_MM, labels).volume
    assert np.sort(np.abs(after.astype(float) - before).ravel())[-2] < 0.02


def test_whole_head_keeps_what_is_around_the_brain(head: Heads) -> None:
    volume, labels = as_volumes(head(0))
    kept = standardise(volume, AT_4_MM.model_copy(update={"skull": "keep"}), labels)
    stripped = standardise(volume, AT_4_MM, labels)
    np.testing.assert_array_equal(kept.volume[0][kept.mask], stripped.volume[0][stripped.mask])
    assert np.mean(kept.volume[0][~kept.mask] > 0.9) > 0.1  # the bright skull


def test_without_labels_the_mask_is_the_head(head: Heads) -> None:
    data, labels, affine = head(1)
    prepared = standardise(Volume(data[None], affine), AT_4_MM.model_copy(update={"skull": "keep"}))
    assert prepared.labels is None
    places = apply_affine(np.linalg.inv(prepared.affine) @ affine, np.argwhere(labels > 0))
    voxels = np.rint(places).astype(int)
    assert (voxels >= 0).all()
    assert (voxels < prepared.mask.shape).all()
    assert prepared.mask[tuple(voxels.T)].all()


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.7])
def test_resampling_holds_the_world_and_the_values(head: Heads, scale: float) -> None:
    # A smooth function of the world, sampled at one spacing, has to be that function at another.
    spacing = 4.0 * scale
    _, labels, affine = head(0)
    places = apply_affine(affine, np.moveaxis(np.indices(labels.shape), 0, -1))
    wave = np.array([0.021, 0.017, -0.019])
    volume = Volume((1000 + 300 * np.sin(places @ wave))[None].astype(np.float32), affine)
    how = Preprocessing(spacing=spacing, shape=box_shape(spacing))
    prepared = standardise(volume, how, Volume(labels[None], affine), own_mask=True)  # waves have no brain
    np.testing.assert_allclose(nib.affines.voxel_sizes(prepared.affine), spacing, rtol=1e-6)
    inner = np.argwhere(ndimage.binary_erosion(prepared.mask, iterations=2) & (np.abs(prepared.volume[0]) < 0.98))
    truth = np.sin(apply_affine(prepared.affine, inner) @ wave)
    got = prepared.volume[0][tuple(inner.T)].astype(float)
    slope, offset = np.polyfit(truth, got, 1)
    assert np.abs(slope * truth + offset - got).max() < 0.02
    assert slope > 1


def test_oblique_and_left_handed_files_keep_their_places(head: Heads, tmp_path: Path) -> None:
    data, labels, affine = head(2)
    angle = np.deg2rad(12)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = data.shape[0] - 1
    oblique = turn @ affine @ flip
    for name, array in (("t1.nii.gz", data), ("seg.nii.gz", labels)):
        nib.save(nib.Nifti1Image(array[::-1], oblique), tmp_path / name)
    prepared = standardise_file(tmp_path / "t1.nii.gz", tmp_path / "seg.nii.gz", AT_4_MM)
    assert prepared.labels is not None
    assert nib.aff2axcodes(prepared.affine) == ("R", "A", "S")
    inside = np.argwhere(prepared.labels > 0)
    voxels = np.rint(apply_affine(np.linalg.inv(turn @ affine) @ prepared.affine, inside)).astype(int)
    np.testing.assert_array_equal(prepared.labels[tuple(inside.T)], labels[tuple(voxels.T)])
    assert len(inside) == np.count_nonzero(labels)


def test_labels_on_another_grid_are_brought_over(head: Heads) -> None:
    volume, labels = as_volumes(head(0))
    double = labels.data.repeat(2, 1).repeat(2, 2).repeat(2, 3)
    affine = labels.affine @ np.diag([0.5, 0.5, 0.5, 1])
    affine[:3, 3] -= 1.0
    fine = standardise(volume, AT_4_MM, Volume(double, affine))
    same = standardise(volume, AT_4_MM, labels)
    np.testing.assert_array_equal(fine.labels, same.labels)
    np.testing.assert_allclose(fine.affine, same.affine)


def test_full_resolution_brain(shared_data: Path) -> None:
    path = shared_data / "ds002748" / "sub-53" / "anat" / "sub-53_T1w.nii.gz"
    prepared = standardise_file(path, None, Preprocessing(skull="keep"))
    assert prepared.volume.shape == (1, 80, 104, 88)
    assert nib.aff2axcodes(prepared.affine) == ("R", "A", "S")
    original = nib.load(path)
    # Each voxel against the mean of the original over its 2 mm, which needs neither TorchIO nor ITK.
    smooth = ndimage.gaussian_filter(original.get_fdata(dtype=np.float32), 0.85)
    inside = np.argwhere(ndimage.binary_erosion(prepared.mask, iterations=2))[::97]
    places = apply_affine(np.linalg.inv(original.affine) @ prepared.affine, inside)
    expected = ndimage.map_coordinates(smooth, places.T, order=1)
    assert np.corrcoef(expected, prepared.volume[0][tuple(inside.T)].astype(float))[0, 1] > 0.99
    # The volume is skull-stripped, so all that is not zero is brain, and none of it is cut.
    brain = np.argwhere(original.get_fdata(dtype=np.float32) > 100)
    voxels = apply_affine(np.linalg.inv(prepared.affine) @ original.affine, brain)
    assert (voxels > -0.5).all()
    assert (voxels < np.array(prepared.mask.shape) - 0.5).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data, labels: (data * 0, labels), "same value everywhere"),
        (lambda data, labels: (data, labels * 0), "label map is empty"),
        (lambda data, labels: (data, labels * 0.5), "other values than whole numbers"),
        (lambda data, labels: (data, labels.astype(int) * -1), "other values than whole numbers"),
        (lambda data, labels: (data, np.stack([labels, labels])), "label map holds 2 volumes"),
        (lambda data, labels: (np.stack([data, data]), labels), "holds 2 volumes"),
        (lambda data, labels: (data[:, :, :10], labels[:, :, :10]), "covers only 40 mm"),
        (lambda data, labels: (data // 10000, labels), "same value everywhere"),
        (lambda data, labels: (np.where(labels > 0, 7, data), labels), "one intensity"),
    ],
)
def test_odd_volumes(head: Heads, change: Callable[..., tuple[np.ndarray, np.ndarray]], message: str) -> None:
    data, labels, affine = head(0)
    data, labels = change(data, labels)
    volume = Volume(data.reshape(-1, *data.shape[-3:]), affine)
    with pytest.raises(BrainDiffusionError, match=message):
        standardise(volume, AT_4_MM, Volume(labels.reshape(-1, *labels.shape[-3:]), affine))


def test_a_brain_that_does_not_fit_is_not_cut(head: Heads) -> None:
    volume, labels = as_volumes(head(0))
    with pytest.raises(BrainDiffusionError, match="does not fit into the box of 96 x 96 x 96 mm"):
        standardise(volume, Preprocessing(spacing=4.0, shape=(24, 24, 24)), labels)


def test_labels_that_lie_elsewhere(head: Heads) -> None:
    volume, labels = as_volumes(head(0))
    affine = labels.affine.copy()
    affine[0, 3] += 1000
    with pytest.raises(BrainDiffusionError, match="lies elsewhere in the world"):
        standardise(volume, AT_4_MM, Volume(labels.data, affine))


def test_stripping_needs_labels(head: Heads) -> None:
    with pytest.raises(BrainDiffusionError, match="no label map to strip the skull with"):
        standardise(as_volumes(head(0))[0], AT_4_MM)


def test_the_sentence_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((50, 50, 50), np.uint8), np.diag([2.0, 2, 2, 1])), path)
    with pytest.raises(BrainDiffusionError, match=r"empty\.nii\.gz: the volume has the same value everywhere\.$"):
        standardise_file(path, None, Preprocessing(skull="keep"))


@pytest.mark.parametrize("spacing", [0.5, 0.8, 0.9375, 1.0, 1.2, 3.0, 4.0, (1.0, 1.0, 1.2), (1.0, 0.9, 4.0)])
@pytest.mark.parametrize("new", [1.0, 2.0])
def test_a_label_map_is_not_moved_against_its_image(spacing: float | tuple[float, ...], new: float) -> None:
    """Where voxels of the new grid lie between two of the old one, neither side of it is always taken."""
    sizes = np.broadcast_to(spacing, 3)
    affine = np.diag([*sizes, 1.0])
    affine[:3, 3] = (-30, -20.3, 5)
    shape = [round(60 / size) for size in sizes]
    axes = ((np.arange(n) - (n - 1) / 2) * size for n, size in zip(shape, sizes, strict=True))
    places = np.meshgrid(*axes, indexing="ij")
    ball = (sum(place**2 for place in places) < 17.3**2).astype(np.uint16)
    labels = ball * np.where(places[1] > 0, np.uint16(7), np.uint16(300))
    image, grid = transforms.resample(ball[None].astype(np.float32), affine, new)
    moved = transforms.resample_labels(labels, affine, image.shape[1:], grid)
    assert moved.dtype == labels.dtype
    middles = [apply_affine(at, ndimage.center_of_mass(one)) for one, at in ((moved > 0, grid), (image[0], grid))]
    np.testing.assert_allclose(*middles, atol=0.06)
    for value in (7, 300):
        before = np.count_nonzero(labels == value) * np.prod(sizes)
        after = np.count_nonzero(moved == value) * new**3
        assert after == pytest.approx(before, rel=0.05)


def test_labels_that_are_nearest_are_taken_as_they_are() -> None:
    """Voting is of ties alone: of an oblique grid, and of one without ties, each voxel has the label of the nearest."""
    labels = np.random.default_rng(0).integers(0, 9, (12, 14, 10)).astype(np.uint16)
    oblique = from_matvec(2 * euler2mat(0.1, 0.2, 0.3), (1, 2, 3))
    for target in (np.diag([1.31, 1.31, 1.31, 1.0]), oblique, from_matvec(np.eye(3), (0.2, 0, 0))):
        moved = transforms.resample_labels(labels, np.eye(4), (6, 6, 5), target)
        places = np.rint(apply_affine(target, np.argwhere(np.ones((6, 6, 5))))).astype(int)
        inside = ((places >= 0) & (places < labels.shape)).all(1)
        taken = np.where(inside, labels[tuple(np.where(inside[:, None], places, 0).T)], 0)
        np.testing.assert_array_equal(moved.ravel(), taken)
    doubled = labels.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    back = transforms.resample_labels(doubled, np.eye(4), labels.shape, from_matvec(2 * np.eye(3), [0.5] * 3))
    np.testing.assert_array_equal(back, labels)
