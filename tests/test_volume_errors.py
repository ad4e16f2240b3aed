"""Files that make no sense: one sentence each, with the file's name in it."""

import gzip
import logging
import re
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from nibabel import imageglobals

from braindiffusion import nifti
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.outputs import says_it_is_ours
from braindiffusion.volume import Volume, load_volume, read_header, save_volume

ONES = np.ones((3, 4, 5), np.float32)


def _nifti(path: Path, data: np.ndarray = ONES, affine: np.ndarray | None = None) -> Path:
    nib.save(nib.Nifti1Image(data, np.eye(4) if affine is None else affine), path)
    return path


def _with_header(path: Path, **fields: object) -> Path:
    """A file whose header was damaged after it was written."""
    _nifti(path)
    raw = bytearray(path.read_bytes())
    header = nib.Nifti1Header(bytes(raw[:348]), check=False)
    for name, value in fields.items():
        header[name] = value
    raw[:348] = header.binaryblock
    path.write_bytes(bytes(raw))
    return path


def _missing(folder: Path) -> Path:
    return folder / "a.nii"


def _folder(folder: Path) -> Path:
    (folder / "a.nii").mkdir()
    return folder / "a.nii"


def _text(folder: Path) -> Path:
    (folder / "a.nii").write_text("not a volume")
    return folder / "a.nii"


def _empty_file(folder: Path) -> Path:
    (folder / "a.nii.gz").write_bytes(b"")
    return folder / "a.nii.gz"


def _other_name(folder: Path) -> Path:
    (folder / "a.tif").write_bytes(b"II*")
    return folder / "a.tif"


def _flat(folder: Path) -> Path:
    return _nifti(folder / "a.nii", np.ones((3, 4), np.float32))


def _zero(folder: Path) -> Path:
    return _with_header(folder / "a.nii", dim=[3, 3, 0, 5, 1, 1, 1, 1])


def _two_extra_axes(folder: Path) -> Path:
    return _nifti(folder / "a.nii", np.ones((3, 4, 5, 2, 3), np.float32))


