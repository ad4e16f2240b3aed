"""Volume -> layer -> volume: the same voxels at the same places, whatever was done to the layer in between."""

import dask.array
import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Points
from nibabel.affines import apply_affine
from scipy.spatial.transform import Rotation

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.example_data import dlmuse_names, sample_labels_path, sample_t1_path
from braindiffusion.volume import Volume, load_volume, to_ras
from napari_braindiffusion.layers.display import show_trajectory, show_volume
from napari_braindiffusion.layers.geometry import (
    layer_to_volume,
    region_features,
    trajectory_to_layer_data,
    volume_to_layer_data,
)
from napari_braindiffusion.layers.region_names import names_of_labels
from napari_braindiffusion.layers.reproduce import layer_name

RNG = np.random.default_rng(0)
SPACING = (2.0, 1.5, 3.25)


def oblique(degrees: float = 20, shape: tuple[int, ...] = (1, 4, 5, 6)) -> Volume:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", [degrees, 5, -10], degrees=True).as_matrix() * SPACING
    affine[:3, 3] = [-31.5, 12.25, 80]
    return Volume(RNG.normal(size=shape).astype(np.float32), affine)


def upright(shape: tuple[int, ...] = (1, 4, 5, 6)) -> Volume:
    affine = np.diag([*SPACING, 1.0])
    affine[:3, 3] = [-31.5, 12.25, 80]
    return Volume(RNG.normal(size=shape).astype(np.float32), affine)


def layer_of(volume: Volume, **kwargs: object) -> Layer:
    return Layer.create(*volume_to_layer_data(volume, "brain", **kwargs))


@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 6)] * 3),
    signs=st.tuples(*[st.sampled_from([-1, 1])] * 3),
    translate=st.tuples(*[st.floats(-200, 200)] * 3),
    channels=st.integers(1, 3),
)
@settings(max_examples=60, deadline=None)
def test_any_volume_comes_back(angles, spacing, signs, translate, channels):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * signs * spacing
    affine[:3, 3] = translate
    volume = Volume(*to_ras(RNG.normal(size=(channels, 3, 4, 5)), affine))
    layer = layer_of(volume)
    # What napari gets is upright, in RAS+ and mm, and sits where the volume's middle is.
    matrix = layer._data_to_world.affine_matrix[-4:, -4:]
    np.testing.assert_allclose(matrix[:3, :3], np.diag(volume.spacing), atol=1e-9)
    middle = (np.array(volume.shape) - 1) / 2
    np.testing.assert_allclose(apply_affine(matrix, middle), apply_affine(volume.affine, middle), atol=1e-6)
    assert [str(unit) for unit in layer.units[-3:]] == ["millimeter"] * 3
    assert layer.axis_labels[-3:] == ("x", "y", "z")
    back = layer_to_volume(layer)
    np.testing.assert_array_equal(back.data, volume.data)
    np.testing.assert_allclose(back.affine, volume.affine, atol=1e-9)


def test_an_upright_volume_is_shown_at_its_true_place():
    volume = upright()
    layer = layer_of(volume)
    assert tuple(layer.scale) == SPACING
    assert tuple(layer.translate) == (-31.5, 12.25, 80)
    np.testing.assert_array_equal(layer.metadata["display_to_world"], np.eye(4))


def test_file_header_and_affine_stay_in_the_metadata():
    volume = load_volume(sample_t1_path())
    layer = layer_of(volume, metadata={"seed": 3})
    assert layer.metadata["source"] == str(sample_t1_path())
    assert layer.metadata["header"]["sform_code"] > 0
    np.testing.assert_allclose(layer.metadata["file_affine"], volume.affine)
    assert layer.metadata["seed"] == 3
    assert layer_to_volume(layer).metadata == {**volume.metadata, "seed": 3}


def test_edits_of_the_layer_count_in_the_true_world():
    volume = oblique()
    layer = layer_of(volume)
    first, last = np.zeros(3), np.array(volume.shape) - 1.0
    display = layer._data_to_world.affine_matrix
    layer.scale = np.array(layer.scale) * [2, 1, 1]
    layer.translate = np.add(layer.translate, [10, 0, -4])
    edited = layer._data_to_world.affine_matrix
    to_world = volume.affine @ np.linalg.inv(display)
    back = layer_to_volume(layer)
    for voxel in (first, last):
        np.testing.assert_allclose(apply_affine(back.affine, voxel), apply_affine(to_world @ edited, voxel), atol=1e-9)
    assert back.spacing == pytest.approx((4, 1.5, 3.25))


def test_a_cropped_layer_keeps_its_place():
    volume = oblique()
    data, attributes, kind = volume_to_layer_data(volume, "brain")
    attributes["translate"] = np.array(attributes["translate"]) + np.array(SPACING) * [1, 2, 3]
    cropped = layer_to_volume(Layer.create(data[1:, 2:, 3:], attributes, kind))
    np.testing.assert_allclose(
        apply_affine(cropped.affine, [0, 0, 0]), apply_affine(volume.affine, [1, 2, 3]), atol=1e-9
    )


