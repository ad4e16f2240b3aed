"""The Evaluate dock in the real viewer with a real engine: reports, the nearest real brain, pages for the browser."""

import json
from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QApplication
from scipy.ndimage import gaussian_filter

from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.cohort.store import Cohort, PreparedVolume, Subject
from braindiffusion.regions import region_index
from braindiffusion.runs import EvaluateRequest, NearestRequest, RunState, list_runs
from braindiffusion.runs.reports.evaluation import Evaluation
from braindiffusion.volume import Volume, load_volume, save_volume
from napari_braindiffusion import commands
from napari_braindiffusion.layers.cohort import COHORT
from napari_braindiffusion.layers.files import PROVENANCE
from napari_braindiffusion.widgets.nearest_view import NearestView
from napari_braindiffusion.widgets.tables.metric_table import MARKS

TIMEOUT = 90_000
PLUGIN = "napari-braindiffusion"
SHAPE, SPACING = (20, 26, 22), 8.0
AFFINE = np.diag([SPACING] * 3 + [1.0])
AFFINE[:3, 3] = [-SPACING * (n - 1) / 2 for n in SHAPE]
PEOPLE = 15

WHITE_MATTER = ("left cerebral white matter", "right cerebral white matter")


def person(seed: int) -> np.ndarray:
    """An ellipsoid with bumps of its own, (x, y, z) in [0, 1]."""
    rng = np.random.default_rng(seed)
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    radius = np.sqrt(sum((side / axis) ** 2 for side, axis in zip(grid, rng.uniform(0.7, 0.85, 3), strict=True)))
    bumps = gaussian_filter(rng.standard_normal(SHAPE), 2)
    brain = np.where(radius + 0.15 * bumps / bumps.std() < 1, 0.6 + 0.1 * rng.standard_normal(SHAPE), 0)
    return brain.clip(0, 1).astype(np.float32)


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Path:
    """A prepared cohort; the last by name count as held out."""
    path = tmp_path_factory.mktemp("people") / "people.zarr"
    store = Cohort.create(path, Preprocessing(spacing=SPACING, shape=SHAPE, skull="strip"))
    for i in range(PEOPLE):
        voxels = person(i)
        volume = PreparedVolume((voxels * 2 - 1)[None].astype(np.float16), voxels > 0, None, AFFINE)
        store.put(Subject(id=f"s{i:02d}", age=20.0 + i, sex="MF"[i % 2]), volume)
    store.finish()
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder of two generated brains; the second is a copy of a person."""
    folder = tmp_path_factory.mktemp("generated")
    for name, seed in (("sample_001", 100), ("sample_002", 4)):
        save_volume(Volume(person(seed)[None], AFFINE), folder / f"{name}.nii.gz")
        (folder / f"{name}.json").write_text(json.dumps({"synthetic": True, "seed": seed}))
    return folder


@pytest.fixture
def dock(viewer):
    _, dock = viewer.window.add_plugin_dock_widget(PLUGIN, "Evaluate")
    dock.form.fields["segmentation_model"].value = "none"
    dock.form.fields["pairs"].value = 2
    dock.form.fields["repeats"].value = 10
    return dock


@pytest.fixture
def opened(monkeypatch) -> list[Path]:
    """What was opened in the browser or in the file manager."""
    paths: list[Path] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: paths.append(Path(url.toLocalFile())))
    return paths


def brain(viewer, seed: int, name: str):
    return viewer.add_image(
        person(seed),
        name=name,
        scale=AFFINE.diagonal()[:3],
        translate=AFFINE[:3, 3],
        units="mm",
        metadata={PROVENANCE: {"synthetic": True, "seed": seed}},
    )


def click(button, qtbot):
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def done(dock, qtbot):
    qtbot.waitUntil(lambda: not dock.jobs.is_busy, timeout=TIMEOUT)


def test_a_report_from_layers_and_folders_is_made_shown_and_found_again(
    viewer, dock, people, made, qtbot, notices, opened
):
    form = dock.form
    click(dock.evaluate_button, qtbot)
    assert "generated brains first" in notices()[-1][1]

    # generated: a folder and two layers, of which one is renamed and one goes again; real: a cohort
    form.generated.add_path(made)
    first, second = brain(viewer, 200, "a"), brain(viewer, 201, "gone")
    viewer.layers.selection = {first, second}
    form.generated.layers_action.trigger()
    first.name = "a brain"
    viewer.layers.remove(second)
    assert [form.generated.list.item(i).text() for i in range(2)] == [f"{made.name} · folder", "a brain · layer"]
    click(dock.evaluate_button, qtbot)
    assert "real brains first" in notices()[-1][1]
    form.real.add_path(people)

    click(dock.copy_button, qtbot)
    qtbot.waitUntil(lambda: "Copied" in notices()[-1][1], timeout=TIMEOUT)
    command = QApplication.clipboard().text()
    assert command.startswith("braindiffusion evaluate --real ")

    told = len(notices())
    steps = []
    dock.jobs.progress.connect(lambda event: steps.append(event.stage))
    click(dock.evaluate_button, qtbot)
    assert not dock.evaluate_button.isEnabled()
    done(dock, qtbot)
    assert [severity for severity, _ in notices()[told:]] == ["warning"]
    assert "no target can be met with fewer than 20" in notices()[-1][1]
    assert dock.evaluate_button.isEnabled()
    assert dict.fromkeys(steps).keys() >= {"training brains", "generated brains", "pairs", "figures", "report"}

    # the layer went out as it is, with its provenance, once
    (run,) = [run for run in list_runs() if isinstance(run.request, EvaluateRequest)]
    folder, written = run.request.generated
    assert (folder, run.request.real) == (made, (people,))
    assert str(written) in command
    np.testing.assert_array_equal(load_volume(written).data[0], first.data)
    assert json.loads(written.with_name("a_brain.json").read_text())["seed"] == 200

    # all of it is in the dock
    found = Evaluation.model_validate_json((run.results / "evaluation.json").read_bytes())
    assert found.generated == ["sample_001", "sample_002", "a_brain"]
    table = dock.view.table
    assert table.rowCount() == len(found.targets)
    for row, target in enumerate(found.targets):
        assert table.item(row, 0).text() == MARKS[target.outcome]
        assert table.item(row, 1).text() == target.title
        assert target.target.replace("<", "&lt;")[1:] in table.item(row, 2).toolTip()
    figures = [dock.view.figure.itemText(i) for i in range(dock.view.figure.count())]
    assert figures == ["Brain shape", "Power spectrum", "Intensity", "Novelty: low-pass voxels"]
    captions = set()
    for index in range(len(figures)):
        dock.view.figure.setCurrentIndex(index)
        captions.add(dock.view.caption.text())
    assert len(captions) == len(figures)
    assert "1 copy" in dock.view.caption.text()
    dock.view.group.setCurrentIndex(dock.view.group.findText("Shape"))
    assert table.rowCount() == sum(row.group == "shape" for row in found.rows)
    assert table.isColumnHidden(0)
    assert "embedding" in dock.view.left_out.text()

    # the page, and the folder
    click(dock.view.report_button, qtbot)
    click(dock.view.folder_button, qtbot)
    assert opened == [run.results / "report.html", run.results]
    assert opened[0].is_file()

    # an earlier report, in a new dock; and one of any folder
    viewer.window.remove_dock_widget("all")
    _, again = viewer.window.add_plugin_dock_widget(PLUGIN, "Evaluate")
    again.reports.choose(run)
    again.reports.run_chosen.emit(run)
    assert again.view.isVisibleTo(again)
    assert again.form.values()["repeats"] == 10
    assert again.form.generated.sources == [made, written]
    again.reports.run_chosen.emit(None)
    assert not again.view.isVisibleTo(again)
    again.show_report(run.results)
    assert again.view.isVisibleTo(again)


def test_an_evaluation_is_cancelled_and_one_that_cannot_be_done_is_told(viewer, dock, people, qtbot, notices, tmp_path):
    dock.form.real.add_path(people)
    dock.form.generated.add(brain(viewer, 1, "a"), "a")
    click(dock.evaluate_button, qtbot)
    click(dock.progress.stop_button, qtbot)  # while its layer is written
    assert dock.progress.label.text() == "Cancelled."
    assert list_runs() == []

    dock.form.generated.set_paths([people])
    with qtbot.waitSignal(dock.jobs.progress, timeout=TIMEOUT):
        click(dock.evaluate_button, qtbot)
    click(dock.progress.stop_button, qtbot)
    done(dock, qtbot)
    assert dock.progress.label.text() == "Cancelled."
    (run,) = list_runs()
    assert run.state is RunState.CANCELLED
    dock.refresh()
    dock.reports.run_chosen.emit(run)
    assert "has no report" in notices()[-1][1]
    assert not dock.view.isVisibleTo(dock)

    dock.form.generated.set_paths([tmp_path / "nothing"])
    click(dock.evaluate_button, qtbot)
    done(dock, qtbot)
    assert notices()[-1][0] == "error"
    assert "nothing" in notices()[-1][1]
    assert "nothing" in dock.progress.label.text()


def test_the_nearest_real_brain_comes_beside_it_with_what_is_normal(viewer, dock, people, qtbot, notices):
    commands.nearest_brain(viewer)
    assert "one brain" in notices()[-1][1]
    copy = brain(viewer, 4, "a copy")
    viewer.layers.selection.active = copy
    click(dock.nearest_button, qtbot)
    qtbot.waitUntil(lambda: "Add the real brains" in notices()[-1][1], timeout=TIMEOUT)

    # the layer of a prepared cohort stands for all of it
    units = ("pixel", "mm", "mm", "mm")
    cohort = viewer.add_image(np.zeros((2, *SHAPE)), metadata={COHORT: str(people)}, units=units, visible=False)
    viewer.layers.selection = {cohort}
    dock.form.real.layers_action.trigger()
    assert dock.form.real.sources == [people]
    viewer.layers.selection.active = copy
    told = len(notices())
    with qtbot.waitSignal(dock.jobs.finished, timeout=TIMEOUT):
        click(dock.nearest_button, qtbot)
    assert notices()[told:] == []
    shown = [layer for layer in viewer.layers if layer.visible]
    assert [layer.name for layer in shown[:2]] == ["a_copy", "training 0.00 · s04"]
    assert shown[2].name.startswith("held-out 0.")
    assert viewer.canvas.grid.enabled
    assert len({(layer.data.shape, tuple(layer.translate)) for layer in shown}) == 1
    assert viewer.layers.selection.active.name == shown[0].name
    assert shown[0].metadata[PROVENANCE] == copy.metadata[PROVENANCE]
    view: NearestView = dock.nearest_view
    assert view.isVisibleTo(dock)
    assert "A copy" in view.verdict.text()
    assert "s04 (24 years, M)" in view.people.text()

    # another brain, by the command; the real ones are those of the last time; its answer takes the place of the first
    dock.form.real.set_paths([])
    before = len(viewer.layers)
    viewer.layers.selection.active = brain(viewer, 300, "new")
    with qtbot.waitSignal(dock.jobs.finished, timeout=TIMEOUT):
        dock.find_nearest()
    assert "A copy" not in view.verdict.text()
    assert len(viewer.layers) == before + 1
    (request, _) = [run.request for run in list_runs() if isinstance(run.request, NearestRequest)]
    assert request.real == (people,)


def test_pages_of_the_selected_layers_open_in_the_browser(viewer, qtbot, notices, opened):
    for command, words in (
        (commands.browse_volume, "one brain"),
        (commands.browse_slices, "one brain"),
        (commands.browse_regions, "Labels layer"),
        (commands.browse_trajectory, "denoising trajectory"),
        (commands.browse_comparison, "2 to 4"),
    ):
        command(viewer)
        assert notices()[-1][0] == "error"
        assert words in notices()[-1][1]

    first, second = brain(viewer, 1, "one"), brain(viewer, 2, "two")
    place = {"scale": first.scale, "translate": first.translate, "units": "mm"}
    sides = np.where(np.arange(len(person(1))) < len(person(1)) // 2, *map(region_index, WHITE_MATTER))
    labels = viewer.add_labels((person(1) > 0) * sides[:, None, None].astype(np.uint8), name="regions", **place)
    units = ("pixel", "mm", "mm", "mm")
    way = viewer.add_image(np.stack([person(3)] * 3), scale=(1, *first.scale), units=units, visible=False)
    told = len(notices())
    for command, page, chosen in (
        (commands.browse_volume, "volume", {first}),
        (commands.browse_slices, "slices", {second}),
        (commands.browse_regions, "regions", {first}),  # with the map that lies on it
        (commands.browse_trajectory, "process", {way}),
        (commands.browse_comparison, "compare", {labels}),  # the two that are visible
    ):
        viewer.layers.selection = chosen
        command(viewer)
        qtbot.waitUntil(lambda page=page: bool(opened) and opened[-1].stem == page, timeout=TIMEOUT)
        assert "plotly" in opened[-1].read_text()
    assert {severity for severity, _ in notices()[told:]} == {"info"}
    assert len(list_runs()) == 5
