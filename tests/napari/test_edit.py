"""The Edit dock: paint, regenerate, keep, save, read back, through the real viewer and worker process."""

import nibabel as nib
import numpy as np
import pytest
from napari.layers import Labels
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QLabel

from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.conditions import ConditionSchema, MapField, Numbers, ScalarField
from braindiffusion.example_data import sample_t1_path
from braindiffusion.generation.anatomy import AnatomyLibrary
from braindiffusion.models.cascade import Cascade, save_model
from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig, UNetConfig
from braindiffusion.regions import REGIONS, region_index
from braindiffusion.runs import ArtifactWritten
from braindiffusion.runs.sidecar import load_sidecar
from braindiffusion.volume import Volume, load_volume, resample, save_volume
from napari_braindiffusion.docks.open import open_dock
from napari_braindiffusion.layers.files import PROVENANCE
from napari_braindiffusion.settings import PLUGIN

TIMEOUT = 240_000


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy(show=True)


@pytest.fixture
def dock(viewer, toy_model):
    """With a small model that has learnt nothing: what it makes is not air, and is no brain."""
    dock = open_dock(viewer, "Edit")
    dock.form.set_models([("toy", str(toy_model), "")])
    dock.form.fields["model"].value = str(toy_model)
    dock.form.fields["first_level"].value = 0
    return dock


@pytest.fixture
def changeable(tmp_path):
    """A model of region maps and age, with the maps of two subjects."""
    settings = Preprocessing(spacing=8.0, shape=(20, 26, 22))
    seen = Numbers(mean=50, std=10, quantiles=(20, 20, 25, 30, 40, 50, 60, 70, 75, 80, 80))
    schema = ConditionSchema(
        fields=(ScalarField(name="age", unit="years", seen=seen), MapField(name="regions", labels=len(REGIONS)))
    )
    level = LevelConfig(unet=UNetConfig(widths=(8,), blocks=(1,), attention=(False,)), steps=2)
    config = CascadeConfig(shape=settings.shape, spacing=8.0, depth=1, levels=(level,) * 2, condition=schema)
    card = {"name": "ages", "preprocessing": settings.model_dump(mode="json")}
    save_model(Cascade(config).eval(), tmp_path / "ages", card)
    maps = np.zeros((2, *settings.shape), np.uint8)
    maps[:, 4:-4, 4:-4, 4:-4] = region_index("left cerebral white matter")
    maps[0, 9:11, 9:15, 9:13] = maps[1, 7:13, 8:16, 8:14] = region_index("left lateral ventricle")
    AnatomyLibrary.build(maps, 8.0, ["a", "b"], [30.0, 70.0], ["F", "F"]).save(tmp_path / "ages")
    return tmp_path / "ages"


def test_what_is_painted_is_regenerated_saved_and_read_back(viewer, dock, qtbot, notices, tmp_path):
    image, _ = viewer.open_sample(PLUGIN, "real")
    before = image.data.copy()
    dock.form.image.setCurrentText(image.name)
    qtbot.mouseClick(dock.form.new_mask, Qt.MouseButton.LeftButton)
    mask = viewer.layers.selection.active
    assert isinstance(mask, Labels)
    assert dock.form.mask.currentText() == mask.name
    assert mask.mode == "paint"
    np.testing.assert_allclose(mask.scale, image.scale)
    np.testing.assert_allclose(mask.translate, image.translate)
    mask.paint(tuple(n // 2 for n in image.data.shape), 1)
    painted = mask.data > 0
    assert painted.sum() > 100
    dock.form.fields["num_proposals"].value = 2
    assert dock.form.side_by_side.visible
    previews = []
    dock.job.artifact.connect(lambda event, _: previews.append((event.kind, viewer.layers.selection.active)))
    with qtbot.waitSignal(dock.job.ended, timeout=TIMEOUT):
        qtbot.mouseClick(dock.generate_button, Qt.MouseButton.LeftButton)
        assert not dock.generate_button.isEnabled()
    assert [level for level, _ in notices() if level != "info"] == []
    assert len(dock.proposals) == 2
    assert [kind for kind, _ in previews if kind != "preview"] == ["volume", "volume"]
    assert not any("preview" in layer.name for layer in viewer.layers)
    assert viewer.canvas.grid.enabled
    assert [layer.visible for layer in (image, mask, *dock.proposals)] == [True, False, True, True]
    for proposal in dock.proposals:
        np.testing.assert_allclose(proposal.scale, image.scale)
        np.testing.assert_allclose(proposal.translate, image.translate)
        np.testing.assert_array_equal(proposal.data[~painted], before[~painted])
        assert (proposal.data != before)[painted].mean() > 0.5
        assert proposal.metadata[PROVENANCE]["synthetic"] == "part"
    np.testing.assert_array_equal(image.data, before)
    kept, other = dock.proposals[1], dock.proposals[0]
    viewer.layers.selection.active = kept
    qtbot.mouseClick(dock.keep_button, Qt.MouseButton.LeftButton)
    assert kept in viewer.layers
    assert other not in viewer.layers
    assert image in viewer.layers
    assert not viewer.canvas.grid.enabled
    assert mask.visible
    assert dock.progress.label.text() == f"Kept: {kept.name}."
    kept.save(str(tmp_path / "edited.nii.gz"))
    np.testing.assert_array_equal(load_volume(tmp_path / "edited.nii.gz").data[0], kept.data)
    assert (tmp_path / "edited.json").is_file()


def test_a_part_of_an_oblique_scan_is_regenerated_saved_and_read_back(viewer, dock, qtbot, notices, tmp_path):
    """A tilted scan of 2.6 mm, int16: what is not painted, and the place in the scanner, are those of its file."""
    sample = load_volume(sample_t1_path())
    turn = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.2, 0.1, 0.15), [3.0, -5.0, 2.0])
    tilted = resample(sample, turn @ sample.affine @ np.diag([1.3, 1.3, 1.3, 1]), (90, 92, 72))
    path = tmp_path / "tilted_T1w.nii.gz"
    save_volume(Volume(np.rint(tilted.data * 10), tilted.affine), path, dtype=np.int16)
    (image,) = viewer.open(path, plugin=PLUGIN)
    dock.form.image.setCurrentText(image.name)
    mask = dock.add_mask()
    mask.paint((45, 46, 42), 1)
    with qtbot.waitSignal(dock.job.ended, timeout=TIMEOUT):
        qtbot.mouseClick(dock.generate_button, Qt.MouseButton.LeftButton)
    assert [message for level, message in notices() if level != "info"] == []
    (proposal,) = dock.proposals
    for layer, name in ((proposal, "edited.nii.gz"), (mask, "mask.nii.gz")):
        layer.save(str(tmp_path / name))
    before, after, painted = (load_volume(tmp_path / name) for name in (path.name, "edited.nii.gz", "mask.nii.gz"))
    marked = painted.data[0] > 0
    assert marked.sum() > 100
    for one in (after, painted):
        np.testing.assert_allclose(one.affine, before.affine, atol=1e-4)
    assert after.data.dtype == before.data.dtype == np.int16
    np.testing.assert_array_equal(after.data[0][~marked], before.data[0][~marked])
    assert (after.data != before.data)[0][marked].mean() > 0.5
    assert load_sidecar(tmp_path / "edited.json")["synthetic"] == "part"