def test_a_flipped_and_turned_layer_becomes_ras():
    data = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    turn = np.eye(4)[[0, 2, 1, 3]]
    layer = Image(data, scale=(-1, 2, 3), translate=(5, 6, 7), affine=turn, units="mm")
    volume = layer_to_volume(layer)
    assert volume.shape == (2, 4, 3)
    for voxel in np.ndindex(data.shape):
        world = apply_affine(turn, np.array(voxel) * [-1, 2, 3] + [5, 6, 7])
        there = tuple(np.rint(apply_affine(np.linalg.inv(volume.affine), world)).astype(int))
        assert volume.data[(0, *there)] == data[voxel]
    assert (np.diag(volume.affine) > 0).all()


def test_axes_named_the_other_way_round_are_put_right():
    data = np.arange(24).reshape(2, 3, 4)
    layer = Image(data, scale=(3, 2, 1), translate=(30, 20, 10), axis_labels=("z", "y", "x"), units="mm")
    volume = layer_to_volume(layer)
    np.testing.assert_array_equal(volume.data[0], data.transpose(2, 1, 0))
    np.testing.assert_allclose(volume.affine, [[1, 0, 0, 10], [0, 2, 0, 20], [0, 0, 3, 30], [0, 0, 0, 1]])


@pytest.mark.parametrize(("unit", "spacing"), [("um", 0.002), ("cm", 20.0), ("mm", 2.0), ("pixel", 2.0)])
def test_units_become_millimetres(unit, spacing):
    volume = layer_to_volume(Image(np.ones((3, 4, 5)), scale=(2, 2, 2), translate=(4, 4, 4), units=unit))
    assert volume.spacing == pytest.approx((spacing,) * 3)
    assert volume.affine[0, 3] == pytest.approx(2 * spacing)


def test_a_layer_born_elsewhere():
    lazy = dask.array.from_array(np.arange(24).reshape(2, 3, 4))
    layer = Image(lazy, scale=(2, 2, 2), metadata={"header": object(), "time_step": "soon"})
    volume = layer_to_volume(layer)
    np.testing.assert_array_equal(volume.data[0], np.arange(24).reshape(2, 3, 4))
    assert volume.metadata == {}


def test_a_pyramid_gives_its_finest_level():
    fine = np.arange(8 * 8 * 8).reshape(8, 8, 8)
    layer = Image([fine, fine[::2, ::2, ::2]], multiscale=True, scale=(2, 2, 2))
    np.testing.assert_array_equal(layer_to_volume(layer).data[0], fine)


def test_labels_painted_on_an_oblique_scan_lie_on_it():
    volume = oblique()
    viewer = ViewerModel()
    scan = viewer.add_layer(layer_of(volume))
    viewer._new_labels()
    painted = viewer.layers[-1]
    assert isinstance(painted, Labels)
    assert painted.data.shape == scan.data.shape
    np.testing.assert_allclose(layer_to_volume(painted, among=viewer.layers).affine, volume.affine, atol=1e-6)
    # A second scan, turned differently, on another grid: the grid decides.
    other = oblique(-15, (1, 7, 8, 9))
    viewer.add_layer(layer_of(other))
    np.testing.assert_allclose(layer_to_volume(painted, among=viewer.layers).affine, volume.affine, atol=1e-6)
    nowhere = Labels(np.zeros((2, 2, 2), int), name="mine")
    with pytest.raises(BrainDiffusionError, match="'mine' lies on volumes that are turned differently"):
        layer_to_volume(nowhere, among=viewer.layers)


def test_a_trajectory_of_one_step_is_ready_for_more():
    data, attributes, _ = trajectory_to_layer_data(Volume(np.ones((1, 3, 4, 5), np.float32), np.eye(4)))
    assert data.shape == (1, 3, 4, 5)
    assert attributes["units"] == ("pixel", *("millimeter",) * 3)
    assert attributes["axis_labels"][0] == "step"


def test_a_trajectory_has_its_steps_first():
    volume = upright((7, 4, 5, 6))
    data, attributes, kind = trajectory_to_layer_data(volume)
    layer = Layer.create(data, attributes, kind)
    assert layer.data.shape == (7, 4, 5, 6)
    assert layer.axis_labels == ("step", "x", "y", "z")
    np.testing.assert_allclose(layer.scale, (1, *SPACING))
    assert layer.contrast_limits[0] == pytest.approx(volume.data[-1].min())
    viewer = ViewerModel()
    viewer.add_layer(layer)
    viewer.add_layer(layer_of(upright()))
    # 3D beside 4D: millimetres for the whole viewer all the same.
    assert [str(unit) for unit in viewer.layers.extent.units] == ["pixel", *["millimeter"] * 3]
    back = layer_to_volume(layer)
    np.testing.assert_array_equal(back.data, volume.data)
    np.testing.assert_allclose(back.affine, volume.affine)
    assert "time_step" not in back.metadata


def test_time_is_in_seconds_and_may_be_edited():
    volume = upright((3, 4, 5, 6))
    volume.metadata["time_step"] = 1.5
    layer = layer_of(volume)
    assert (layer.axis_labels[0], str(layer.units[0]), layer.scale[0]) == ("time", "second", 1.5)
    layer.scale = (2, *SPACING)
    assert layer_to_volume(layer).metadata["time_step"] == 2


