"""Parts of the Evaluate dock without an engine: lists of brains, tables, plots, and layers that become files."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyqtgraph as pg
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels
from qtpy.QtCore import QMimeData, QObject, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent, QWheelEvent

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.models.registry import CARD
from braindiffusion.runs import (
    Cancelled,
    EvaluateRequest,
    Finished,
    GenerateRequest,
    PrepareRequest,
    Run,
    RunState,
    TrainRequest,
)
from braindiffusion.runs.reports.evaluation import (
    Curve,
    Estimate,
    Evaluation,
    LeftOut,
    Memorization,
    Neighbour,
    Row,
    Spread,
    TargetResult,
)
from braindiffusion.runs.reports.nearest import Match, Nearest, Normal
from braindiffusion.runs.requests import TrainSegmentationRequest
from napari_braindiffusion.engine.client import EngineClient
from napari_braindiffusion.io.evaluation_inputs import Origin, known, origin
from napari_braindiffusion.layers import files as layer_files
from napari_braindiffusion.layers.files import as_paths, is_brain
from napari_braindiffusion.layers.jobs import LayerJob
from napari_braindiffusion.layers.nearest import NearestLayers
from napari_braindiffusion.widgets.evaluation_view import EvaluationView
from napari_braindiffusion.widgets.forms.evaluate_form import EvaluateForm
from napari_braindiffusion.widgets.nearest_view import NearestView
from napari_braindiffusion.widgets.source_list import SourceList

NEAR, FAR = (Estimate(value=value, low=value - 0.1, high=value + 0.1) for value in (0.2, 1.5))


def rows() -> list[Row]:
    spread = Spread(generated_mean=3.0, generated_sd=0.2, real_mean=4.0, real_sd=0.5)
    flat = Spread(generated_mean=3.0, generated_sd=0.2, real_mean=4.0, real_sd=0.0)
    told = {"unit": "SD", "generated": FAR, "real_baseline": NEAR, "brains": 3}
    return [
        Row(group="volumes", name="all regions, median", **told),
        Row(group="volumes", name="left hippocampus (ml)", spread=spread, **told),
        Row(group="volumes", name="third ventricle (ml)", spread=flat, **told),
        Row(group="condition adherence", name="age, correlation", generated=NEAR, brains=3),
        Row(group="new", name="x", generated=NEAR, brains=3, description="Words of its own."),
    ]


@pytest.fixture
def evaluation() -> Evaluation:
    near = [
        Neighbour(generated=f"g{i}", training="t", to_training=r, held_out="h", to_held_out=1, ratio=r, copied=r < 0.5)
        for i, r in enumerate((0.1, 0.9, 0.9, 1.1))
    ]
    return Evaluation(
        created=datetime(2026, 1, 1, tzinfo=UTC),
        command="",
        versions={},
        model="toy",
        segmenter="",
        generated=["a"] * 3,
        training=["b"] * 6,
        held_out=["c"] * 4,
        repeats=10,
        rows=rows(),
        targets=[
            TargetResult(
                target="volumes within 1.5 x", reached="1.5 [1, 2], 3 brains", outcome="missed", stretch="1.2 x"
            )
            .model_copy(update={"title": "region volumes", "group": "volumes", "name": "all regions, median"})
            .model_copy(update={"stretch_outcome": "missed"}),
            TargetResult(target="of an older report", reached="0.3 [0.1, 0.4] dB, 3 brains", outcome="met"),
        ],
        curves=[
            Curve(
                name="power spectrum",
                x=[0.1, 0.2],
                x_unit="f",
                unit="dB",
                generated=[FAR] * 2,
                real_baseline=[NEAR] * 2,
            ),
            Curve(
                name="intensity", x=[0.1, 0.2], x_unit="i", unit="share", generated=[FAR] * 2, real_baseline=[NEAR] * 2
            ),
        ],
        memorization=[
            Memorization(
                space="voxels",
                p=0.01,
                ratio=FAR,
                real_baseline=NEAR,
                threshold=0.5,
                ratios=[one.ratio for one in near],
                real_baseline_ratios=[0.9, 1.0, 1.0],
                neighbours=near,
            )
        ],
        left_out=[LeftOut(what="condition adherence", why="nobody asked.")],
    )


@pytest.fixture
def view(qtbot) -> EvaluationView:
    view = EvaluationView()
    qtbot.addWidget(view)
    return view


def dots(plot) -> list[str]:
    """What the dots of a figure say."""
    items = [item for item in plot.getPlotItem().items if isinstance(item, pg.ScatterPlotItem)]
    return [spot.data() for item in items for spot in item.points()]


def test_a_report_in_the_dock(view, evaluation):
    assert not view.isVisibleTo(view.parentWidget())
    view.show_evaluation(evaluation)
    assert "1 of 2 targets met" in view.summary.text()
    assert "toy" in view.summary.text()
    assert view.left_out.text() == "Left out: condition adherence (nobody asked)."
    cells = [[view.table.item(row, column).text() for column in range(4)] for row in range(2)]
    assert cells[0] == ["✗", "region volumes", "1.5 SD\n[1.4, 1.6]", "0.2 SD\n[0.1, 0.3]"]
    assert cells[1][2] == "0.3 [0.1"
    tip = view.table.item(0, 1).toolTip()
    assert "Volumes within 1.5 x: missed" in tip
    assert "1.2 x, missed" in tip
    assert "real baseline is what real training brains reach" in tip
    view.group.setCurrentIndex(view.group.findText("Condition adherence"))
    assert view.table.item(0, 3).text() == ""
    view.group.setCurrentIndex(view.group.findText("New"))
    assert "Words of its own." in view.table.item(0, 1).toolTip()


def test_a_target_that_too_few_brains_leave_open_is_inconclusive(view, evaluation):
    few = evaluation.targets[1].model_copy(update={"outcome": "inconclusive"})
    view.show_evaluation(evaluation.model_copy(update={"targets": [few]}))
    assert "0 of 1 targets met, 1 inconclusive" in view.summary.text()
    assert view.table.item(0, 0).text() == "?"
    assert view.table.item(0, 0).data(Qt.ItemDataRole.AccessibleTextRole) == "inconclusive"
    assert "inconclusive" in view.table.item(0, 1).toolTip()


def test_every_figure_is_drawn_and_explained(view, evaluation):
    view.show_evaluation(evaluation)
    names = [view.figure.itemText(i) for i in range(view.figure.count())]
    assert names == ["Region volumes", "Power spectrum", "Intensity", "Novelty: voxels"]
    (tip,) = dots(view.plot)  # a region that is the same in everybody has no scale
    assert "left hippocampus" in tip
    assert "generated 3 ± 0.2" in tip
    assert "apart 1.50 [1.40, 1.60] SD" in tip
    assert view.caption.textFormat() is Qt.TextFormat.RichText  # its colours are those of the plot
    view.figure.setCurrentIndex(1)
    assert "Nyquist" in view.caption.text()
    view.figure.setCurrentIndex(2)
    assert "Nyquist" not in view.caption.text()
    view.figure.setCurrentIndex(3)
    assert "1 copy" in view.caption.text()
    assert "A difference from new people is seen (p = 0.01)" in view.caption.text()
    assert sum("a copy" in tip for tip in dots(view.plot)) == 1
    assert sum("held-out person" in tip for tip in dots(view.plot)) == 3
    # the next report keeps what was looked at
    view.show_evaluation(evaluation.model_copy(update={"left_out": []}))
    assert view.figure.currentText() == "Novelty: voxels"
    assert not view.left_out.isVisibleTo(view)


def test_a_figure_of_names_lets_the_dock_scroll(view, evaluation):
    view.show_evaluation(evaluation)
    view.show()

    def wheel() -> bool:
        middle = QPointF(view.plot.rect().center())
        event = QWheelEvent(
            middle,
            middle,
            QPoint(0, 120),
            QPoint(0, 120),
            Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        )
        event.accept()
        view.plot.wheelEvent(event)
        return event.isAccepted()

    assert not wheel()
    view.figure.setCurrentIndex(1)
    assert wheel()


def test_the_lines_follow_the_theme(view, evaluation):
    view.show_evaluation(evaluation)
    view.plot.set_theme("#ffffff", "#123456")
    (line,) = [item for item in view.plot.getPlotItem().items if isinstance(item, pg.InfiniteLine)]
    assert line.pen.color().name() == "#123456"


def test_the_nearest_brains_in_words_and_on_a_scale(qtbot):
    def match(name: str, distance: float, **known: object) -> Match:
        return Match(name=name, distance=distance, people=Normal(median=0.4, low=0.3, high=0.5), volume="x", **known)

    view = NearestView()
    qtbot.addWidget(view)
    found = Nearest(brain="b", space="v", training=match("s1", 0.6, age=30.4), held_out=match("s2", 0.4), threshold=0.2)
    view.show_nearest(found)
    assert "Unlike any training brain" in view.verdict.text()
    assert "s1 (30 years). " in view.people.text()
    assert dots(view.plot)[1].startswith("s2\n0.400 away; people 0.30 to 0.50")
    (low, high), _ = view.plot.getPlotItem().viewRange()
    assert low < 0.2 < 0.6 < high


@pytest.fixture
def brains(qtbot) -> SourceList:
    brains = SourceList("Real brains", "any.")
    qtbot.addWidget(brains)
    brains.show()
    return brains


def test_brains_are_listed_once_and_taken_out_again(brains, qtbot, tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").touch()
    (tmp_path / "one.nii.gz").touch()
    mime = QMimeData()
    paths = [tmp_path / "one.nii.gz", tmp_path / "run", tmp_path / "x.zarr", tmp_path]
    mime.setUrls([*(QUrl.fromLocalFile(str(path)) for path in (*paths, paths[0])), QUrl("https://example.org")])
    event = QDropEvent(
        QPointF(5, 5), Qt.DropAction.CopyAction, mime, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    )
    brains.list.dropEvent(event)
    assert brains.sources == paths
    kinds = [brains.list.item(i).text().partition(" · ")[2] for i in range(4)]
    assert kinds == ["volume", "run", "prepared cohort", "folder"]

    brains.list.item(1).setSelected(True)
    brains.list.setFocus()
    qtbot.keyClick(brains.list, Qt.Key.Key_Delete)
    qtbot.keyClick(brains.list, Qt.Key.Key_Down)
    assert brains.sources == [paths[0], *paths[2:]]
    brains.list.clearSelection()
    qtbot.mouseClick(brains.remove_button, Qt.MouseButton.LeftButton)
    assert brains.sources == []

    dialogs = "napari_braindiffusion.widgets.source_list.QFileDialog"
    monkeypatch.setattr(f"{dialogs}.getExistingDirectory", lambda *_, **__: str(tmp_path))
    monkeypatch.setattr(f"{dialogs}.getOpenFileNames", lambda *_, **__: ([str(paths[0])], ""))
    brains.folder_action.trigger()
    brains.files_action.trigger()
    assert brains.sources == [tmp_path, paths[0]]

    brains.suggest([("mine", tmp_path / "x.zarr")])
    brains.suggest([("mine", tmp_path / "x.zarr")])
    (mine,) = [action for action in brains.add_button.menu().actions() if action.text() == "mine"]
    mine.trigger()
    assert brains.sources[-1] == tmp_path / "x.zarr"


def test_an_earlier_request_is_asked_for_again(qtbot, tmp_path):
    form = EvaluateForm()
    qtbot.addWidget(form)
    form.set_models([("a", "a", "")])
    request = EvaluateRequest(
        real=(tmp_path / "r.zarr",),
        generated=(tmp_path / "g",),
        model="b",
        segmentation_model="mine",
        labels=tmp_path,
        features=(tmp_path / "f.csv",),
        pairs=3,
        repeats=20,
    )
    form.show_request(request)
    assert EvaluateRequest(real=form.real.sources, generated=form.generated.sources, **form.values()) == request
    form.set_models([("a", "a", ""), ("b", "b", "")])
    form.set_segmentation_models([("mine", "mine", "")])
    assert (form.values()["model"], form.values()["segmentation_model"]) == ("b", "mine")


def has_written_a_model(run: Run) -> None:
    (run.checkpoints / "best").mkdir()
    (run.checkpoints / "best" / CARD).touch()


def test_what_the_user_has_is_known(tmp_path, tmp_runs):
    (tmp_path / "old.zarr").mkdir()
    (tmp_path / "new.zarr").mkdir()
    assert origin({}, tmp_runs) == Origin(None, [])
    Run.create(PrepareRequest(data_dir=tmp_path, out=tmp_path / "old.zarr"))
    training = Run.create(TrainRequest(data=tmp_path / "new.zarr"))
    has_written_a_model(training)
    made, cancelled = (Run.create(GenerateRequest(model=str(training.path), num_samples=2)) for _ in range(2))
    made.append(Finished())
    cancelled.append(Cancelled())
    Run.create(PrepareRequest(data_dir=tmp_path, out=tmp_path / "gone.zarr"))
    reader = Run.create(TrainSegmentationRequest(data=tmp_path / "new.zarr"))
    has_written_a_model(reader)
    report = Run.create(EvaluateRequest(real=(tmp_path / "old.zarr",), generated=(made.path,)))
    found = known(tmp_runs)
    assert {path.name for _, path in found.real} == {"new.zarr", "old.zarr"}
    ((text, path),) = found.generated
    assert path == made.path
    assert f"2 brains of {training.name}" in text
    assert (found.trainings, found.segmentation_models) == ([training], [reader])
    assert found.reports == [(report, RunState.CREATED)]

    # a brain of one's own model is compared with what that learnt from, any other with what there is
    own = {"request": {"model": str(training.checkpoints)}}
    assert origin(own, tmp_runs) == Origin(str(training.checkpoints), [tmp_path / "new.zarr"])
    packaged = origin({"request": {"model": "ixi-2mm"}}, tmp_runs)
    assert packaged.model is None
    assert len(packaged.real) == 1


def test_which_layers_are_brains():
    channels = {"axis_labels": ("channel", "x", "y", "z")}
    assert is_brain(Image(np.zeros((4, 4, 4))))
    assert is_brain(Image(np.zeros((2, 4, 4, 4)), **channels))
    assert not is_brain(Image(np.zeros((2, 4, 4, 4))))
    assert not is_brain(Image(np.zeros((4, 4, 4, 3)), rgb=True))
    assert not is_brain(Labels(np.zeros((4, 4, 4), int)))
    assert not is_brain(None)


def test_layers_of_one_name_become_files_of_two(tmp_path, qtbot):
    viewer = ViewerModel()
    first = viewer.add_image(np.ones((4, 4, 4)), name="a", units="mm")
    second = viewer.add_labels(np.ones((4, 4, 4), np.uint8), name="b", units="mm")
    third = viewer.add_image(np.zeros((4, 4, 4)), name="a!", units="mm")
    heard: list[list[Path]] = []
    as_paths(viewer, [first, tmp_path, second, third], heard.append)
    qtbot.waitUntil(lambda: bool(heard), timeout=10_000)
    assert [path.name for path in heard[0]] == ["a.nii.gz", tmp_path.name, "b.nii.gz", "a_2.nii.gz"]
    as_paths(viewer, [first], heard.append)
    qtbot.waitUntil(lambda: len(heard) == 2, timeout=10_000)
    assert heard[1] == heard[0][:1]


def test_what_fails_before_the_engine_is_told(qtbot, notices, tmp_path, monkeypatch):
    viewer, parent = ViewerModel(), QObject()
    jobs = LayerJob(viewer, EngineClient(parent=parent), parent)
    heard: list[str] = []
    jobs.failed.connect(heard.append)
    jobs.cancelled.connect(lambda: heard.append("cancelled"))

    def request(paths):
        return EvaluateRequest(real=paths, generated=paths)

    # no volume
    jobs.ask([viewer.add_image(np.ones((4, 4, 4)), units="second")], request)
    assert "unit" in heard[-1]

    # no room for the layer; meanwhile nothing else is begun
    monkeypatch.setattr(layer_files, "FOLDER", str(tmp_path / "file" / "layers"))
    (tmp_path / "file").touch()
    jobs.ask([viewer.add_image(np.ones((4, 4, 4)), units="mm")], request)
    with pytest.raises(BrainDiffusionError, match="still running"):
        jobs.ask([tmp_path], request)
    qtbot.waitUntil(lambda: len(heard) == 2, timeout=10_000)
    assert "could not be written" in heard[-1]

    # no room for the run
    monkeypatch.setenv("BRAINDIFFUSION_RUNS", str(tmp_path / "file" / "runs"))
    jobs.ask([tmp_path], request)
    assert "Cannot make a run folder" in heard[-1]
    assert not jobs.is_busy
    jobs.close()


def test_an_answer_without_its_files_shows_nothing():
    viewer = ViewerModel()
    match = Match(name="s", distance=0.4, people=Normal(median=0.4, low=0.3, high=0.5), volume="gone")
    found = Nearest(brain="b", space="v", training=match, held_out=match, threshold=0.2)
    NearestLayers(viewer).show(found, [], {})
    assert not viewer.layers
