"""From a folder of real brains to a NIfTI file of a new one: the real viewer, the real engine, a user's every step.

At 8 mm and for a few epochs: this shows that the rooms join, not what a brain looks like.
"""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
from qtpy.QtCore import Qt

from braindiffusion.example_data import samples_dir
from braindiffusion.runs import RunState
from napari_braindiffusion import docks
from napari_braindiffusion.docks.generate import GenerateDock

TIMEOUT = 300_000  # a training gives way to all else


def open_dock(viewer, name):
    return viewer.window.add_plugin_dock_widget("napari-braindiffusion", name)[1]


def test_sample_prepare_train_stop_resume_generate_save(viewer, qtbot, tmp_path, engines, notices):
    # A sample that comes along opens as layers in mm.
    viewer.open_sample("napari-braindiffusion", "real")
    assert [layer.name for layer in viewer.layers] == ["IXI T1w", "IXI regions"]
    viewer.layers.clear()

    # Find and prepare.
    cohort = open_dock(viewer, "Cohort")
    cohort.form.fields["data_dir"].value = samples_dir() / "IXI-T1"
    qtbot.waitUntil(lambda: len(cohort.table.subjects) == 6, timeout=TIMEOUT)
    cohort.form.fields["spacing"].value = 8.0
    cohort.form.fields["out"].value = tmp_path / "brains.zarr"
    qtbot.mouseClick(cohort.prepare_button, Qt.MouseButton.LeftButton)
    with qtbot.waitSignal(cohort.job.finished, timeout=TIMEOUT):
        pass

    # Train, stop, resume.
    train = open_dock(viewer, "Train")
    train.form.fields["data"].value = tmp_path / "brains.zarr"
    train.form.fields["preset"].value = "tiny"
    train.form.fields["epochs"].value = 4
    train.form.fields["validation_subjects"].value = 1
    qtbot.mouseClick(train.start_button, Qt.MouseButton.LeftButton)
    run = train.job.run
    with qtbot.waitSignal(train.job.metric, timeout=TIMEOUT):
        pass
    with qtbot.waitSignal(train.job.ended, timeout=TIMEOUT):
        train.stop()
    assert run.state is RunState.CANCELLED
    assert (run.checkpoints / "last" / "model.safetensors").is_file()
    qtbot.mouseClick(train.start_button, Qt.MouseButton.LeftButton)
    with qtbot.waitSignal(train.job.ended, timeout=TIMEOUT):
        pass
    assert run.state is RunState.FINISHED, notices()
    steps = {stage: train.curve.points(stage, "loss")[0] for stage in ("level 0", "level 3")}
    assert all(len(seen) and seen == sorted(seen) for seen in steps.values())
    assert train.curve.points("level 3", "validation_loss")[0]
    assert len(viewer.layers) == 1  # the sample that training showed now and then, always the same layer
    viewer.layers.clear()

    # Generate from it.
    generate = open_dock(viewer, "Generate")
    generate.form.choose_model(run.path)
    generate.form.fields["seed"].value = 11
    generate.form.fields["trajectory"].value = True
    qtbot.mouseClick(generate.generate_button, Qt.MouseButton.LeftButton)
    with qtbot.waitSignal(generate.job.ended, timeout=TIMEOUT):
        pass
    brain = viewer.layers["seed 11"]
    way = viewer.layers["seed 11 (trajectory)"]
    np.testing.assert_allclose(brain.scale, 8.0)
    assert way.data.shape[1:] == brain.data.shape == (24, 32, 24)
    np.testing.assert_allclose(way.data[-1], brain.data, atol=1e-6)
    assert brain.metadata["provenance"]["seed"] == 11

    # Save, and read it back with the tool of the field.
    file = tmp_path / "new brain.nii.gz"
    viewer.layers.selection = {brain}
    viewer.layers.save(str(file), selected=True, plugin="napari-braindiffusion")
    saved = nib.load(file)
    np.testing.assert_allclose(saved.get_fdata(), brain.data, atol=1e-6)
    np.testing.assert_allclose(nib.affines.voxel_sizes(saved.affine), 8.0)
    assert nib.aff2axcodes(saved.affine) == ("R", "A", "S")
    written = nib.load(brain.metadata["path"])
    np.testing.assert_allclose(saved.affine, written.affine)
    assert json.loads(Path(brain.metadata["path"].replace(".nii.gz", ".json")).read_text())["seed"] == 11

    viewer.close()
    qtbot.waitUntil(lambda: not engines(), timeout=TIMEOUT)


def test_a_bad_model_file_is_told_in_plain_words(viewer, qtbot, tmp_path, notices):
    (tmp_path / "model.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    dock = GenerateDock(viewer)
    viewer.window.add_dock_widget(dock)
    dock.form.choose_model(tmp_path)
    qtbot.mouseClick(dock.generate_button, Qt.MouseButton.LeftButton)
    with qtbot.waitSignal(dock.job.failed, timeout=TIMEOUT) as failed:
        pass
    (message,) = failed.args
    assert str(tmp_path) in message
    assert "bug" not in message
    assert notices() == [("error", message)]


def test_docks_import_only_what_they_need():
    """Nothing that takes long to import, and that a dock does without."""
    import subprocess
    import sys

    names = sorted(path.stem for path in Path(docks.__file__).parent.glob("*.py") if path.stem != "__init__")
    modules = ", ".join(["napari_braindiffusion.demo", *(f"napari_braindiffusion.docks.{name}" for name in names)])
    slow = {"torch", "torchio", "zarr", "nibabel", "scipy.ndimage"}
    code = f"import sys, {modules}; sys.exit({slow} & sys.modules.keys() or 0)"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
