"""The public functions, and what goes wrong is told in one sentence. Their examples: tests/test_doctests.py."""

from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest

import braindiffusion
from braindiffusion import api
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.example_data import sample_labels_path, sample_t1_path
from braindiffusion.models.cascade import Cascade, save_model
from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig, UNetConfig
from braindiffusion.runs import CheckpointWritten, Event, Finished, RunState, Warned, list_runs
from braindiffusion.volume import Volume


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, tmp_runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def blobs(tmp_path: Path) -> Path:
    """Six heads at 8 mm, one of which cannot be read."""
    rng = np.random.default_rng(0)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in (20, 26, 22)), indexing="ij")
    for i in range(6):
        head = (x**2 + y**2 + z**2 < 0.6 + 0.03 * i) * (100 + 20 * rng.random(x.shape))
        affine = np.diag([8.0, 8, 8, 1])
        braindiffusion.save_volume(Volume(head[None].astype(np.float32), affine), tmp_path / "in" / f"s{i}_T1w.nii.gz")
    (tmp_path / "in" / "s6_T1w.nii.gz").write_bytes(b"no volume")
    return tmp_path / "in"


def test_a_packaged_model_is_made_again_by_its_name() -> None:
    told = braindiffusion.load_model().sample(seed=3, levels=1, steps=1).metadata
    assert "--model" not in told["command"] or "--model ixi-2mm" in told["command"]
    assert str(Path(api.__file__).parent) not in told["command"]


def test_contrasts_of_a_brain_are_channels_of_its_volume(tmp_path: Path) -> None:
    level = LevelConfig(unet=UNetConfig(widths=(8,), blocks=(1,), attention=(False,)), steps=2)
    config = CascadeConfig(shape=(16, 16, 16), depth=1, channels=2, levels=(level,) * 2)
    save_model(Cascade(config), tmp_path / "two", {"name": "two"})
    model = braindiffusion.load_model(tmp_path / "two")
    one, (again, other) = model.sample(seed=4, device="cpu"), model.sample(2, seed=4, device="cpu")
    assert one.data.shape == other.data.shape == (2, 16, 16, 16)
    np.testing.assert_array_equal(one.data, again.data)
    assert [volume.metadata["seed"] for volume in (one, again, other)] == [4, 4, 5]
    assert len(one.metadata["channels"]) == 2
    way = model.sample(seed=4, device="cpu", trajectory=True)
    frames = way.channels // 2
    np.testing.assert_array_equal(way.data[[frames - 1, -1]], one.data)


@pytest.mark.filterwarnings("ignore:.*picture is not that of a T1w head")
def test_from_a_folder_to_a_model_of_ones_own(blobs: Path) -> None:
    with pytest.warns(UserWarning, match="s6"):
        cohort = braindiffusion.prepare(blobs, "c.zarr", spacing=8, shape=(24, 32, 24), workers=1)
    assert len(cohort) == 6
    heard: list[Event] = []
    model = braindiffusion.train(
        "c.zarr", "tiny", levels=(0,), epochs=1, conditions=(), device="cpu", on_event=heard.append
    )
    assert any(isinstance(event, CheckpointWritten) for event in heard)
    assert isinstance(heard[-1], Finished)
    assert not any(isinstance(event, Warned) for event in heard)
    one, again = model.sample(seed=3), model.sample(2, seed=2)[1]
    assert one.shape == (24, 32, 24)
    np.testing.assert_array_equal(one.data, again.data)
    assert one.metadata["seed"] == again.metadata["seed"] == 3
    way = model.sample(seed=3, trajectory=True)
    assert way.channels > 1
    np.testing.assert_array_equal(way.data[-1:], one.data)
    assert isinstance(braindiffusion.show(way, kind="process"), go.Figure)
    assert model.conditions == {}
    assert "braindiffusion generate" in one.metadata["command"]


def test_what_cannot_be_asked_is_told_in_one_sentence() -> None:
    model = braindiffusion.load_model()
    with pytest.raises(BrainDiffusionError, match="cannot be asked for 'shoe_size'"):
        model.sample(shoe_size=43)
    with pytest.raises(BrainDiffusionError, match=r"Number of samples: .*greater than or equal to 1.*num_samples"):
        model.sample(0)
    with pytest.raises(BrainDiffusionError, match="There is no model 'none'"):
        braindiffusion.load_model("none")
    with pytest.raises(BrainDiffusionError):
        braindiffusion.evaluate([sample_t1_path(0)], [sample_t1_path(1)], reader="none")


def test_an_interrupted_job_is_cancelled_and_not_lost(blobs: Path) -> None:
    def stop(event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        braindiffusion.prepare(blobs, "c.zarr", on_event=stop)
    assert list_runs()[0].state is RunState.CANCELLED


def test_brains_are_shown_beside_each_other_and_with_their_regions() -> None:
    both = braindiffusion.show(sample_t1_path(0), braindiffusion.load_volume(sample_t1_path(1)))
    assert len({trace.name for trace in both.data if trace.type == "mesh3d"}) == 2
    regions = braindiffusion.show(sample_t1_path(), regions=sample_labels_path())
    assert any(trace.name == "left hippocampus" for trace in regions.data)


@pytest.mark.parametrize(
    ("volumes", "options"),
    [
        ([], {}),
        ([sample_t1_path()], {"kind": "cake"}),
        ([sample_t1_path(), sample_t1_path(1)], {"kind": "slices"}),
    ],
)
def test_what_cannot_be_shown_is_told(volumes: list[Path], options: dict[str, str]) -> None:
    with pytest.raises(BrainDiffusionError):
        braindiffusion.show(*volumes, **options)  # type: ignore[arg-type]
