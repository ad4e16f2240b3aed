"""Opening and saving through napari itself: what is on the disk, is in the layer, is on the disk."""

import errno
import shutil
import threading
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from napari.layers import Image, Labels
from napari.utils.notifications import notification_manager
from nibabel.affines import apply_affine
from qtpy.QtCore import QTimer
from scipy.spatial.transform import Rotation

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.example_data import sample_labels_path, sample_t1_path
from braindiffusion.runs.sidecar import read_sidecar
from braindiffusion.volume import Volume, resample_to_ras
from napari_braindiffusion.engine import threads as background
from napari_braindiffusion.io import files as io
from napari_braindiffusion.io import sample_data as samples
from napari_braindiffusion.layers import files as layer_files
from napari_braindiffusion.layers import overlay as overlay_module
from napari_braindiffusion.layers.geometry import DISPLAY_TO_WORLD, place_of
from napari_braindiffusion.layers.overlay import rotated_layers

PLUGIN = "napari-braindiffusion"


@pytest.fixture
def oblique_file(tmp_path: Path) -> Path:
    """A left-handed, oblique, anisotropic scan."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", [10, -20, 5], degrees=True).as_matrix() * [-1.5, 2, 3]
    affine[:3, 3] = [40, -60, 20]
    path = tmp_path / "scan_T1w.nii.gz"
    nib.save(nib.Nifti1Image(np.random.default_rng(0).normal(size=(12, 10, 8)).astype(np.float32), affine), path)
    return path


def same_in_world(one: Path, other: Path) -> None:
    """Every voxel of one file lies, with its value, in the other."""
    first, second = nib.load(one), nib.load(other)
    assert np.prod(first.shape) == np.prod(second.shape)
    voxels = np.indices(first.shape[:3]).reshape(3, -1).T
    there = apply_affine(np.linalg.inv(second.affine) @ first.affine, voxels)
    np.testing.assert_allclose(there, np.rint(there), atol=1e-3)
    np.testing.assert_allclose(
        first.get_fdata()[tuple(voxels.T)], second.get_fdata()[tuple(np.rint(there).astype(int).T)], rtol=1e-6
    )


def test_a_real_brain_with_its_regions(viewer, tmp_path):
    image, labels = viewer.open_sample(PLUGIN, "real")
    assert isinstance(image, Image)
    assert isinstance(labels, Labels)
    assert [str(unit) for unit in viewer.layers.extent.units] == ["millimeter"] * 3
    np.testing.assert_allclose(image.scale, 2)
    np.testing.assert_array_equal(image.translate, labels.translate)
    # A brain in millimetres, on the whole.
    low, high = viewer.layers.extent.world
    assert (high - low > 120).all()
    assert (high - low < 200).all()
    image.save(str(tmp_path / "t1.nii.gz"), plugin=PLUGIN)
    labels.save(str(tmp_path / "regions.nii.gz"))
    same_in_world(sample_t1_path(), tmp_path / "t1.nii.gz")
    same_in_world(sample_labels_path(), tmp_path / "regions.nii.gz")


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii"])
def test_open_an_oblique_scan_and_save_it(viewer, oblique_file, tmp_path, suffix):
    (layer,) = viewer.open(oblique_file, plugin=PLUGIN)
    assert layer.name == "scan_T1w"
    saved = viewer.layers.save(str(tmp_path / f"saved{suffix}"), plugin=PLUGIN)
    assert saved == [str(tmp_path / f"saved{suffix}")]
    same_in_world(oblique_file, tmp_path / f"saved{suffix}")


def test_paint_on_an_oblique_scan_and_save_the_labels(viewer, oblique_file, tmp_path):
    viewer.open(oblique_file, plugin=PLUGIN)
    painted = viewer.add_labels(
        np.zeros(viewer.layers[0].data.shape, np.int64),
        scale=viewer.layers[0].scale,
        translate=viewer.layers[0].translate,
    )
    painted.data[2, 3, 4] = 207
    path = tmp_path / "mask.nii.gz"
    painted.save(str(path), plugin=PLUGIN)
    scan, mask = nib.as_closest_canonical(nib.load(oblique_file)), nib.load(path)
    np.testing.assert_allclose(mask.affine, scan.affine, atol=1e-4)
    assert mask.get_data_dtype() == np.uint8
    assert np.argwhere(np.asarray(mask.dataobj)).tolist() == [[2, 3, 4]]
    # The file itself says that it holds labels.
    (again,) = viewer.open(path, plugin=PLUGIN)
    assert isinstance(again, Labels)
    np.testing.assert_array_equal(again.data, painted.data)


def test_an_edited_scale_is_saved(viewer, tmp_path):
    layer = viewer.add_image(np.random.default_rng(0).normal(size=(4, 5, 6)), scale=(1, 1, 1), units="mm")
    layer.scale = (3, 2, 1)
    layer.translate = (-10, 0, 4)
    layer.save(str(tmp_path / "a.nii"), plugin=PLUGIN)
    image = nib.load(tmp_path / "a.nii")
    np.testing.assert_allclose(image.affine, [[3, 0, 0, -10], [0, 2, 0, 0], [0, 0, 1, 4], [0, 0, 0, 1]])
    np.testing.assert_array_equal(image.get_fdata(), layer.data)


def test_four_dimensions_there_and_back(viewer, tmp_path):
    steps = np.random.default_rng(0).normal(size=(4, 5, 6, 3)).astype(np.float32)
    nib.save(nib.Nifti1Image(steps, np.diag([2.0, 2, 2, 1])), tmp_path / "trajectory.nii.gz")
    (layer,) = viewer.open(tmp_path / "trajectory.nii.gz", plugin=PLUGIN)
    assert layer.data.shape == (3, 4, 5, 6)
    layer.save(str(tmp_path / "again.nii.gz"), plugin=PLUGIN)
    np.testing.assert_array_equal(nib.load(tmp_path / "again.nii.gz").get_fdata(), steps)


def test_several_files_are_several_layers(viewer):
    image, labels = viewer.open([sample_t1_path(1), sample_labels_path(1)], plugin=PLUGIN)
    assert isinstance(image, Image)
    assert isinstance(labels, Labels)  # by its name, DLMUSE
    assert list(labels.features["region"])[1] == "CortCSF"


def test_two_oblique_volumes_of_one_head_overlay_when_the_user_agrees(viewer, qtbot, tmp_path, notices):
    """The same ball, once upright and once with turned axes, lies in one place after resampling."""
    place = np.stack(np.meshgrid(*[np.linspace(-30, 30, 31)] * 3, indexing="ij"), axis=-1)

    def ball(rotation):
        affine = np.eye(4)
        affine[:3, :3] = rotation * 2
        affine[:3, 3] = rotation @ [-30, -30, -30]
        return nib.Nifti1Image(100 * np.exp(-((((place @ rotation.T) - [8, -4, 6]) / 6) ** 2).sum(-1)), affine)

    turned = Rotation.from_euler("xyz", (12, -8, 20), degrees=True).as_matrix()
    nib.save(ball(np.eye(3)), tmp_path / "upright.nii")
    nib.save(ball(turned), tmp_path / "turned.nii")
    viewer.open(tmp_path / "turned.nii", plugin=PLUGIN)
    qtbot.wait(20)
    assert notices() == []  # alone, it is shown upright without interpolation
    viewer.open(tmp_path / "upright.nii", plugin=PLUGIN)
    qtbot.waitUntil(lambda: len(notices()) == 1)
    ((severity, message),) = notices()
    assert severity == "warning"
    assert "'turned'" in message
    ((_, resample),) = notification_manager.records[-1].actions
    resample(None)
    qtbot.waitUntil(lambda: "resampled" in viewer.layers["turned"].metadata, timeout=60_000)

    def centre(layer):
        weight = np.asarray(layer.data) - layer.data.min()
        return layer.data_to_world([np.average(i, weights=weight) for i in np.indices(layer.data.shape)])

    np.testing.assert_allclose(centre(viewer.layers["turned"]), (8, -4, 6), atol=0.2)
    np.testing.assert_allclose(centre(viewer.layers["upright"]), (8, -4, 6), atol=0.2)
    assert rotated_layers(viewer) == []


def test_labels_that_are_painted_on_while_they_are_resampled_stay(viewer, qtbot, oblique_file, monkeypatch, notices):
    (scan,) = viewer.open(oblique_file, plugin=PLUGIN)
    painted = viewer.add_labels(
        np.zeros(scan.data.shape, np.uint8),
        name="painted",
        scale=scan.scale,
        translate=scan.translate,
        units=scan.units,
        metadata=place_of(scan),
    )
    viewer.add_image(np.ones((4, 5, 6)), name="upright", units="mm", metadata={DISPLAY_TO_WORLD: np.eye(4).tolist()})
    begun, painted_on = threading.Event(), threading.Event()

    def resample(volume: Volume) -> Volume:
        begun.set()
        assert painted_on.wait(30)
        return resample_to_ras(volume)

    monkeypatch.setattr(overlay_module, "resample_to_ras", resample)
    overlay_module.overlay(viewer)
    qtbot.waitUntil(begun.is_set)
    painted.data_setitem((np.array([3]), np.array([4]), np.array([5])), 7)  # as the brush does it
    painted_on.set()
    qtbot.waitUntil(lambda: len(notices()) == 2, timeout=60_000)
    assert viewer.layers["painted"].data[3, 4, 5] == 7
    assert "resampled" not in viewer.layers["painted"].metadata
    assert "resampled" in viewer.layers["scan_T1w"].metadata
    assert "'painted' was painted on" in notices()[-1][1]
    monkeypatch.undo()
    overlay_module.overlay(viewer)
    qtbot.waitUntil(lambda: "resampled" in viewer.layers["painted"].metadata, timeout=60_000)
    assert 7 in viewer.layers["painted"].data


def test_the_viewer_that_a_large_file_was_opened_in_is_turned(
    make_napari_viewer_proxy, tmp_path, qtbot, monkeypatch, notices
):
    monkeypatch.setattr(background, "BLINK", 1000)
    first, second = make_napari_viewer_proxy(), make_napari_viewer_proxy()
    current = [first]
    monkeypatch.setattr(io, "current_viewer", lambda: current[-1])
    monkeypatch.setattr("napari.current_viewer", lambda: current[-1])

    def open_it() -> None:
        first.open(sample_t1_path(), plugin=PLUGIN)
        current.append(second)  # its window is clicked while the file is read

    QTimer.singleShot(0, open_it)
    qtbot.waitUntil(lambda: len(first.layers) == 1, timeout=30_000)
    assert first.dims.order == (2, 1, 0)
    second.add_image(np.ones((4, 5, 6)))
    assert second.dims.order == (0, 1, 2)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("sub-01_dseg.nii.gz", "labels"),
        ("aparc+aseg.mgz", "labels"),
        ("brain_mask.nii", "labels"),
        ("lesion-seg.nii", "labels"),
        ("Schaefer2018_400Parcels.nii.gz", "labels"),
        ("sub-01_atlas-AAL_parcellation.nii", "labels"),
        ("sub-01_T1w.nii.gz", "image"),
        ("masked.nii", "image"),
        ("segovia.nii", "image"),
    ],
)
def test_labels_by_their_name(tmp_path, name, kind):
    form = nib.MGHImage if name.endswith("mgz") else nib.Nifti1Image
    nib.save(form(np.ones((2, 3, 4), np.int16), np.eye(4)), tmp_path / name)
    ((_, attributes, found),) = io.read_volumes(str(tmp_path / name))
    assert found == kind
    assert not attributes["name"].endswith((".nii", ".gz", ".mgz"))


def test_label_maps_stored_as_floats_and_their_names_in_bids_tables(tmp_path):
    values = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    for name, data in (("sub-01_dseg", values), ("sub-02_dseg", values + 0.5), ("sub-03_T1w", values)):
        nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / f"{name}.nii")
    (tmp_path / "sub-01_dseg.tsv").write_text("index\tname\n1\tthalamus\n")
    _, attributes, kind = io.read_layer(tmp_path / "sub-01_dseg.nii")
    assert kind == "labels"
    assert attributes["features"]["region"] == ["thalamus"]
    assert io.read_layer(tmp_path / "sub-02_dseg.nii")[2] == "image"  # probabilities
    assert io.read_layer(tmp_path / "sub-03_T1w.nii")[2] == "image"
    (tmp_path / "sub-03_T1w.json").write_text('{"Atlas": "AAL"}')
    assert io.read_layer(tmp_path / "sub-03_T1w.nii")[2] == "labels"


@pytest.mark.parametrize(
    ("top", "dtype"), [(1, "uint8"), (255, "uint8"), (256, "int16"), (40_000, "int32"), (2**40, "int64")]
)
def test_labels_are_saved_small(tmp_path, top, dtype):
    io.write_labels(str(tmp_path / "a.nii"), np.full((2, 2, 2), top, np.int64), {})
    assert nib.load(tmp_path / "a.nii").get_data_dtype() == np.dtype(dtype)


def test_a_float_image_with_a_label_name_stays_an_image(tmp_path):
    nib.save(nib.Nifti1Image(np.full((2, 2, 2), 0.5, np.float32), np.eye(4)), tmp_path / "soft_mask.nii")
    assert io.read_volumes(str(tmp_path / "soft_mask.nii"))[0][2] == "image"


def test_what_is_not_ours_is_left_to_others():
    assert io.get_reader("photo.tif") is None
    assert io.get_reader(["a.nii", "photo.tif"]) is None
    assert io.get_reader(["a.nii", "b.MGZ"]) is io.read_volumes


def test_a_broken_file_says_so(viewer, tmp_path):
    (tmp_path / "broken.nii.gz").write_bytes(b"no")
    with pytest.raises(BrainDiffusionError, match=r"broken\.nii\.gz could not be read"):
        viewer.open(tmp_path / "broken.nii.gz", plugin=PLUGIN)
    assert not viewer.layers


@pytest.mark.parametrize("large", [False, True])
def test_a_broken_file_among_several_is_told_and_the_others_open(viewer, tmp_path, qtbot, monkeypatch, notices, large):
    """As they are dropped: napari hands over one after the other, and stops at the first that raises."""
    monkeypatch.setattr(background, "BLINK", 1000 if large else background.BLINK)
    for name in ("a.nii.gz", "c.nii.gz"):
        shutil.copy(sample_t1_path(), tmp_path / name)
    (tmp_path / "b.nii.gz").write_bytes(sample_t1_path().read_bytes()[:20_000])
    (tmp_path / "d.mgz").write_bytes(b"no")
    names = ["a.nii.gz", "b.nii.gz", "c.nii.gz", "d.mgz"]
    QTimer.singleShot(0, lambda: viewer.open([tmp_path / name for name in names], plugin=PLUGIN))
    qtbot.waitUntil(lambda: len(viewer.layers) == 2 and len(notices()) == 2, timeout=30_000)
    assert [layer.name for layer in viewer.layers] == ["a", "c"]
    assert {name for name in names for _, message in notices() if name in message} == {"b.nii.gz", "d.mgz"}


@pytest.mark.parametrize("chosen", [("scan", "regions"), ("scan", "scan two"), ("regions", "regions!")])
def test_several_layers_are_saved_as_a_file_each_in_millimetres(viewer, tmp_path, chosen):
    """napari has no other way to keep the place of several layers: its own writers know only pixels."""
    place = {"scale": (2, 2, 3), "translate": (-4, 5, 6), "units": "mm"}
    data = np.random.default_rng(0).integers(0, 3, (4, 5, 6))
    for name in ("scan", "scan two"):
        viewer.add_image(data.astype(np.float32), name=name, metadata={"provenance": {"seed": 1}}, **place)
    for name in ("regions", "regions!"):
        viewer.add_labels(data, name=name, **place)
    viewer.layers.selection = {viewer.layers[name] for name in chosen}
    for _ in range(2):  # what is there already stays
        written = viewer.layers.save(str(tmp_path / "sub.nii.gz"), selected=True)
    files = sorted(path.name for path in tmp_path.glob("*.nii.gz"))
    assert len(files) == 4
    assert {Path(one).name for one in written} < set(files)
    assert all(name.startswith("sub_") for name in files)
    for name in files:
        saved = nib.load(tmp_path / name)
        np.testing.assert_array_equal(np.asarray(saved.dataobj), data)
        np.testing.assert_allclose(saved.affine @ [1, 1, 1, 1], [-2, 7, 9, 1])
        assert bool(read_sidecar(tmp_path / name)) is ("scan" in name)


def test_a_flat_layer_cannot_be_saved(viewer, tmp_path):
    layer = viewer.add_image(np.ones((4, 5)), name="flat")
    with pytest.raises(BrainDiffusionError, match="'flat' has 2 dimensions"):
        layer.save(str(tmp_path / "a.nii.gz"), plugin=PLUGIN)
    assert not list(tmp_path.iterdir())


def test_a_generated_brain(viewer):
    viewer.open_sample(PLUGIN, "generated")
    (layer,) = viewer.layers
    assert layer.name == "Generated brain"
    assert layer.data.shape == (80, 104, 88)
    np.testing.assert_array_equal(layer.scale, (2, 2, 2))


def test_a_model_without_an_example_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(samples, "find_model", lambda name: tmp_path)
    with pytest.raises(BrainDiffusionError, match=r"example\.nii\.gz is missing from the installation"):
        samples.generated_brain()


def test_the_first_brain_stands_upright(viewer):
    viewer.open_sample(PLUGIN, "real")
    # Axial slices: y up, x to the right.
    assert viewer.dims.order == (2, 1, 0)
    assert viewer.scene.camera.orientation2d == ("up", "right")
    low, high = viewer.layers.extent.world
    np.testing.assert_allclose(viewer.dims.point, (low + high) / 2, atol=2)


def test_a_viewer_in_use_keeps_its_view(viewer):
    viewer.add_image(np.ones((4, 5, 6)), units="mm")
    viewer.open(sample_t1_path(), plugin=PLUGIN)
    assert viewer.dims.order == (0, 1, 2)


def test_a_failed_opening_leaves_the_view_alone(viewer, tmp_path):
    (tmp_path / "broken.nii").write_bytes(b"no")
    with pytest.raises(BrainDiffusionError):
        viewer.open(tmp_path / "broken.nii", plugin=PLUGIN)
    viewer.add_image(np.ones((4, 5, 6)))
    assert viewer.dims.order == (0, 1, 2)


def test_provenance_goes_with_the_layer_into_the_next_file(viewer, tmp_path):
    told = {"synthetic": True, "seed": 3, "model": {"name": "ixi-2mm"}}
    layer_files.save_brain(samples_volume(), tmp_path / "made.nii.gz", told)
    (layer,) = viewer.open(tmp_path / "made.nii.gz", plugin=PLUGIN)
    assert layer.metadata[layer_files.PROVENANCE]["seed"] == 3
    layer.save(str(tmp_path / "kept.nii"), plugin=PLUGIN)
    assert read_sidecar(tmp_path / "kept.nii") == told | {"file": "kept.nii"}


def test_the_sidecar_of_a_real_scan_is_no_provenance(viewer, tmp_path):
    layer_files.save_brain(samples_volume(), tmp_path / "sub-01_T1w.nii.gz", {"EchoTime": 0.004})
    (layer,) = viewer.open(tmp_path / "sub-01_T1w.nii.gz", plugin=PLUGIN)
    assert layer.metadata[io.SIDECAR]["EchoTime"] == 0.004
    assert layer_files.PROVENANCE not in layer.metadata


def test_large_files_are_read_and_written_beside_the_event_loop(viewer, tmp_path, qtbot, monkeypatch, notices):
    monkeypatch.setattr(background, "BLINK", 1000)
    shutil.copy(sample_t1_path(), tmp_path / "large.nii.gz")
    shutil.copy(sample_labels_path(), tmp_path / "large_labels.nii.gz")
    (tmp_path / "broken.nii.gz").write_bytes(sample_t1_path().read_bytes()[:20_000])
    opened = []

    def open_them() -> None:
        paths = [tmp_path / name for name in ("large.nii.gz", "broken.nii.gz", "large_labels.nii.gz")]
        opened.append(viewer.open(paths, plugin=PLUGIN))

    QTimer.singleShot(0, open_them)  # as from a menu: within the event loop
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=30_000)
    assert opened == [[]]
    assert [type(layer) for layer in viewer.layers] == [Image, Labels]
    assert ["broken.nii.gz" in message for _, message in notices()] == [True]
    assert viewer.dims.order == (2, 1, 0)  # it stands upright

    def save_them() -> None:
        viewer.layers[0].save(str(tmp_path / "again.nii.gz"), plugin=PLUGIN)
        viewer.layers[1].save(str(tmp_path / "again_labels.nii.gz"), plugin=PLUGIN)

    QTimer.singleShot(0, save_them)
    qtbot.waitUntil(lambda: len(notices()) == 3, timeout=30_000)
    same_in_world(sample_t1_path(), tmp_path / "again.nii.gz")
    same_in_world(sample_labels_path(), tmp_path / "again_labels.nii.gz")


def test_a_large_file_that_cannot_be_written_is_told(viewer, tmp_path, qtbot, monkeypatch, notices):
    monkeypatch.setattr(background, "BLINK", 1000)
    (tmp_path / "taken").write_text("")
    viewer.open(sample_t1_path(), plugin=PLUGIN)
    QTimer.singleShot(0, lambda: viewer.layers[0].save(str(tmp_path / "taken" / "a.nii.gz"), plugin=PLUGIN))
    qtbot.waitUntil(lambda: bool(notices()), timeout=30_000)
    ((severity, message),) = notices()
    assert severity == "error"
    assert "choose another place" in message


def test_a_full_disk_leaves_no_brain_without_its_sidecar_unsaid(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(layer_files, "write_sidecar", full)
    with pytest.raises(BrainDiffusionError, match="free some space"):
        layer_files.save_brain(samples_volume(), tmp_path / "a.nii", {"seed": 1})


def samples_volume() -> Volume:
    return Volume(np.ones((1, 4, 4, 4), np.float32), np.eye(4))
