"""Volume's door, held against nibabel: every voxel keeps its value and its place in the world."""

import gzip
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel as nib
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from nibabel.affines import apply_affine
from scipy.spatial.transform import Rotation

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.volume import Volume, load_volume, read_header, resample_to_ras, save_volume, to_ras

DTYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]


@st.composite
def affines(draw):
    """Oblique, left-handed, negative, anisotropic, permuted and plain ones, not a whole number among them."""
    angles = draw(st.tuples(*[st.floats(-180, 180)] * 3))
    kind = draw(st.sampled_from(["axes", "oblique", "sheared"]))
    rotation = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    if kind == "axes":
        rotation = np.eye(3)[:, draw(st.permutations(range(3)))]
    signs = np.array(draw(st.tuples(*[st.sampled_from([-1, 1])] * 3)))
    spacing = np.array(draw(st.tuples(*[st.floats(0.3, 6.5)] * 3)))
    affine = np.eye(4)
    affine[:3, :3] = rotation * signs * spacing
    if kind == "sheared":
        affine[:3, :3] = affine[:3, :3] @ (np.eye(3) + np.diag([draw(st.floats(0.02, 0.3))] * 2, 1))
    affine[:3, 3] = draw(st.tuples(*[st.floats(-200, 200)] * 3))
    return affine


@st.composite
def arrays(draw):
    shape = draw(st.tuples(*[st.integers(1, 5)] * 3))
    if draw(st.booleans()):
        shape += (draw(st.integers(2, 4)),)
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    if dtype.kind == "f":
        return rng.normal(scale=1000, size=shape).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, size=shape, dtype=dtype, endpoint=True)


