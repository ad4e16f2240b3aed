"""The Synthesize dock: a cohort in the background, through the real viewer and a worker process of its own."""

import numpy as np
import pytest
import torch
from qtpy.QtCore import Qt
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QApplication

from braindiffusion.conditions import CategoryField, ConditionSchema, MapField, Numbers, ScalarField
from braindiffusion.generation.anatomy import AnatomyLibrary
from braindiffusion.models.cascade import Cascade, save_model
from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig, UNetConfig
from braindiffusion.regions import REGIONS
from braindiffusion.runs.reports.synthesis import read_cohort_report
from napari_braindiffusion.docks.open import open_dock

TIMEOUT = 240_000
SHAPE, SPACING = (16, 24, 16), 8.0


@pytest.fixture
def dock(make_napari_viewer_proxy, tmp_path):
    """With a small model that has learnt nothing, and region maps of its own."""
    seen = Numbers(mean=50, std=10, quantiles=tuple(range(20, 75, 5)))
    fields = (
        ScalarField(name="age", seen=seen),
        CategoryField(name="sex", values=("F", "M")),
        MapField(name="regions", labels=len(REGIONS)),
    )
    level = LevelConfig(unet=UNetConfig(widths=(8,), blocks=(1,), attention=(False,)), steps=2)
    schema = ConditionSchema(fields=fields)
    cascade = Cascade(
        CascadeConfig(shape=SHAPE, spacing=SPACING, depth=1, levels=(level,) * 2, condition=schema)
    ).eval()
    with torch.no_grad():
        cascade.level(0).mean.fill_(0.0)
    save_model(cascade, tmp_path / "toy", {"name": "toy"})
    maps = np.zeros((1, *SHAPE), np.uint8)
    maps[:, 4:12, 6:18, 4:12] = 20
    AnatomyLibrary.build(maps, SPACING, ["a"], [50.0], ["F"]).save(tmp_path / "toy")
    dock = open_dock(make_napari_viewer_proxy(show=True), "Synthesize")
    dock.form.fields["model"].offer([("toy", str(tmp_path / "toy"), "")])
    dock.form.set_values({"model": str(tmp_path / "toy"), "num": 2, "age": "30:40", "device": "cpu"})
    return dock


def test_a_cohort_is_generated_in_the_background(dock, qtbot, notices, tmp_path, monkeypatch):
    assert dock.form.fields["age"].native.placeholderText() == "All ages of the model (20 to 70)"
    assert dock.form.fields["out"].line_edit.native.placeholderText() == "Folder of the dataset"  # it has no default
    qtbot.mouseClick(dock.start_button, Qt.MouseButton.LeftButton)
    assert dock.job is None
    assert [message for _, message in notices()] == ["Choose a folder for the BIDS dataset first."]
    dock.form.set_values({"out": tmp_path / "bids"})
    qtbot.mouseClick(dock.start_button, Qt.MouseButton.LeftButton)
    assert not dock.start_button.isEnabled()
    warm = dock.engine.pid
    with qtbot.waitSignal(dock.job.ended, timeout=TIMEOUT):
        assert dock.synthesize() is None  # one at a time
    assert dock.engine.pid == warm  # in a process of its own: the one of the Generate dock stays free
    report = read_cohort_report(tmp_path / "bids")
    assert (report.subjects, report.sexes) == (2, {"F": 1, "M": 1})
    assert 30 <= report.ages.youngest <= report.ages.oldest <= 40
    qtbot.waitUntil(dock.start_button.isEnabled)
    opened = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()))
    qtbot.mouseClick(dock.report_button, Qt.MouseButton.LeftButton)
    assert opened == [str(tmp_path / "bids" / "report.html")]
    qtbot.mouseClick(dock.copy_button, Qt.MouseButton.LeftButton)
    assert "synthesize" in QApplication.clipboard().text()
    assert f"--bids {tmp_path / 'bids'}" in QApplication.clipboard().text()


def test_a_cancelled_cohort_keeps_what_is_complete(dock, qtbot, tmp_path):
    dock.form.set_values({"out": tmp_path / "bids", "num": 500})
    qtbot.mouseClick(dock.start_button, Qt.MouseButton.LeftButton)
    with qtbot.waitSignal(dock.job.progress, timeout=TIMEOUT, check_params_cb=lambda event: event.step >= 1):
        pass
    with qtbot.waitSignal(dock.job.ended, timeout=TIMEOUT):
        dock.progress.stop_requested.emit()
    qtbot.waitUntil(dock.start_button.isEnabled)
    rows = (tmp_path / "bids" / "participants.tsv").read_text().splitlines()[1:]
    assert 1 <= len(rows) < 500
    assert len(rows) == len(list((tmp_path / "bids").glob("sub-*/anat/*_T1w.json")))
