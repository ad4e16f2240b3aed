"""The job `visualize`: what the viewer asks the engine to draw."""

from pathlib import Path

import numpy as np
import pytest

from braindiffusion.jobs import perform
from braindiffusion.regions import region_index
from braindiffusion.runs import ArtifactWritten, Failed, Finished, Run, VisualizeRequest
from braindiffusion.volume import Volume, save_volume


@pytest.fixture
def files(brain: Volume, tmp_path: Path) -> dict[str, Path]:
    labels = np.where(brain.data > 0.5, region_index("brainstem"), 0).astype(np.uint8)
    volumes = {
        "a": brain,
        "b": brain,
        "labels": Volume(labels, brain.affine),
        "way": Volume(np.concatenate([brain.data, brain.data]), brain.affine),
    }
    for name, volume in volumes.items():
        save_volume(volume, tmp_path / f"{name}.nii.gz")
    return {name: tmp_path / f"{name}.nii.gz" for name in volumes}


@pytest.mark.parametrize(
    ("figure", "names"),
    [("volume", "a"), ("slices", "a"), ("compare", "a b"), ("process", "way"), ("regions", "a labels")],
)
def test_each_figure_is_a_page(files: dict[str, Path], tmp_runs: Path, figure: str, names: str) -> None:
    paths = [files[name] for name in names.split()]
    run = Run.create(VisualizeRequest.model_validate({"figure": figure, "paths": paths}))
    events = list(perform(run))
    assert isinstance(events[-1], Finished), events[-1]
    (written,) = [event for event in events if isinstance(event, ArtifactWritten)]
    assert written.kind == "figure"
    assert "Plotly.newPlot" in Path(written.path).read_text()


@pytest.mark.parametrize(
    ("figure", "names", "needed"),
    [
        ("compare", "a", "takes 2 to 4 volumes, not 1."),
        ("regions", "a", "takes 2 volumes, a brain and its label map, not 1."),
        ("volume", "a b", "takes 1 volume, not 2."),
    ],
)
def test_too_few_or_too_many_volumes_are_told(
    files: dict[str, Path], tmp_runs: Path, figure: str, names: str, needed: str
) -> None:
    paths = [files[name] for name in names.split()]
    last = list(perform(Run.create(VisualizeRequest.model_validate({"figure": figure, "paths": paths}))))[-1]
    assert isinstance(last, Failed)
    assert last.message.endswith(needed)
