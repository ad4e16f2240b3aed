"""The whole evaluation on small people, one of whom was copied."""

import json
import re
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from braindiffusion.cli import app
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.evaluation.encoders.encoder import BrainMeasurer
from braindiffusion.evaluation.measure import MeasuredGroups
from braindiffusion.evaluation.sources import Source
from braindiffusion.jobs import evaluate as job
from braindiffusion.jobs import perform
from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig, UNetConfig
from braindiffusion.regions import region_index
from braindiffusion.runs import Cancelled, EvaluateRequest, Event, Finished, Log, Progress, Run, RunState, Warned
from braindiffusion.runs.reports.evaluation import Evaluation, TargetResult, read_evaluation
from braindiffusion.volume import Volume, save_volume

SHAPE = (20, 26, 22)
LEVEL = LevelConfig(unet=UNetConfig(widths=(8,), blocks=(1,), attention=(False,)))
CONFIGURATION = CascadeConfig(shape=SHAPE, spacing=8.0, depth=0, levels=(LEVEL,))


@dataclass
class Reading:
    regions: np.ndarray
    embedding: np.ndarray
    age: float


class Reader:
    """Knows tissue by its brightness, groups by the middle, and age by the share of white matter."""

    def predict(self, volume: np.ndarray) -> Reading:
        regions = np.zeros(volume.shape, np.uint8)
        tissues = (("frontal cortex", -0.9), ("cerebral white matter", 0.35))
        for name, above in tissues:
            for side, half in (("left", slice(0, 10)), ("right", slice(10, 20))):
                regions[half][volume[half] > above] = region_index(f"{side} {name}")
        shares = np.bincount(regions.ravel(), minlength=41)[1:] / max(1, (regions > 0).sum())
        return Reading(regions, shares[[5, 6, 31, 32]].astype(np.float32), 100 * float(shares[[31, 32]].sum()))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model folder: its card says who was trained on."""
    folder = tmp_path / "model"
    folder.mkdir()
    names = [f"s{i:02d}" for i in range(20)]
    card = {
        "name": "toy",
        "split": {"train": names[:12], "validation": names[12:]},
        "preprocessing": {"spacing": 8.0, "shape": SHAPE, "skull": "strip"},
        "configuration": CONFIGURATION.model_dump(mode="json"),
    }
    (folder / "model.json").write_text(json.dumps(card))
    (folder / "model.safetensors").touch()
    return folder


@pytest.fixture
def brains(write: Callable, make_person: Callable, tmp_path: Path) -> Path:
    """Five new brains with what they were asked to be, one copy of a training person, and a file that is no brain."""
    for i in range(5):
        voxels, labels = make_person(200 + i)
        affine = np.diag([8.0, 8, 8, 1])
        affine[:3, 3] = [-8 * (n - 1) / 2 for n in SHAPE]
        save_volume(Volume(labels[None], affine), tmp_path / f"map{i}.nii.gz")
        asked = {"age": 40.0 + 5 * i, "sex": "MF"[i % 2], "regions": str(tmp_path / f"map{i}.nii.gz")}
        folder: Path = write(f"sample_{i}", voxels, condition=asked)
    write("copy", make_person(4)[0], condition={"age": 50.0, "regions": str(tmp_path / "gone.nii.gz")})
    (folder / "broken.nii.gz").write_bytes(b"no volume")
    return folder


def request(people: Path, brains: Path, model: Path, **more: object) -> EvaluateRequest:
    fields = {"real": (people,), "generated": (brains,), "model": str(model), "repeats": 40, "pairs": 6}
    return EvaluateRequest.model_validate(fields | more)


@pytest.fixture
def with_segmentation_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("braindiffusion.generation.inputs.FEWEST_REGIONS", 3)  # a toy brain has six
    monkeypatch.setattr("braindiffusion.generation.inputs.table_problem", lambda labels, spacing: "")
    monkeypatch.setattr(job, "_segmenter", lambda wanted, groups: job._Segmenter("segmented by a toy", Reader()))


def test_the_whole_report(
    people: Path,
    brains: Path,
    model: Path,
    tmp_runs: Path,
    tmp_path: Path,
    with_segmentation_model: None,
    dom_of: Callable[..., str],
) -> None:
    table = tmp_path / "mine.npz"
    names = [f"s{i:02d}" for i in range(20)] + [f"sample_{i}" for i in range(5)] + ["copy", "broken"]
    np.savez(table, names=names, features=np.random.default_rng(0).normal(size=(27, 3)))
    run = Run.create(request(people, brains, model, features=(table,), out=tmp_path / "report"))
    events = list(perform(run))
    last = events[-1]
    assert isinstance(last, Finished), last
    assert last.problems == 2  # the broken file, and the label map that is gone
    asked = next(i for i, event in enumerate(events) if isinstance(event, Warned))
    assert "7 generated and 8 held-out brains" in events[asked].message  # the broken file counts until it is read
    assert not any(isinstance(event, Progress) for event in events[:asked])  # before the work starts
    warned = {event.subject for event in events if isinstance(event, Warned)}
    assert warned == {"", "broken", "copy"}
    assert all(one.outcome != "met" for one in _targets(tmp_path / "report"))
    stages = dict.fromkeys(event.stage for event in events if isinstance(event, Progress))
    assert list(stages) == ["training brains", "held-out brains", "generated brains", "pairs", "figures", "report"]

    found = Evaluation.model_validate_json((tmp_path / "report" / "evaluation.json").read_bytes())
    assert (len(found.training), len(found.held_out), len(found.generated)) == (12, 8, 6)
    groups = dict.fromkeys(row.group for row in found.rows)
    assert {
        "embedding",
        "mine",
        "diversity",
        "volumes",
        "asymmetry",
        "texture",
        "shape",
        "spectrum",
        "condition adherence",
    } <= set(groups)
    for row in found.rows:
        if row.group != "condition adherence":
            assert row.real_baseline is not None
            assert (row.brains, row.held_out) == (6, 8) or row.group == "diversity"
        assert row.generated.low <= row.generated.value <= row.generated.high
    assert not found.left_out
    by_voxels = found.memorization[0]
    assert {one.space for one in found.memorization} == {"low-pass voxels", "embedding", "mine"}
    assert by_voxels.neighbours[0].generated == "copy"
    assert by_voxels.neighbours[0].training == "s04"
    assert [near.generated for near in by_voxels.neighbours if near.copied] == ["copy"]
    met = {target.target: target.outcome for target in found.targets}
    assert met["no copies (low-pass voxels)"] == "missed"
    dice = found.row("condition adherence", "regions, mean Dice")
    assert dice is not None
    assert dice.brains == 5
    assert dice.generated.value > 0.4
    spectrum = found.curves[0]
    assert len(spectrum.x) == len(spectrum.generated) == len(spectrum.real_baseline) == 13
    assert "cortex" in groups
    drawn = {"volumes", "tissues", "asymmetry", "cortex", "texture", "shape"} & set(groups)
    plots = len(found.curves) + len(drawn) + len(found.memorization)
    _opens_in_a_browser(tmp_path / "report" / "report.html", plots, dom_of)


def _targets(folder: Path) -> list[TargetResult]:
    return read_evaluation(folder).targets


def _opens_in_a_browser(page: Path, plots: int, dom_of: Callable[..., str]) -> None:
    html = page.read_text()
    assert page.stat().st_size < 15e6
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=\"(?!data:)", html)  # nothing is fetched
    probed = page.with_name("probed.html")
    listen = "<head><script>onerror = error => { document.documentElement.dataset.errors = error; };</script>"
    tell = """<script>setTimeout(() => {
        const of = (what, good) => [...document.querySelectorAll(what)].filter(good).length;
        const plots = of(".js-plotly-plot", one => one._fullData && one.querySelector(".cartesianlayer path"));
        document.documentElement.dataset.drawn = [plots, of("img", one => one.naturalWidth > 50)].join();
    }, 3000);</script></body>"""
    probed.write_text(html.replace("<head>", listen, 1).replace("</body>", tell, 1))
    attributes = re.search(r"<html[^>]*>", dom_of(probed, "--virtual-time-budget=6000"))
    assert attributes is not None
    assert "data-errors" not in attributes[0]
    drawn = re.search(r'data-drawn="(\d+),(\d+)"', attributes[0])
    assert drawn is not None
    assert int(drawn[1]) == plots
    assert int(drawn[2]) == html.count("<img ") > 20


def test_without_a_segmentation_model_the_report_says_what_it_lacks(
    people: Path, brains: Path, model: Path, tmp_runs: Path, tmp_path: Path
) -> None:
    (brains / "broken.nii.gz").unlink()
    words = f"--real {people} --generated {brains} --model {model} --segmentation-model none --repeats 10 --pairs 2"
    result = CliRunner().invoke(app, ["evaluate", *words.split(), "--out", str(tmp_path / "report")])
    assert result.exit_code == 3, result.output  # the label map that is gone
    assert str(tmp_path / "report" / "report.html") in result.output
    found = Evaluation.model_validate_json((tmp_path / "report" / "evaluation.json").read_bytes())
    lacking = {one.what.partition(",")[0]: one.why for one in found.left_out}
    assert set(lacking) == {"region volumes", "embedding", "KID"}
    assert "none is wanted" in lacking["region volumes"]
    assert all(row.group not in ("embedding", "volumes", "condition adherence") for row in found.rows)
    assert "Left out" in (tmp_path / "report" / "report.html").read_text()


def test_label_maps_of_all_brains_stand_in_for_a_segmentation_model(people: Path, model: Path, tmp_runs: Path) -> None:
    """A cohort as the generated side: held-out people against themselves."""
    run = Run.create(request(people, people, model, segmentation_model="none"))
    assert isinstance(list(perform(run))[-1], Finished)
    found = Evaluation.model_validate_json((run.results / "evaluation.json").read_bytes())
    assert found.row("volumes", "all regions, median") is not None
    counterparts = {row.name.partition(" with")[0]: row.generated.value for row in found.rows if row.group == "pairs"}
    assert counterparts["SSIM"] == pytest.approx(1)
    assert all(near.copied for near in found.memorization[0].neighbours if near.training in near.generated)


def test_a_segmentation_model_that_is_named_has_to_be_there(
    people: Path, brains: Path, model: Path, tmp_runs: Path
) -> None:
    run = Run.create(request(people, brains, model, segmentation_model="nobody"))
    with pytest.raises(BrainDiffusionError, match="nobody"):
        list(job.evaluate(run.request, run))


def test_it_is_cancelled_between_brains_and_leaves_no_half_report(
    people: Path, brains: Path, model: Path, tmp_runs: Path
) -> None:
    run = Run.create(request(people, brains, model, segmentation_model="none"))
    events: list[Event] = []
    for event in perform(run):
        events.append(event)
        if isinstance(event, Progress) and event.step == 2:
            run.ask_to_stop()
    assert isinstance(events[-1], Cancelled)
    assert run.state is RunState.CANCELLED
    assert len(events) < 8
    assert list(run.results.iterdir()) == []


def test_people_are_measured_once(
    people: Path, brains: Path, model: Path, tmp_runs: Path, tmp_path: Path, with_segmentation_model: None
) -> None:
    """The second evaluation measures nobody, and reports the same; one with a table of features measures anew."""
    table = tmp_path / "mine.npy"
    np.save(table, np.random.default_rng(0).normal(size=(27, 3)))
    reports, told = [], []
    for features in ((), (), (table,)):
        run = Run.create(request(people, brains, model, features=features, out=tmp_path / f"report{len(reports)}"))
        told.append([event.message for event in perform(run) if isinstance(event, Log)])
        reports.append(read_evaluation(tmp_path / f"report{len(reports)}"))
    assert reports[0].rows == reports[1].rows
    assert reports[0].memorization == reports[1].memorization
    assert [any("26 of 27 brains were measured before" in line for line in lines) for lines in told] == [0, 1, 0]


def test_people_whom_coarser_levels_saw_are_told(
    people: Path, brains: Path, model: Path, tmp_runs: Path, tmp_path: Path, with_segmentation_model: None
) -> None:
    card = json.loads((model / "model.json").read_text())
    card["split"]["seen_by_coarser_levels"] = card["split"]["validation"][:5]
    (model / "model.json").write_text(json.dumps(card))
    list(perform(Run.create(request(people, brains, model, out=tmp_path / "report"))))
    told = [f"{one.what}: {one.why}" for one in read_evaluation(tmp_path / "report").left_out]
    assert any("no level of the model saw: its coarser levels were trained on 5 of the 8" in line for line in told)


def test_memory_does_not_grow_with_the_generated_brains(make_brain: Callable) -> None:
    """Of a generated brain a few kilobytes stay: its voxels are 45."""

    measured_groups = MeasuredGroups(BrainMeasurer(), None, np.random.default_rng(0))
    for name, numbers in (("training", range(4)), ("held_out", range(4, 8)), ("generated", range(8, 10))):
        for _ in measured_groups.measure_all(name, [Source(f"p{i}", lambda i=i: make_brain(i)) for i in numbers]):
            pass
    one = make_brain(11)
    many = [Source(f"g{i}", lambda: one) for i in range(60)]
    tracemalloc.start()
    try:
        events = measured_groups.measure_all("generated", many)
        for _ in range(12):
            next(events)
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for _ in events:
            pass
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(measured_groups.generated) == 62
    assert after - before < 49 * 12_000
    assert peak - before < 49 * 12_000 + 6_000_000