def test_the_detail_of_a_whole_brain_is_varied(viewer, dock, qtbot, notices):
    image, _ = viewer.open_sample(PLUGIN, "real")
    form = dock.form
    form.image.setCurrentText(image.name)
    form.operation.setCurrentIndex(form.operation.findData("vary"))
    assert not form.mask.isVisible()
    form.fields["first_level"].value = 1
    with qtbot.waitSignal(dock.job.ended, timeout=TIMEOUT):
        qtbot.mouseClick(dock.generate_button, Qt.MouseButton.LeftButton)
    (varied,) = dock.proposals
    brain = image.data > 0
    assert (varied.data != image.data)[brain].mean() > 0.5
    assert np.corrcoef(varied.data[brain], image.data[brain])[0, 1] > 0.5  # the coarse structure is its own


def test_an_edit_that_cannot_be_done_is_told_and_one_can_be_cancelled(viewer, dock, qtbot, notices):
    dock.generate()
    dock.add_mask()
    image, regions = viewer.open_sample(PLUGIN, "real")
    dock.form.image.setCurrentText(image.name)
    dock.form.mask.setCurrentText("")
    mask = dock.add_mask()
    with qtbot.waitSignal(dock.job.failed, timeout=TIMEOUT) as empty:
        dock.generate()
    assert "0 everywhere" in empty.args[0]
    mask.data[:2, :2, :2] = 1
    with qtbot.waitSignal(dock.job.failed, timeout=TIMEOUT) as air:
        dock.generate()
    assert "No brain lies under the mask" in air.args[0]
    messages = [message for _, message in notices()]
    assert "Choose an image" in messages[0]
    assert "Open an image first" in messages[1]
    dock.keep()
    assert "Select the proposal" in notices()[-1][1]
    regions.selected_label = int(np.bincount(regions.data.ravel())[1:].argmax()) + 1
    dock.form.mask.setCurrentText(regions.name)
    dock.form.selected_only.setChecked(True)
    viewer.dims.set_point(2, viewer.dims.range[2].start)
    dock.generate()
    shown = round(regions.world_to_data(viewer.dims.point)[2])
    assert (regions.data[:, :, shown] == regions.selected_label).any()  # a slice with something of it
    with qtbot.waitSignal(dock.job.cancelled, timeout=TIMEOUT):
        dock.job.cancel()
    assert dock.generate_button.isEnabled()
    assert dock.proposals == []