def _colour(folder: Path) -> Path:
    rgb = np.zeros((3, 4, 5), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    return _nifti(folder / "a.nii", rgb)


def _complex(folder: Path) -> Path:
    return _nifti(folder / "a.nii", ONES.astype(np.complex64))


def _no_orientation(folder: Path) -> Path:
    return _with_header(folder / "a.nii", sform_code=0, qform_code=0)


def _singular(folder: Path) -> Path:
    return _with_header(folder / "a.nii", srow_z=[1, 0, 0, 0])


def _zero_column(folder: Path) -> Path:
    return _with_header(folder / "a.nii", srow_z=[0, 0, 0, 0])


def _nan_affine(folder: Path) -> Path:
    return _with_header(folder / "a.nii", srow_x=[np.nan, 0, 0, 0])


def _analyze(folder: Path) -> Path:
    nib.save(nib.Spm99AnalyzeImage(ONES, np.eye(4)), folder / "a.img")
    return folder / "a.img"


def _pixdim_zero(folder: Path) -> Path:
    return _with_header(folder / "a.nii", sform_code=0, qform_code=1, pixdim=[1, 0, 0, 0, 1, 1, 1, 1])


def _pixdim_negative(folder: Path) -> Path:
    return _with_header(folder / "a.nii", sform_code=0, qform_code=1, pixdim=[1, 2, -2, 2, 1, 1, 1, 1])


def _voxels_in_header(folder: Path) -> Path:
    return _with_header(folder / "a.nii", vox_offset=0)


def _no_ras_flag(folder: Path) -> Path:
    nib.save(nib.MGHImage(ONES, np.eye(4)), folder / "a.mgz")
    raw = bytearray(gzip.decompress((folder / "a.mgz").read_bytes()))
    raw[28:30] = b"\0\0"
    (folder / "a.mgz").write_bytes(gzip.compress(raw))
    return folder / "a.mgz"


HEADERS = {
    _missing: "does not exist",
    _folder: "is a folder, not a file",
    _text: "could not be read",
    _empty_file: "could not be read",
    _other_name: "is no volume by its name",
    _flat: r"has 2 dimensions \(3 x 4\)",
    _zero: r"is empty: its header says 3 x 0 x 5 voxels",
    _two_extra_axes: r"has time and channels at once \(3 x 4 x 5 x 2 x 3\)",
    _colour: "holds colours",
    _complex: "holds complex numbers",
    _no_orientation: "does not say how it lies in the head",
    _singular: "singular",
    _zero_column: "singular",
    _nan_affine: "holds NaN or infinite numbers",
    _pixdim_zero: r"has voxels of 0 x 0 x 0 mm \(pixdim\)",
    _pixdim_negative: r"has voxels of 2 x -2 x 2 mm \(pixdim\)",
    _voxels_in_header: "begin at byte 0, which is inside of its header",
    _no_ras_flag: "does not say how it lies in the head",
    _analyze: "does not tell left from right",
}


@pytest.mark.parametrize("read", [load_volume, read_header])
@pytest.mark.parametrize(("make", "message"), HEADERS.items(), ids=[make.__name__[1:] for make in HEADERS])
def test_senseless_headers(tmp_path, make, message, read):
    path = make(tmp_path)
    with pytest.raises(BrainDiffusionError, match=message) as raised:
        read(path)
    assert str(path) in str(raised.value)
    assert re.fullmatch(r"[^\n]+\.", str(raised.value))


def test_harmless_headers_are_read(tmp_path):
    path = _with_header(tmp_path / "a.nii", qform_code=0, pixdim=[1, 0, 0, 0, 1, 1, 1, 1])  # the sform places it
    assert load_volume(path).spacing == (1, 1, 1)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.mgz", "a.img.gz"])
def test_a_flipped_bit_in_a_compressed_file(tmp_path, name):
    """Decompression succeeds with other values: only the checksum at the very end tells."""
    noise = np.random.default_rng(0).integers(0, 200, (20, 20, 20), np.uint8)
    kind = {"a.mgz": nib.MGHImage, "a.img.gz": nib.Nifti1Pair}.get(name, nib.Nifti1Image)
    nib.save(kind(noise, np.eye(4)), tmp_path / name)
    np.testing.assert_array_equal(load_volume(tmp_path / name).data[0], noise)
    plain = bytearray(gzip.decompress((tmp_path / name).read_bytes()))
    whole = gzip.compress(plain, 0)
    place = whole.index(bytes(plain[-3000:-2900]))
    damaged = bytearray(whole)
    damaged[place] ^= 0x10
    (tmp_path / name).write_bytes(damaged)
    with pytest.raises(BrainDiffusionError, match=r"damaged, cut short .*CRC"):
        load_volume(tmp_path / name)


def test_a_bomb_behind_the_voxels(tmp_path, monkeypatch):
    monkeypatch.setattr(nifti, "_MOST_BEYOND", 2**22)
    path = _nifti(tmp_path / "a.nii")
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(path.read_bytes() + bytes(2**23)))
    with pytest.raises(BrainDiffusionError, match="far more than its header says"):
        load_volume(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.mgz", "a.img"])
def test_a_file_cut_short(tmp_path, name):
    path = tmp_path / name
    noise = np.random.default_rng(0).normal(size=(20, 20, 20)).astype(np.float32)
    kind = nib.MGHImage if name.endswith("mgz") else nib.Nifti1Pair if name.endswith("img") else nib.Nifti1Image
    nib.save(kind(noise, np.eye(4)), path)
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(BrainDiffusionError, match="damaged, cut short") as raised:
        load_volume(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers(tmp_path, value):
    data = ONES.copy()
    data[0, 1, 2] = data[2, 2, 2] = value
    path = _nifti(tmp_path / "a.nii.gz", data)
    with pytest.raises(
        BrainDiffusionError, match=r"a\.nii\.gz holds values that are not numbers \(NaN or infinite, 2 of "
    ):
        load_volume(path)
    assert read_header(path).shape == (3, 4, 5)


@pytest.mark.parametrize(
    "fields",
    [
        {"pixdim": [0, 1, 1, 1, 0, 0, 0, 0]},
        {"pixdim": [1, -1, 1, 1, 0, 0, 0, 0]},
        {"pixdim": [1, 0, 1, 1, 0, 0, 0, 0]},
        {"qform_code": 77},
        {"sform_code": 99},
        {"sizeof_hdr": 300},
        {"bitpix": 3},
        {"vox_offset": 357},
    ],
)
def test_remarks_of_nibabel_do_not_reach_the_terminal(tmp_path, fields, capfd, monkeypatch):
    monkeypatch.setattr(imageglobals.logger, "handlers", [logging.StreamHandler()])
    path = _with_header(tmp_path / "a.nii", **fields)
    capfd.readouterr()
    for read in (read_header, load_volume, nifti.header_description, says_it_is_ours):
        with suppress(BrainDiffusionError):
            read(path)
    assert capfd.readouterr() == ("", "")
    assert imageglobals.logger.filters == []


def test_a_missing_half_of_a_pair(tmp_path):
    nib.save(nib.Nifti1Pair(ONES, np.eye(4)), tmp_path / "a.img")
    (tmp_path / "a.hdr").unlink()
    with pytest.raises(BrainDiffusionError, match=r"a\.img could not be read"):
        load_volume(tmp_path / "a.img")


@pytest.mark.parametrize(
    ("name", "data", "dtype", "message"),
    [
        ("a.mgz", ONES, None, "saved as .nii.gz or .nii"),
        ("a.nii", ONES * 300, "uint8", "cannot be written as uint8: the values reach from 300"),
        ("a.nii", -ONES, "uint16", "cannot be written as uint16"),
        ("a.nii", ONES * np.nan, "int16", "cannot be written as int16"),
        ("a.nii", ONES.astype(np.complex64), None, "not complex64"),
        ("a.nii", ONES, "complex64", "not complex64"),
    ],
)
def test_volumes_that_cannot_be_written(tmp_path, name, data, dtype, message):
    with pytest.raises(BrainDiffusionError, match=message) as raised:
        save_volume(Volume(data[None], np.eye(4)), tmp_path / name, dtype=dtype)
    assert str(tmp_path / name) in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BrainDiffusionError, match="could not be written"):
        save_volume(Volume(ONES[None], np.eye(4)), tmp_path / "file" / "a.nii")


@pytest.mark.parametrize(
    ("shape", "affine", "message"),
    [
        ((3, 4, 5), np.eye(4), r"\(channels, x, y, z\)"),
        ((1, 3, 0, 5), np.eye(4), "none of them empty"),
        ((1, 3, 4, 5), np.eye(3), r"has the shape \(3, 3\)"),
        ((1, 3, 4, 5), np.diag([1.0, 0, 1, 1]), "singular"),
        ((1, 3, 4, 5), np.diag([1.0, 1, 1, 2]), "0 0 0 1"),
        ((1, 3, 4, 5), np.diag([1.0, 1, np.inf, 1]), "NaN or infinite"),
    ],
)
def test_volumes_that_are_none(shape, affine, message):
    with pytest.raises(BrainDiffusionError, match=message):
        Volume(np.ones(shape), affine)


def test_memory_is_not_taken_for_voxels_that_a_file_cannot_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = nib.Nifti1Header()
    header.set_data_shape((400, 400, 400))
    header["vox_offset"], header["magic"] = 352, b"n+1"
    header.set_sform(np.diag([1.0, 1, 1, 1]), 1)
    path = tmp_path / "bomb.nii.gz"
    with gzip.open(path, "wb") as file:
        file.write(header.binaryblock + bytes(4))
    with pytest.raises(BrainDiffusionError, match="cannot hold the 400 x 400 x 400 voxels"):
        load_volume(path)
    monkeypatch.setattr("braindiffusion.nifti._MOST_DEFLATED", 10**9)
    monkeypatch.setattr("braindiffusion.nifti.psutil.virtual_memory", lambda: SimpleNamespace(available=2**20))
    with pytest.raises(BrainDiffusionError, match=r"needs 0\.2 GB of memory"):
        load_volume(path)