def world_values(data: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every voxel's place (mm) and value (a row of channels), in an order that only the file's order decides."""
    places = apply_affine(affine, np.indices(data.shape[:3]).reshape(3, -1).T)
    return places, data.reshape(np.prod(data.shape[:3]), -1)


def assert_same_in_world(ours: Volume, image: nib.spatialimages.SpatialImage, **tolerance: float) -> None:
    """Look up each of our voxels in nibabel's image by its place in the world."""
    places, values = world_values(np.moveaxis(ours.data, 0, -1), ours.affine)
    indices = apply_affine(np.linalg.inv(image.affine), places)
    whole = np.rint(indices).astype(int)
    # NIfTI holds the affine in 32 bits: a few thousandths of a voxel at the ends of the box.
    np.testing.assert_allclose(indices, whole, atol=5e-3)
    # All voxels, each once.
    assert len(np.unique(whole, axis=0)) == np.prod(image.shape[:3])
    theirs = np.asanyarray(image.dataobj)[tuple(whole.T)].reshape(len(whole), -1)
    if tolerance:
        np.testing.assert_allclose(values, theirs, **tolerance)
    else:
        np.testing.assert_array_equal(values, theirs)


@given(
    data=arrays(),
    affine=affines(),
    suffix=st.sampled_from([".nii", ".nii.gz", ".img"]),
    version=st.sampled_from([1, 2]),
)
@settings(max_examples=60, deadline=None)
def test_reads_what_nibabel_wrote(data, affine, suffix, version):
    kinds = {
        (1, True): nib.Nifti1Pair,
        (2, True): nib.Nifti2Pair,
        (1, False): nib.Nifti1Image,
        (2, False): nib.Nifti2Image,
    }
    image = kinds[version, suffix == ".img"](data, affine, dtype=data.dtype)
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"brain{suffix}"
        nib.save(image, path)
        ours = load_volume(path)
        header = read_header(path)
        again = nib.load(path)
        assert_same_in_world(ours, again)
        canonical = nib.as_closest_canonical(again)
        assert ours.data.dtype == data.dtype
        assert nib.aff2axcodes(ours.affine) == ("R", "A", "S")
        np.testing.assert_allclose(ours.affine, canonical.affine, atol=1e-6)
        np.testing.assert_allclose(ours.spacing, canonical.header.get_zooms()[:3], rtol=1e-5)
        assert header.shape == ours.shape == canonical.shape[:3]
        assert header.spacing == ours.spacing
        assert header.channels == ours.channels == (data.shape[3] if data.ndim == 4 else 1)
        assert header.orientation == ours.metadata["orientation"] == "".join(nib.aff2axcodes(again.affine))
        assert header.dtype == data.dtype
        np.testing.assert_array_equal(header.affine, ours.affine)


@given(data=arrays(), affine=affines(), suffix=st.sampled_from([".nii", ".nii.gz"]))
@settings(max_examples=60, deadline=None)
def test_nibabel_reads_what_we_wrote(data, affine, suffix):
    channels = np.moveaxis(data.reshape(*data.shape[:3], -1), -1, 0)
    volume = Volume(*to_ras(channels, affine))
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"brain{suffix}"
        save_volume(volume, path)
        image = nib.load(path)
        assert_same_in_world(volume, image)
        # ... and in the world of the array that went in, whatever its orientation.
        assert_same_in_world(volume, nib.Nifti1Image(data, affine, dtype=data.dtype))
        assert image.header.get_xyzt_units()[0] == "mm"
        if not np.allclose(affine[:3, :3].T @ affine[:3, :3], np.diag(np.diag(affine[:3, :3].T @ affine[:3, :3]))):
            assert image.header["qform_code"] == 0
        else:
            np.testing.assert_allclose(image.header.get_qform(), image.header.get_sform(), atol=1e-2)
        twice = load_volume(path)
        np.testing.assert_array_equal(twice.data, volume.data)
        np.testing.assert_allclose(twice.affine, volume.affine, atol=1e-4)


@given(
    slope=st.floats(1e-3, 1e3),
    inter=st.floats(-1e6, 1e6),
    dtype=st.sampled_from(["uint8", "int16", "uint16", "int32"]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_scaled_values_are_nibabels(slope, inter, dtype, seed):
    stored = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (3, 4, 2)).astype(dtype)
    assume(np.ptp(stored) > 0)
    image = nib.Nifti1Image(stored, np.diag([-2.0, 2, 2, 1]))
    image.header.set_slope_inter(slope, inter)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "scaled.nii"
        # nibabel recomputes the scaling when it saves values, so the stored integers are put there as they are.
        header = image.header.copy()
        header["scl_slope"], header["scl_inter"], header["vox_offset"] = slope, inter, 352
        path.write_bytes(header.binaryblock + b"\x00" * (352 - 348) + stored.tobytes(order="F"))
        expected = nib.load(path).get_fdata()
        ours = load_volume(path)
    assert ours.data.dtype.kind == "f"
    # What is lost is at most a hundredth of the distance between two stored values.
    np.testing.assert_allclose(ours.data[0], expected[::-1], rtol=0, atol=slope / 100)


@given(affine=affines(), seed=st.integers(0, 1000), dtype=st.sampled_from(["uint8", "int32", "float32", "int16"]))
@settings(max_examples=40, deadline=None)
def test_reads_mgh_as_nibabel_does(affine, seed, dtype):
    assume(
        np.allclose(np.diag(np.diag(affine[:3, :3].T @ affine[:3, :3])), affine[:3, :3].T @ affine[:3, :3], atol=1e-6)
    )
    data = np.random.default_rng(seed).integers(0, 127, (3, 4, 5)).astype(dtype)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "brain.mgz"
        nib.save(nib.MGHImage(data, affine), path)
        ours = load_volume(path)
        assert ours.data.dtype == np.dtype(dtype)  # native, though MGH is big-endian
        assert ours.data.dtype.isnative
        assert_same_in_world(ours, nib.load(path))


def test_real_files_are_nibabels(shared_data):
    paths = [
        shared_data / "ixi-2mm/IXI-T1/IXI012-HH-1211-T1.nii.gz",
        shared_data / "ixi-2mm/labels/IXI012-HH-1211-T1_DLMUSE.nii.gz",
        shared_data / "ds002748/sub-53/anat/sub-53_T1w.nii.gz",
    ]
    for path in paths:
        ours = load_volume(path)
        canonical = nib.as_closest_canonical(nib.load(path))
        np.testing.assert_allclose(ours.data[0], canonical.get_fdata(), rtol=1e-6)
        np.testing.assert_allclose(ours.affine, canonical.affine, atol=1e-6)
    assert load_volume(paths[0]).metadata["orientation"] == "PSR"


def test_a_fifth_axis_is_read_when_it_is_the_only_one_with_anything_on_it(tmp_path):
    data = np.arange(2 * 3 * 4 * 5, dtype=np.int16).reshape(2, 3, 4, 1, 5)
    nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / "field.nii")
    ours = load_volume(tmp_path / "field.nii")
    np.testing.assert_array_equal(ours.data, np.moveaxis(data[:, :, :, 0], -1, 0))
    assert read_header(tmp_path / "field.nii").channels == 5


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1000.0), ("micron", 0.001), ("mm", 1.0), ("unknown", 1.0)])
def test_other_units_become_millimetres(tmp_path, unit, factor):
    image = nib.Nifti1Image(np.ones((2, 3, 4), np.uint8), np.diag([2.0, 3, 4, 1]) / factor)
    image.header.set_xyzt_units(unit)
    nib.save(image, tmp_path / "brain.nii")
    np.testing.assert_allclose(load_volume(tmp_path / "brain.nii").spacing, (2, 3, 4), rtol=1e-6)
    np.testing.assert_allclose(read_header(tmp_path / "brain.nii").spacing, (2, 3, 4), rtol=1e-6)