def test_a_change_comes_as_layers_and_a_sweep_as_one_with_a_slider(
    viewer, dock, qtbot, notices, changeable, tmp_path, monkeypatch
):
    image, _ = viewer.open_sample(PLUGIN, "real")
    form = dock.form
    form.set_models([("ages", str(changeable), "")])
    form.fields["model"].value = str(changeable)
    form.image.setCurrentText(image.name)
    form.operation.setCurrentIndex(form.operation.findData("change"))
    assert not form.mask.isVisible()
    assert form.changes.isVisible()
    assert set(form.changes.rows) == {"age"}
    labels = [label.text() for label in form.changes.findChildren(QLabel)]
    assert "Age\n20 to 80" in labels  # of the training subjects
    dock.generate()
    assert "Choose what to change" in notices()[-1][1]
    form.changes.ask({"age": 75.0})
    form.own.ask({"age": 45.0})
    form.fields["num_values"].value = 2
    form.fields["first_level"].value = 2
    with qtbot.waitSignal(dock.job.ended, timeout=TIMEOUT):
        qtbot.mouseClick(dock.generate_button, Qt.MouseButton.LeftButton)
    assert [message for level, message in notices() if level != "info"] == [notices()[0][1]]
    assert [layer.name for layer in dock.proposals] == [f"{image.name} age 45", f"{image.name} age 75"]
    sweep = viewer.layers[f"{image.name} sweep"]
    assert sweep.data.shape == (2, *image.data.shape)
    np.testing.assert_allclose(sweep.scale[1:], image.scale)
    np.testing.assert_allclose(sweep.translate[1:], image.translate)
    np.testing.assert_allclose(sweep.data[1], dock.proposals[1].data, atol=1)
    assert sweep.visible
    assert not dock.proposals[0].visible
    assert dock.proposals[1].metadata[PROVENANCE]["after"] == {"age": 75.0}
    viewer.dims.set_point(0, 0)
    assert viewer.canvas.overlays.text.text == "age 45"
    assert dock.animation_button.isVisible()
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "ageing"), ""))
    qtbot.mouseClick(dock.animation_button, Qt.MouseButton.LeftButton)
    assert (tmp_path / "ageing.gif").read_bytes().startswith(b"GIF89a")
    (tmp_path / "ageing.gif").write_bytes(b"mine")
    qtbot.mouseClick(dock.animation_button, Qt.MouseButton.LeftButton)
    assert (tmp_path / "ageing.gif").read_bytes() == b"mine"
    assert "choose another name" in notices()[-1][1]
    sweep.save(str(tmp_path / "sweep.nii.gz"))
    assert load_volume(tmp_path / "sweep.nii.gz").channels == 2


def test_previews_come_while_an_edit_runs_and_leave_the_selection_alone(viewer, dock, notices):
    image, _ = viewer.open_sample(PLUGIN, "real")
    dock._source = image
    mask = dock.add_mask()
    small = Volume(np.random.default_rng(0).random((1, 8, 8, 8)).astype(np.float32), np.diag([8.0, 8, 8, 1]))
    event = ArtifactWritten(kind="preview", path="preview.nii", name="proposal 1")
    dock.job.artifact.emit(event, small)
    preview = viewer.layers[f"{image.name} proposal 1 (preview)"]
    assert viewer.layers.selection.active == mask
    dock.job.artifact.emit(event, Volume(small.data / 2, small.affine))
    np.testing.assert_allclose(preview.data, small.data[0] / 2)  # the same layer
    dock.job.cancelled.emit()
    assert preview not in viewer.layers
    assert "Cancelled" in dock.progress.label.text()


@pytest.mark.parametrize(
    "place",
    [
        {"affine": [[-2, 0, 0, 50], [0, 2, 0, -20], [0, 0, 2, 10], [0, 0, 0, 1]]},
        {"affine": np.diag([1, 2, -3, 1]), "scale": (1, 2, 1), "translate": (1, 2, 3)},
        {"affine": [[1, 0, 0, 5], [0, 0.8, -0.6, 0], [0, 0.6, 0.8, 0], [0, 0, 0, 1]], "scale": (3, 2, 1)},
    ],
)
def test_a_new_mask_lies_on_the_image_however_that_is_placed(viewer, place):
    """As other plugins place their layers."""
    dock = open_dock(viewer, "Edit")
    image = viewer.add_image(np.ones((4, 5, 6), np.float32), units="mm", **place)
    mask = dock.add_mask()
    for corner in ((0, 0, 0), (4, 0, 0), (0, 5, 0), (0, 0, 6)):
        assert mask.data_to_world(corner) == pytest.approx(image.data_to_world(corner))


def test_a_mask_is_edited_while_the_axes_are_rolled(viewer, dock, notices, monkeypatch):
    """With a trajectory in the viewer, a slice may go along its steps."""
    image, _ = viewer.open_sample(PLUGIN, "real")
    viewer.add_image(np.zeros((3, 4, 5, 6), np.float32), name="way")
    dock.form.image.choose(image)
    mask = dock.add_mask()
    mask.data[40:44, 50:54, 5:8] = 1
    asked = []
    monkeypatch.setattr(dock.job, "ask", lambda sources, _: asked.append(sources))
    for turn in range(4):
        viewer.dims.roll()
        viewer.dims.set_point(0, 1)
        dock.generate()
        assert asked.pop() == [image, mask], turn
        assert viewer.dims.point[0] == 1  # of the steps
    assert [message for level, message in notices() if level == "error"] == []