def test_regions_have_their_names():
    volume = load_volume(sample_labels_path())
    layer = layer_of(volume, kind="labels", features=region_features(dlmuse_names()))
    assert isinstance(layer, Labels)
    voxel = np.argwhere(volume.data[0] == 47)[0]
    viewer = ViewerModel()
    viewer.add_layer(layer)
    viewer.dims.point = layer.data_to_world(voxel)
    status = layer.get_status(layer.data_to_world(voxel), world=True)
    assert "Hippocampus_R" in status["value"]
    assert layer_to_volume(layer).metadata["kind"] == "labels"


def test_whole_floats_can_be_labels_and_others_not():
    volume = Volume(np.array([0.0, 3, 7, 1]).reshape(1, 4, 1, 1), np.eye(4))
    assert layer_of(volume, kind="labels").data.dtype == np.int32
    with pytest.raises(BrainDiffusionError, match="'brain' is no label map"):
        volume_to_layer_data(upright(), "brain", "labels")


def test_one_hot_voxel_does_not_darken_the_brain():
    volume = upright((1, 30, 30, 30))
    volume.data[0, 3, 3, 3] = 1e6
    layer = layer_of(volume)
    assert layer.contrast_limits[1] < 10


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (lambda: Image(np.ones((4, 5)), name="flat"), "'flat' has 2 dimensions"),
        (lambda: Image(np.ones((2, 2, 3, 4, 5)), name="many"), "'many' has 5 dimensions"),
        (lambda: Image(np.ones((4, 5, 6, 3)), rgb=True, name="red"), "'red' is in colour"),
        (lambda: Points(np.ones((4, 3)), name="dots"), "'dots' is a points layer"),
        (lambda: Image(np.ones((3, 4, 5)), units=("s", "mm", "mm"), name="film"), "'film' measures space in second"),
        (
            lambda: Image(np.ones((2, 3, 4, 5)), affine=np.eye(5)[[1, 0, 2, 3, 4]], name="mixed"),
            "'mixed' mixes its first axis with space",
        ),
    ],
)
def test_layers_that_are_no_volumes(layer, message):
    with pytest.raises(BrainDiffusionError, match=message):
        layer_to_volume(layer())


@pytest.mark.parametrize(
    ("asked", "kind", "name"),
    [
        ({"age": 75.0}, "volume", "age 75, seed 0"),
        ({"sex": "F", "volumes": {"left hippocampus": 3.456789}}, "volume", "sex F, left hippocampus 3.457, seed 0"),
        ({"regions": "/runs/label-maps/a.nii.gz"}, "trajectory", "regions map, seed 0 (trajectory)"),
        ({}, "volume", "seed 0"),
    ],
)
def test_layer_names_say_what_was_asked(asked, kind, name):
    told = {"request": {}, "seed": 0, "condition_asked": asked}
    assert layer_name(told, kind) == name
    taken = {"condition_asked": {"site": "HH", **asked}, "condition_defaults": ["site"]}  # nobody asked for it
    assert layer_name({**told, **taken}, kind) == name
    assert layer_name({"seed": 0}) == ""


def test_label_schemes_are_told_by_their_values():
    assert names_of_labels([0, 1, 40])[0] == "background"
    assert names_of_labels([0, 47, 48]) is not None  # DLMUSE
    assert names_of_labels([0, 2, 1001, 2035])[1001]  # FreeSurfer
    assert names_of_labels([0, 3, 77, 85, 1001])[85] == "ventral diencephalon"  # its aseg, and regions without a side
    assert names_of_labels([0, 99_999]) is None


def test_a_layer_that_goes_on_with_another_volume_takes_its_place(make_napari_viewer_proxy):
    """A preview of one model, then one of another with the same box: voxels of another size, elsewhere."""
    viewer = make_napari_viewer_proxy()
    voxels = np.random.default_rng(0).random((1, 4, 5, 6), np.float32)
    turned = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.2, 0.1, 0.15), [3.0, -5.0, 2.0])
    layer = None
    for affine in (np.diag([4.0, 4, 4, 1]), np.diag([2.0, 2, 3, 1]), turned, np.diag([4.0, 4, 4, 1])):
        before, volume = layer, Volume(voxels, affine)
        layer = show_volume(viewer, volume, "preview", layer=layer)
        assert before is None or layer == before
        assert layer_to_volume(layer).affine == pytest.approx(affine)
        np.testing.assert_array_equal(layer.scale, volume_to_layer_data(volume, "preview")[1]["scale"])


def test_a_trajectory_is_shown_at_its_last_step_beside_a_layer_with_more_axes():
    viewer = ViewerModel()
    viewer.add_image(np.zeros((2, 6, 4, 5, 6), np.float32))
    show_trajectory(viewer, Volume(np.random.default_rng(0).random((3, 4, 5, 6), np.float32), np.eye(4)), "way")
    assert viewer.dims.point[1] == 2
