"""The Edit dock: paint, regenerate, keep, save, read back, through the real viewer and worker process."""

import numpy as np
import pytest
import torch
from napari.layers import Labels
from qtpy.QtCore import Qt

from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.models.cascade import Cascade, save_model
from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig, UNetConfig
from braindiffusion.volume import load_volume
from napari_braindiffusion.docks.open import open_dock
from napari_braindiffusion.layers.files import PROVENANCE
from napari_braindiffusion.settings import PLUGIN

TIMEOUT = 240_000


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy(show=True)


@pytest.fixture
def dock(viewer, tmp_path):
    """With a small model that has learnt nothing: what it makes is not air, and is no brain."""
    settings = Preprocessing(spacing=8.0, shape=(20, 26, 22))
    level = LevelConfig(unet=UNetConfig(widths=(8,), blocks=(1,), attention=(False,)), steps=2)
    cascade = Cascade(CascadeConfig(shape=settings.shape, spacing=8.0, depth=1, levels=(level,) * 2)).eval()
    with torch.no_grad():
        cascade.level(0).mean.fill_(0.0)
    save_model(cascade, tmp_path / "toy", {"name": "toy", "preprocessing": settings.model_dump(mode="json")})
    dock = open_dock(viewer, "Edit")
    dock.form.set_models([("toy", str(tmp_path / "toy"), "")])
    dock.form.fields["model"].value = str(tmp_path / "toy")
    dock.form.fields["first_level"].value = 0
    return dock


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
    with qtbot.waitSignal(dock.job.ended, timeout=TIMEOUT):
        qtbot.mouseClick(dock.generate_button, Qt.MouseButton.LeftButton)
        assert not dock.generate_button.isEnabled()
    assert [level for level, _ in notices() if level != "info"] == []
    assert len(dock.proposals) == 2
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
    kept.save(str(tmp_path / "edited.nii.gz"))
    np.testing.assert_array_equal(load_volume(tmp_path / "edited.nii.gz").data[0], kept.data)
    assert (tmp_path / "edited.json").is_file()


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
    dock.generate()
    with qtbot.waitSignal(dock.job.cancelled, timeout=TIMEOUT):
        dock.job.cancel()
    assert dock.generate_button.isEnabled()
    assert dock.proposals == []
