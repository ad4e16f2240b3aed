"""What the linked view does with layers, on viewers without a window: mirrors, side by side, 3D, under the cursor."""

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from napari.utils.notifications import show_error

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs import DifferenceRequest
from braindiffusion.volume import Volume
from napari_braindiffusion.engine.client import EngineClient
from napari_braindiffusion.layers.display import set_axial_view
from napari_braindiffusion.layers.geometry import layer_to_volume, place_of, volume_to_layer_data
from napari_braindiffusion.layers.jobs import LayerJob
from napari_braindiffusion.orthoviews.cursor_values import in_words
from napari_braindiffusion.orthoviews.difference import check_pair
from napari_braindiffusion.orthoviews.mirrored_layers import Mirrors
from napari_braindiffusion.orthoviews.planes import AXIAL, CORONAL, SAGITTAL, Letters, letters_at, plane_of, turn
from napari_braindiffusion.orthoviews.rendering import (
    ATTENUATION_PER_MM,
    DIFFERENCE,
    back_to_planes,
    show_in_3d,
    toggle_3d,
)
from napari_braindiffusion.orthoviews.side_by_side import SideBySide, chosen, common_ranges, middle

EDGES = ("top_center", "bottom_center", "middle_left", "middle_right")


def brain(name: str, *, at=(0.0, 0.0, 0.0), brightest=100.0, turned=False) -> Image:
    """A bright ball that fills most of a box of 2 mm voxels around a place in the world."""
    size = np.array([20, 24, 22])
    grid = np.indices(size).reshape(3, -1).T - (size - 1) / 2
    data = np.where(np.linalg.norm(grid, axis=1) < 9, brightest, 0).reshape(size)
    data *= np.random.default_rng(0).uniform(0.8, 1, size=size)
    affine = np.diag([2.0, 2, 2, 1])
    if turned:
        cosine, sine = np.cos(0.3), np.sin(0.3)
        affine = np.array([[cosine, -sine, 0, 0], [sine, cosine, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]) @ affine
    affine[:3, 3] = np.array(at) - affine[:3, :3] @ ((size - 1) / 2)
    return Layer.create(*volume_to_layer_data(Volume(data[None].astype(np.float32), affine), name))


def regions_of(image: Image, name="regions") -> Labels:
    features = {"index": [1, 2], "region": ["Left", "Right"]}
    data = np.ones(image.data.shape, np.uint8)
    data[image.data.shape[0] // 2 :] = 2
    metadata = dict(image.metadata)
    return Labels(
        data, name=name, scale=image.scale, translate=image.translate, features=features, metadata=metadata, units="mm"
    )


@pytest.fixture
def viewer() -> ViewerModel:
    viewer = ViewerModel()
    first = brain("real", at=(20, -10, -15))
    viewer.layers.extend([first, regions_of(first), brain("made", brightest=1.0)])
    set_axial_view(viewer)
    return viewer


# Planes and letters


@pytest.mark.parametrize("ndim", [3, 4])
def test_letters_of_a_plane(viewer, ndim):
    if ndim == 4:
        viewer.add_image(np.zeros((2, 4, 4, 4)))
    for plane, convention, letters in (
        (AXIAL, "neurological", "APLR"),
        (AXIAL, "radiological", "APRL"),
        (CORONAL, "neurological", "SILR"),
        (CORONAL, "radiological", "SIRL"),
        (SAGITTAL, "neurological", "SIPA"),
        (SAGITTAL, "radiological", "SIPA"),
    ):
        turn(viewer, plane, convention)
        assert plane_of(viewer) is plane
        found = letters_at(viewer)
        assert (
            "".join(found[edge] for edge in ("top_center", "bottom_center", "middle_left", "middle_right")) == letters
        )


def test_letters_follow_what_napari_turns(viewer):
    letters = Letters(viewer)
    shown = viewer.canvas.overlays
    assert shown["letter_middle_left"].text == "L"
    viewer.dims.transpose()
    assert (shown["letter_middle_left"].text, shown["letter_top_center"].text) == ("P", "R")
    viewer.scene.camera.orientation2d = ("down", "left")
    assert (shown["letter_middle_left"].text, shown["letter_top_center"].text) == ("A", "L")
    viewer.dims.ndisplay = 3
    assert "letter_middle_left" not in shown
    viewer.dims.ndisplay = 2
    assert "letter_middle_left" in shown
    letters.end()
    assert not [name for name in shown if name.startswith("letter")]


def test_no_letter_where_nobody_knows():
    viewer = ViewerModel()
    viewer.add_image(np.zeros((4, 5, 6)))
    assert letters_at(viewer) == {}
    viewer.layers.append(brain("a brain"))
    assert letters_at(viewer)
    flat = ViewerModel()
    flat.add_image(np.zeros((4, 5)))
    assert plane_of(flat) is None


# Mirrors


def test_mirrors_share_arrays_and_follow(viewer):
    target = ViewerModel()
    mirrors = Mirrors(viewer, target)
    real, regions, made = viewer.layers
    assert [layer.name for layer in target.layers] == ["real", "regions", "made"]
    assert all(mine.data is theirs.data for mine, theirs in zip(target.layers, viewer.layers, strict=True))
    real.contrast_limits, real.gamma, real.opacity, real.translate = (5, 50), 0.5, 0.3, (1, 2, 3)
    mirror = target.layers["real"]
    assert (tuple(mirror.contrast_limits), mirror.gamma, mirror.opacity) == ((5, 50), 0.5, 0.3)
    assert tuple(mirror.translate) == (1, 2, 3)
    regions.contour, regions.selected_label = 2, 2
    assert (target.layers["regions"].contour, target.layers["regions"].selected_label) == (2, 2)
    made.name = "renamed"
    viewer.layers.move(2, 0)
    assert [layer.name for layer in target.layers] == ["renamed", "real", "regions"]
    viewer.add_points([[0, 0, 0]], name="points")
    viewer.layers.remove(real)
    assert [layer.name for layer in target.layers] == ["renamed", "regions"]
    made.data = np.zeros((3, 4, 5, 6), np.float32)  # training_samples: more of them each time
    assert target.layers["renamed"].data is made.data
    assert target.dims.ndim == 4
    viewer.canvas.grid.enabled = True
    assert target.canvas.grid.enabled
    mirrors.show(solid=True)
    assert [layer.visible for layer in target.layers] == [True, False]
    made.visible = False
    regions.visible = False
    regions.visible = True
    assert [layer.visible for layer in target.layers] == [False, False]
    mirrors.close()
    assert len(target.layers) == 0
    made.opacity = 0.1  # nobody listens
    viewer.layers.clear()


# 3D


def test_3d_and_back(viewer):
    real, regions, made = viewer.layers
    made.visible = False
    viewer.dims.set_point((0, 1, 2), (20, -10, -15))
    camera = viewer.scene.camera
    order, zoom, center, point = viewer.dims.order, camera.zoom, camera.center, viewer.dims.point
    toggle_3d(viewer)
    assert viewer.dims.ndisplay == 3
    assert (real.rendering, made.rendering) == ("attenuated_mip", "mip")
    assert real.attenuation == pytest.approx(ATTENUATION_PER_MM * 2)
    assert not regions.visible
    # Left and right are not exchanged: right, up and towards the eye make a right hand, and she looks from the left.
    assert camera.orientation == ("towards", "up", "right")
    assert camera.view_direction[2] > 0
    assert camera.view_direction[0] < 0
    show_in_3d(viewer)  # once more changes nothing
    toggle_3d(viewer)
    assert viewer.dims.ndisplay == 2
    assert (viewer.dims.order, camera.zoom, camera.center, viewer.dims.point) == (order, zoom, center, point)
    assert (real.rendering, regions.visible) == ("mip", True)
    # In 3D by napari's own button, and back by ours; in 3D by ours and back by napari's.
    viewer.dims.ndisplay = 3
    back_to_planes(viewer)
    assert viewer.dims.ndisplay == 2
    for again in (toggle_3d, show_in_3d):
        toggle_3d(viewer)
        assert (real.rendering, regions.visible) == ("attenuated_mip", False)
        viewer.dims.ndisplay = 2
        assert (real.rendering, regions.visible) == ("mip", True)
        again(viewer)
        assert viewer.dims.ndisplay == 3
        back_to_planes(viewer)


def test_nothing_to_show_in_3d(viewer):
    for layer in viewer.layers:
        layer.visible = isinstance(layer, Labels)
    with pytest.raises(BrainDiffusionError, match="no brain to show in 3D"):
        show_in_3d(viewer)
    assert viewer.dims.ndisplay == 2


# Side by side


def test_side_by_side_and_back(viewer):
    real, regions, made = viewer.layers
    other = viewer.add_image(np.zeros((4, 4, 4)), name="other", visible=False)
    before = [(layer.name, layer.visible, tuple(layer.translate)) for layer in viewer.layers]
    limits, worlds = tuple(made.contrast_limits), [layer_to_volume(layer).affine for layer in (real, made)]
    assert chosen(viewer) == [real, made]
    viewer.layers.selection = {made, real}
    compared = SideBySide(viewer, chosen(viewer))
    grid = viewer.canvas.grid
    assert (grid.enabled, grid.stride, grid.shape) == (True, 2, (1, 2))
    assert [grid.position(viewer.layers.index(layer), viewer.layers) for layer in (real, regions, made)] == [
        (0, 0),
        (0, 0),
        (0, 1),
    ]
    # The middles meet on the screen, and files still say where the brains are.
    assert middle(made) == pytest.approx(middle(real), abs=0.5)
    for layer, world in zip((real, made), worlds, strict=True):
        assert layer_to_volume(layer).affine == pytest.approx(world)
    # The same contrast, though one goes to 100 and the other to 1.
    real.contrast_limits = (0, 50)
    assert made.contrast_limits[1] == pytest.approx(0.5, rel=0.01)
    made.contrast_limits = (0.25, 1.0)
    assert real.contrast_limits == pytest.approx([25, 100], rel=0.01)
    compared.restore_positions()
    assert middle(made) == pytest.approx((0, 0, 0), abs=0.5)
    compared.align_centers()
    compared.align_centers()
    assert middle(made) == pytest.approx(middle(real), abs=0.5)
    assert compared.is_whole
    compared.end()
    assert [layer.name for layer in viewer.layers] == [name for name, _, _ in before]
    for layer, (_, visible, translate) in zip(viewer.layers, before, strict=True):
        assert layer.visible == visible
        assert tuple(layer.translate) == pytest.approx(translate)
    assert tuple(made.contrast_limits) == limits
    assert not grid.enabled
    assert other in viewer.layers


def test_side_by_side_in_other_orders(viewer):
    _, regions, made = viewer.layers
    # The one with labels comes first, though it is higher in the list.
    viewer.layers.move(2, 0)
    compared = SideBySide(viewer, chosen(viewer), together=False)
    assert [layer.name for layer in viewer.layers] == ["real", "regions", "made"]
    assert tuple(made.translate) == pytest.approx((-19, -23, -21))
    compared.end()
    assert [layer.name for layer in viewer.layers] == ["made", "real", "regions"]
    # Three: the labels would slip into the next box, so they rest.
    viewer.layers.append(brain("another", brightest=1.0))
    compared = SideBySide(viewer, chosen(viewer))
    assert (viewer.canvas.grid.stride, viewer.canvas.grid.shape) == (1, (1, 3))
    assert not regions.visible
    viewer.layers.remove("another")
    assert not compared.is_whole
    compared.end()
    assert regions.visible


def plain(name: str, **place) -> Image:
    """A bright corner in a layer that was born in napari or in another plugin."""
    data = np.zeros((20, 24, 22), np.float32)
    data[4:9, 5:10, 6:11] = np.random.default_rng(0).uniform(0.8, 1, (5, 5, 5))
    return Image(data, name=name, **place)


@pytest.mark.parametrize(
    "place",
    [
        {"translate": (50, -20, 10)},
        {"affine": [[-2, 0, 0, 50], [0, 2, 0, -20], [0, 0, 2, 10], [0, 0, 0, 1]]},
        {"affine": [[0, 2, 0, 50], [2, 0, 0, -20], [0, 0, 2, 10], [0, 0, 0, 1]], "scale": (2, 1, 3)},
        {"translate": (50, -20, 10), "units": "um"},
    ],
)
@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")
def test_layers_of_other_plugins_keep_their_place_side_by_side(place):
    first, second = plain("first", units=place.get("units", "mm")), plain("second", **place)
    viewer = ViewerModel()
    viewer.layers.extend([first, second])
    world, shown = layer_to_volume(second).affine, second.data_to_world((0, 0, 0))
    compared = SideBySide(viewer, [first, second])
    for _ in range(2):
        assert middle(second) == pytest.approx(middle(first), abs=1e-6)
        assert layer_to_volume(second).affine == pytest.approx(world)
        compared.restore_positions()
        compared.align_centers()
    compared.end()
    assert layer_to_volume(second).affine == pytest.approx(world)
    assert second.data_to_world((0, 0, 0)) == pytest.approx(shown)
    assert second.metadata == {}


@pytest.mark.parametrize("known", [True, False])
def test_labels_that_are_added_side_by_side_go_back_with_their_brain(viewer, known):
    real, _, made = viewer.layers
    made.data = np.roll(made.data, 2, axis=0)  # its grid is not that of the other while they are compared
    if not known:
        made.metadata = {}
    compared = SideBySide(viewer, [real, made])
    mask = Labels(np.ones(made.data.shape, np.uint8), scale=made.scale, translate=made.translate, units="mm")
    mask.metadata = place_of(made)
    painted = viewer.add_labels(mask.data.copy(), scale=made.scale, translate=made.translate, units="mm")
    viewer.layers.append(mask)
    assert layer_to_volume(mask).affine == pytest.approx(layer_to_volume(made).affine)
    compared.end()
    for layer in (mask, painted):
        assert tuple(layer.translate) == pytest.approx(made.translate)
        assert layer_to_volume(layer).affine == pytest.approx(layer_to_volume(made).affine)


def test_brains_with_voxels_that_are_no_numbers_are_compared():
    """As many programs write what is outside of the head."""
    first, second = plain("first"), plain("second", translate=(5, 5, 5))
    for image, value in ((first, np.nan), (second, np.inf)):
        image.data = np.where(image.data > 0, image.data, value)
    viewer = ViewerModel()
    viewer.layers.extend([first, second, plain("nothing")])
    viewer.layers["nothing"].data = np.full((20, 24, 22), np.nan, np.float32)
    compared = SideBySide(viewer, list(viewer.layers))
    for image in viewer.layers:
        assert np.isfinite([*image.contrast_limits, *image.translate]).all()
    assert middle(second) == pytest.approx(middle(first), abs=1e-6)
    compared.end()


def test_fewer_than_two_cannot_be_compared(viewer):
    viewer.layers["made"].visible = False
    viewer.add_image(np.zeros((4, 4, 4)), metadata={DIFFERENCE: {}})
    viewer.add_image(np.zeros((4, 4, 4, 3), np.uint8), rgb=True)
    with pytest.raises(BrainDiffusionError, match="Select two brains"):
        chosen(viewer)


def test_brains_in_one_unit_share_their_range():
    ball = brain("one").data
    assert common_ranges([ball, ball * 1.3])[1] == common_ranges([ball])[0]
    assert common_ranges([ball, ball * 5])[1][1] == pytest.approx(5 * common_ranges([ball])[0][1])
    flat = np.full((4, 4, 4), 3.0)
    assert common_ranges([flat]) == [(3.0, 4.0)]
    image = Image(np.zeros((2, 4, 4, 4)), scale=(1, 2, 2, 2))
    assert middle(image) == pytest.approx((3, 3, 3))


# Under the cursor


def test_where_the_cursor_is(viewer):
    viewer.dims.set_point((0, 1, 2), (25, -13, -14))
    first, *others = in_words(viewer).split("\n")
    assert first == "R 25.0 · P 13.0 · I 14.0 mm"
    assert others[1] == "Right in regions"
    assert others[2].endswith(" in real")
    viewer.dims.set_point(0, -20)
    assert "outside real" in in_words(viewer)
    assert in_words(ViewerModel()) == ""


@pytest.mark.parametrize("kind", ["colour", "pyramid", "pyramid of labels", "whole numbers"])
def test_the_cursor_reads_every_kind_of_volume(viewer, kind):
    data = np.full((8, 8, 8), 7, np.uint8)
    layer, expected = {
        "colour": (lambda: Image(np.stack([data, data + 1, data * 0], axis=-1), rgb=True), "7, 8, 0 in"),
        "pyramid": (lambda: Image([data / 2, data[::2, ::2, ::2] / 2], multiscale=True), "3.5 in"),
        "pyramid of labels": (lambda: Labels([data, data[::2, ::2, ::2]], multiscale=True), "7 in"),
        "whole numbers": (lambda: Image(data), "7 in"),
    }[kind]
    viewer.layers.append(layer())
    viewer.layers[-1].name = "new"
    viewer.dims.set_point((0, 1, 2), (4, 4, 4))
    assert in_words(viewer).split("\n")[1] == f"{expected} new"
    viewer.dims.set_point((0, 1, 2), (-15, -15, -15))
    assert in_words(viewer).split("\n")[1] == "outside new"


def test_an_oblique_volume_says_its_true_place():
    viewer = ViewerModel()
    image = brain("oblique", at=(5, 6, 7), turned=True)
    viewer.layers.append(image)
    viewer.dims.set_point((0, 1, 2), (21, 8, 7))
    true = layer_to_volume(image).affine @ [*image.world_to_data((21, 8, 7)), 1]
    assert in_words(viewer).startswith(f"R {true[0]:.1f} · A {true[1]:.1f} · S {true[2]:.1f} mm")
    unknown = ViewerModel()
    unknown.add_image(np.ones((4, 4, 4)), name="a block")
    unknown.add_labels(np.ones((4, 4, 4), int), name="blocks")
    assert in_words(unknown).split("\n")[1:] == ["1 in blocks", "1 in a block"]
    assert "mm" not in in_words(unknown)


# Errors of a difference


def test_only_two_single_brains_differ(viewer):
    way = viewer.add_image(np.zeros((2, 4, 4, 4)), name="way")
    for images in ([viewer.layers["real"]], [viewer.layers["real"], way]):
        with pytest.raises(BrainDiffusionError, match="Select two brains"):
            check_pair(images)


@pytest.fixture
def job(viewer, qtbot, notices):
    job = LayerJob(viewer, EngineClient())
    job.failed.connect(show_error)
    yield job
    job.close()
    job.engine.close()


def ask_difference(job, viewer):
    pair = [viewer.layers["real"], viewer.layers["made"]]
    job.ask(pair, lambda paths: DifferenceRequest(first=paths[0], second=paths[1]))


def test_an_engine_that_cannot_start_is_reported(viewer, qtbot, notices, monkeypatch, job):
    def submit(request):
        raise BrainDiffusionError("There is no engine.")

    monkeypatch.setattr(job.engine, "submit", submit)
    with qtbot.waitSignal(job.ended, timeout=60_000):
        ask_difference(job, viewer)
    assert notices() == [("error", "There is no engine.")]
    monkeypatch.undo()


def test_layers_that_cannot_be_written_are_reported_once(viewer, qtbot, notices, tmp_path, monkeypatch, job):
    (tmp_path / "runs").write_text("no folder")
    monkeypatch.setenv("BRAINDIFFUSION_RUNS", str(tmp_path / "runs"))
    with qtbot.waitSignal(job.ended, timeout=60_000):
        ask_difference(job, viewer)
    assert len(notices()) == 1
    assert job.engine.pid is None


def test_closed_before_the_layers_are_written(viewer, qtbot, tmp_runs, job):
    ask_difference(job, viewer)
    job.close()
    qtbot.waitUntil(lambda: len(list(tmp_runs.glob("layers/*/*.nii.gz"))) == 2, timeout=60_000)
    assert job.job is None
    assert job.engine.pid is None