def test_time_and_kind_survive(tmp_path):
    image = nib.Nifti1Image(np.ones((2, 3, 4, 5), np.int16), np.eye(4))
    image.header.set_xyzt_units("mm", "msec")
    image.header.set_zooms((1, 1, 1, 1500))
    image.header.set_intent("label")
    nib.save(image, tmp_path / "in.nii")
    volume = load_volume(tmp_path / "in.nii")
    assert volume.metadata["time_step"] == pytest.approx(1.5)
    assert volume.metadata["kind"] == "labels"
    save_volume(volume, tmp_path / "out.nii.gz")
    written = nib.load(tmp_path / "out.nii.gz").header
    assert written.get_zooms()[3] == pytest.approx(1500)
    assert written.get_xyzt_units() == ("mm", "msec")
    assert written.get_intent()[0] == "label"


def test_the_space_of_the_coordinates_survives(tmp_path):
    image = nib.Nifti1Image(np.ones((2, 3, 4), np.int16), np.diag([-1.0, 1, 1, 1]))
    image.set_sform(image.affine, 4)
    image.set_qform(image.affine, 0)
    nib.save(image, tmp_path / "mni.nii")
    save_volume(load_volume(tmp_path / "mni.nii"), tmp_path / "out.nii")
    written = nib.load(tmp_path / "out.nii").header
    assert (written["sform_code"], written["qform_code"]) == (4, 4)


@pytest.mark.parametrize(
    ("data", "dtype", "stored"),
    [
        (np.array([True, False]), None, "uint8"),
        (np.array([0.5, -1], np.float16), None, "float32"),
        (np.array([3, 207], np.int64), None, "int32"),
        (np.array([3, 2**40], np.int64), None, "int64"),
        (np.array([1.6, 254.9]), "uint8", "uint8"),
        (np.array([0.1, 0.2]), "float32", "float32"),
    ],
)
def test_stored_types(tmp_path, data, dtype, stored):
    save_volume(Volume(data.reshape(1, 2, 1, 1), np.eye(4)), tmp_path / "a.nii", dtype=dtype)
    image = nib.load(tmp_path / "a.nii")
    assert image.get_data_dtype() == np.dtype(stored)
    assert (image.dataobj.slope, image.dataobj.inter) == (1, 0)
    expected = np.rint(data.astype(float)) if stored == "uint8" else data.astype(float)
    np.testing.assert_allclose(image.get_fdata().ravel(), expected, rtol=1e-7)


