"""`braindiffusion visualize`: each figure from files, beside them or where it is asked for."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from braindiffusion.cli.app import app
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.regions import region_index
from braindiffusion.runs import Metric, Run, TrainRequest
from braindiffusion.volume import Volume, save_volume


@pytest.fixture
def folder(brain: Volume, tmp_path: Path) -> Path:
    """Two volumes, a label map, and a trajectory with its sidecar."""
    save_volume(brain, tmp_path / "a.nii.gz")
    save_volume(Volume(brain.data * 3, brain.affine), tmp_path / "b.nii")
    labels = np.where(brain.data > 0.5, region_index("brainstem"), 0).astype(np.uint8)
    save_volume(Volume(labels, brain.affine), tmp_path / "labels.nii.gz")
    save_volume(Volume(np.concatenate([brain.data, brain.data]), brain.affine), tmp_path / "a_trajectory.nii.gz")
    (tmp_path / "a.json").write_text(json.dumps({"trajectory": [{"level": 3, "step": s, "of": 2} for s in (1, 2)]}))
    return tmp_path


def visualize(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["visualize", *map(str, arguments)])


@pytest.mark.parametrize(
    ("arguments", "written", "holds"),
    [
        ("--volume-path {}/a.nii.gz --no-open", "a.html", '"type":"volume"'),
        ("volume {}/a.nii.gz --no-open", "a_volume.html", '"type":"mesh3d"'),
        ("slices {}/b.nii --no-open", "b_slices.html", '"name":"coronal 0"'),
        ("compare {0}/a.nii.gz {0}/b.nii --no-open", "a_compare.html", '"name":"axial 1"'),
        ("process {}/a_trajectory.nii.gz --no-open", "a_trajectory_process.html", "level 3, step 2 of 2"),
        ("regions {0}/a.nii.gz {0}/labels.nii.gz --out {0}/new/r.html --no-open", "new/r.html", "brainstem: "),
    ],
    ids=["default", "volume", "slices", "compare", "process", "regions"],
)
def test_each_figure_is_written(folder: Path, arguments: str, written: str, holds: str) -> None:
    done = visualize(*arguments.format(folder).split())
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(folder / written)
    assert holds in (folder / written).read_text()


def test_curves_of_a_run_by_its_name(tmp_runs: Path) -> None:
    run = Run.create(TrainRequest(data=tmp_runs), name="mine")
    run.append(Metric(stage="level 0", step=1, values={"validation_loss": 0.5}))
    done = visualize("curves", "mine", "--no-open")
    assert done.stdout.strip() == str(tmp_runs / "mine" / "curves.html")
    assert "validation loss" in (tmp_runs / "mine" / "curves.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [("", "Say what to draw"), ("--out x.html slices {}/a.nii.gz", "stand behind it")],
    ids=["nothing", "misplaced"],
)
def test_a_wrong_command_line_is_told(folder: Path, arguments: str, told: str) -> None:
    done = visualize(*arguments.format(folder).split())
    assert done.exit_code == 2
    assert told in done.output


def test_one_volume_twice_is_told(folder: Path) -> None:
    done = visualize("compare", folder / "a.nii.gz", folder / "a.nii.gz", "--no-open")
    assert isinstance(done.exception, BrainDiffusionError)
    assert "named twice" in str(done.exception)