def test_equal_volumes_make_equal_files(tmp_path):
    volume = Volume(np.random.default_rng(0).normal(size=(1, 6, 7, 8)).astype(np.float32), np.eye(4))
    save_volume(volume, tmp_path / "new folder" / "a.nii.gz")
    save_volume(volume, tmp_path / "b.nii.gz")
    zipped = (tmp_path / "b.nii.gz").read_bytes()
    assert (tmp_path / "new folder" / "a.nii.gz").read_bytes() == zipped
    assert zipped[3] == 0  # no file name in the gzip header ...
    assert zipped[4:8] == b"\x00" * 4  # ... and no time


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.nii.gz"
    save_volume(Volume(np.ones((1, 2, 2, 2), np.uint8), np.eye(4)), path)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(BrainDiffusionError, match=r"a\.nii\.gz could not be written \(No space left on device\)"):
        save_volume(Volume(np.zeros((1, 2, 2, 2), np.uint8), np.eye(4)), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.nii.gz"]


def test_loaded_data_are_free_of_the_file(tmp_path):
    path = tmp_path / "a.nii"
    save_volume(Volume(np.ones((1, 2, 3, 4), np.float32), np.eye(4)), path)
    volume = load_volume(path)
    volume.data[:] = 7  # writable, and not a map of the file
    path.write_bytes(gzip.compress(b"something else"))
    assert volume.data.min() == 7
    assert not isinstance(volume.data, np.memmap)


@given(
    angles=st.tuples(*[st.floats(-40, 40)] * 3),
    spacing=st.tuples(*[st.floats(0.5, 3)] * 3),
    gradient=st.tuples(*[st.floats(-1, 1)] * 3),
)
@settings(max_examples=30, deadline=None)
def test_resampling_to_ras_keeps_every_value_at_its_place(angles, spacing, gradient):
    """A linear function of the place in mm is resampled without error, wherever the oblique volume was."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * spacing
    affine[:3, 3] = (-20, 5, 80)
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in (9, 10, 11)], indexing="ij"), axis=-1)
    data = apply_affine(affine, grid) @ gradient
    assume(np.ptp(data) > 1e-3)
    resampled = resample_to_ras(Volume(data[None], affine))
    np.testing.assert_allclose(resampled.affine[:3, :3], np.diag(resampled.spacing), atol=1e-5)
    places = np.stack(np.meshgrid(*[np.arange(n) for n in resampled.shape], indexing="ij"), axis=-1)
    world = apply_affine(resampled.affine, places)
    inside = np.all((voxels := apply_affine(np.linalg.inv(affine), world)) >= 0, axis=-1)
    inside &= np.all(voxels <= np.array([8, 9, 10]), axis=-1)
    assert inside.sum() > 50
    np.testing.assert_allclose(resampled.data[0][inside], (world @ gradient)[inside], atol=1e-6)
    assert resample_to_ras(resampled) is resampled


def test_resampled_label_maps_hold_no_new_values():
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("z", 30, degrees=True).as_matrix() * 2
    labels = np.zeros((1, 12, 12, 12), np.uint8)
    labels[0, 3:9, 3:9, 3:9] = 47
    resampled = resample_to_ras(Volume(labels, affine, {"kind": "labels"}))
    assert set(np.unique(resampled.data)) == {0, 47}
    assert resampled.data.dtype == np.uint8
    assert (resampled.data == 47).sum() == pytest.approx((labels == 47).sum(), rel=0.1)


def test_description_and_unit_of_time_survive(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((3, 4, 5, 6), np.float32), np.eye(4))
    image.header["descrip"] = b"te=30;phase=j"
    image.header.set_zooms((1, 1, 1, 720.0))
    image.header.set_xyzt_units("mm", "msec")
    nib.save(image, tmp_path / "in.nii.gz")
    volume = load_volume(tmp_path / "in.nii.gz")
    assert (volume.metadata["time_step"], volume.metadata["time_unit"]) == (pytest.approx(0.72), "msec")
    save_volume(volume, tmp_path / "out.nii.gz")
    header = nib.load(tmp_path / "out.nii.gz").header
    assert header["descrip"].item() == b"te=30;phase=j"
    assert header.get_zooms()[3] == pytest.approx(720.0)
    assert header.get_xyzt_units() == ("mm", "msec")
    save_volume(Volume(volume.data[:1], volume.affine, {"description": "é" * 200}), tmp_path / "long.nii.gz")
    assert nib.load(tmp_path / "long.nii.gz").header["descrip"].item() == b"\xe9" * 79


def test_the_unit_of_time_of_one_volume_survives(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((3, 4, 5), np.float32), np.eye(4))
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, tmp_path / "in.nii.gz")
    save_volume(load_volume(tmp_path / "in.nii.gz"), tmp_path / "out.nii.gz")
    assert nib.load(tmp_path / "out.nii.gz").header.get_xyzt_units() == ("mm", "sec")


@pytest.mark.parametrize("letter", ["y", "é"])
def test_names_as_long_as_names_can_be(tmp_path: Path, letter: str) -> None:
    stem = letter * (248 // len(letter.encode()))
    path = tmp_path / f"{stem}.nii.gz"
    save_volume(Volume(np.ones((1, 3, 4, 5), np.float32), np.eye(4)), path)
    assert load_volume(path).shape == (3, 4, 5)
    assert list(tmp_path.iterdir()) == [path]
