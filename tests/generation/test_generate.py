"""Generation: one seed one brain, cancel within a step, and a sidecar that tells all."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.generation.outputs import Sample
from braindiffusion.jobs import perform
from braindiffusion.jobs.generate import generate
from braindiffusion.models.cascade import Cascade, save_model
from braindiffusion.models.cascade.sampling import sample_cascade
from braindiffusion.nifti import header_description
from braindiffusion.runs import ArtifactWritten, Failed, Finished, GenerateRequest, Progress, Run, RunState, Warned
from braindiffusion.volume import Volume, box_affine, save_volume

from .conftest import SHAPE, generated


def last(cascade: Cascade, seeds: list[int], **options: float) -> torch.Tensor:
    *_, step = sample_cascade(cascade, seeds, **options)
    assert step.last
    return step.volume()


@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_one_seed_one_brain(cascade: Cascade, eta: float) -> None:
    together = last(cascade, [7, 8, 9], eta=eta)
    for i, seed in enumerate([7, 8, 9]):
        torch.testing.assert_close(last(cascade, [seed], eta=eta)[0], together[i], atol=1e-4, rtol=0)
    assert float((together[0] - together[1]).abs().mean()) > 1e-3


def test_a_brain_depends_neither_on_threads_nor_on_its_batch(cascade: Cascade) -> None:
    """To 1e-4 of the range of intensities, as docs/reliability.md promises; processes are in test_sharding."""
    before = torch.get_num_threads()
    try:
        made = []
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            made += [last(cascade, [3])[0], last(cascade, [2, 3, 4])[1]]
    finally:
        torch.set_num_threads(before)
    for other in made[1:]:
        torch.testing.assert_close(other, made[0], atol=1e-4 * 2, rtol=0)  # the range is from -1 to 1


def test_levels_follow_each_other_and_the_coarse_band_stays(cascade: Cascade) -> None:
    steps = list(sample_cascade(cascade, [1]))
    assert [(s.level, s.step) for s in steps] == [(0, 0), *((i, j) for i in range(3) for j in (1, 2, 3))]
    assert all(s.volume().shape == (1, 1, 16, 24, 16) for s in steps)
    # What a finer level adds has no mean over 2 x 2 x 2 voxels: the anatomy that was there stays.
    coarse, fine = steps[6].denoised, steps[-1].denoised
    from braindiffusion.models.cascade.wavelet import haar

    torch.testing.assert_close(haar(fine)[:, 0], coarse, atol=1e-4, rtol=1e-4)


def test_number_of_steps_and_levels_can_be_chosen(cascade: Cascade) -> None:
    assert len(list(sample_cascade(cascade, [1], steps=5))) == 1 + 15
    partial = list(sample_cascade(cascade, [1], levels=1))
    assert {s.level for s in partial} == {0}
    assert partial[-1].volume().shape == (1, 1, 16, 24, 16)


def test_temperature_scales_the_spread(cascade: Cascade) -> None:
    def spread(temperature: float) -> float:
        level = cascade.config.levels[0].model_copy(update={"temperature": temperature})
        config = cascade.config.model_copy(update={"levels": (level,) * 3})
        other = Cascade(config).eval()  # its branches are silent, so its D is that of white data: linear
        *_, step = sample_cascade(other, list(range(16)), levels=1)
        return float(step.denoised.std(0).mean())

    assert spread(0.0) == pytest.approx(0, abs=1e-6)
    assert spread(0.5) == pytest.approx(0.5 * spread(1.0), rel=1e-4)


def test_a_trajectory_has_few_frames_and_ends_with_the_brain(model: Path, tmp_path: Path, tmp_runs: Path) -> None:
    request = GenerateRequest(model=str(model), steps=13, out=tmp_path / "out", trajectory=True, device="cpu")
    list(generate(request, Run.create(request)))
    frames = nib.load(tmp_path / "out" / "sample_001_trajectory.nii.gz").get_fdata()
    assert frames.shape[-1] == 1 + 3 * 5
    moments = json.loads((tmp_path / "out" / "sample_001.json").read_text())["trajectory"]
    assert [moment["level"] for moment in moments] == [0] * 6 + [1] * 5 + [2] * 5
    assert all(moment["step"] == moment["of"] for moment in moments[5::5])
    np.testing.assert_allclose(frames[..., -1], nib.load(tmp_path / "out" / "sample_001.nii.gz").get_fdata(), atol=1e-6)


def test_files_and_sidecars(model: Path, tmp_path: Path, tmp_runs: Path) -> None:
    out = tmp_path / "generated"
    request = GenerateRequest(
        model=str(model), num_samples=3, seed=5, batch_size=2, out=out, trajectory=True, previews=True, device="cpu"
    )
    events = list(generate(request, Run.create(request)))
    names = [f"sample_00{i}.nii.gz" for i in (1, 2, 3)]
    assert [Path(e.path).name for e in events if isinstance(e, ArtifactWritten) and e.kind == "volume"] == names
    image = nib.load(out / names[1])
    assert image.shape == (16, 24, 16)
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    centre = image.affine @ [7.5, 11.5, 7.5, 1]
    np.testing.assert_allclose(centre[:3], 0, atol=1e-5)
    data = image.get_fdata()
    assert 0 <= data.min() < data.max() <= 1
    trajectory = nib.load(out / "sample_002_trajectory.nii.gz").get_fdata()
    assert trajectory.shape == (16, 24, 16, 10)
    np.testing.assert_allclose(trajectory[..., -1], data, atol=1e-6)
    sidecar = json.loads((out / "sample_002.json").read_text())
    assert sidecar["seed"] == 6
    assert sidecar["sampler"] == "ddim"
    assert sidecar["steps_by_level"] == [3, 3, 3]
    assert sidecar["model"]["name"] == "toy"
    assert sidecar["synthetic"] is True
    alone = GenerateRequest(model=str(model), seed=6, out=tmp_path / "alone", device="cpu")
    list(generate(alone, Run.create(alone)))
    np.testing.assert_allclose(nib.load(tmp_path / "alone" / names[0]).get_fdata(), data, atol=1e-4)


def test_cancel_stops_within_a_step(model: Path, tmp_runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run.create(GenerateRequest(model=str(model), num_samples=20, device="cpu"))
    events = perform(run)
    seen = [next(e for e in events if isinstance(e, Progress)) for _ in range(2)]
    calls: list[int] = []
    monkeypatch.setattr("braindiffusion.models.cascade.cascade.denoise", lambda *a: calls.append(1))
    events.close()
    assert [s.step for s in seen] == [1, 2]
    assert not calls, "nothing is computed after the cancel"
    assert run.state is RunState.CANCELLED


def test_a_model_of_which_only_the_coarse_levels_have_learnt_is_smooth(
    cascade: Cascade, tmp_path: Path, tmp_runs: Path
) -> None:
    save_model(cascade, tmp_path / "half", {"steps": [10, 10, 0]})
    request = GenerateRequest(model=str(tmp_path / "half"), out=tmp_path / "out", device="cpu")
    events = list(generate(request, Run.create(request)))
    assert {e.stage for e in events if isinstance(e, Progress)} == {"sample 1 level 0", "sample 1 level 1"}
    data = nib.load(tmp_path / "out" / "sample_001.nii.gz").get_fdata()
    blocks = data.reshape(8, 2, 12, 2, 8, 2)
    np.testing.assert_allclose(blocks.max((1, 3, 5)), blocks.min((1, 3, 5)), atol=1e-6)


def test_bad_model_and_bad_device_are_told(tmp_path: Path, model: Path, tmp_runs: Path) -> None:
    for request, said in (
        (GenerateRequest(model="no-such-model"), "no-such-model"),
        (GenerateRequest(model=str(model), device="warp"), "warp"),
    ):
        with pytest.raises(BrainDiffusionError, match=said):
            list(generate(request, Run.create(request)))


def test_what_is_no_number_is_never_written(cascade: Cascade, model: Path, tmp_path: Path, tmp_runs: Path) -> None:
    """Finite weights that overflow: no brain, one sentence, and a failure."""
    with torch.no_grad():
        for p in cascade.level(1).parameters():
            p.mul_(1e30)
    save_model(cascade, model, {"name": "toy"})
    run = Run.create(GenerateRequest(model=str(model), out=tmp_path / "out", device="cpu", precision="float32"))
    *_, failed = perform(run)
    assert isinstance(failed, Failed)
    assert "Level 1 of the model generated values that are no numbers" in failed.message
    assert not run.error_file.exists()
    assert not list((tmp_path / "out").iterdir())


def test_every_file_of_a_generated_brain_says_so_in_its_header(tmp_path: Path) -> None:
    sample = Sample(1, 7, tmp_path)
    sample.frames.append(np.zeros((1, 2, 2, 2), np.float32))
    volume = Volume(np.zeros((1, 2, 2, 2), np.float32), np.eye(4))
    list(sample.write(volume, {"model": {"name": "toy"}}, np.eye(4)))
    sample.write_regions(Volume(np.zeros((1, 2, 2, 2), np.uint8), np.eye(4), {"kind": "labels"}))
    sample.preview(volume, tmp_path)
    files = [path for path in tmp_path.iterdir() if ".nii" in path.name]
    assert len(files) == 4
    for path in files:
        assert header_description(path).startswith("BrainDiffusion synthetic"), path


@pytest.mark.parametrize("in_table", [True, False])
def test_a_region_map_that_conditions_a_brain_is_never_written_over(
    told_model: Path, tmp_path: Path, *, in_table: bool
) -> None:
    """Neither where a table names it, nor where overwriting is allowed."""
    out = tmp_path / "out"
    labels = np.zeros((1, *SHAPE), np.uint8)
    labels[0, 4:10, 4:10, 4:10] = 7
    given = out / "sample_002_regions.nii.gz"
    save_volume(Volume(labels, box_affine(SHAPE, 2.0), {"kind": "labels"}), given)
    before = given.read_bytes()
    asked: dict[str, object] = {"condition": {"regions": str(given)}}
    if in_table:
        (out / "table.csv").write_text(f"age,regions\n50,\n,{given.name}\n")
        asked = {"conditions": out / "table.csv", "only": (2,)}
    *_, event = generated(told_model, out, num_samples=2, segmentation=True, overwrite=True, **asked)
    assert isinstance(event, Failed)
    assert f"{given} is an input, which is never written over" in event.message
    assert given.read_bytes() == before
    *_, event = generated(told_model, tmp_path / "elsewhere", num_samples=2, segmentation=True, **asked)
    assert isinstance(event, Finished), event


def test_a_brain_that_cannot_be_segmented_is_named(model: Path, tmp_path: Path, tmp_runs: Path) -> None:
    *_, event = generated(model, tmp_path / "out", segmentation=True)
    assert isinstance(event, Failed)
    assert event.message.startswith("Sample 1: it covers only 32 mm")
    assert event.field == "segmentation"


@pytest.mark.parametrize(
    ("steps", "levels", "warned"),
    [
        ([0, 0, 5], None, "level 0, 1 of the model"),
        ([0, 3, 0], None, "level 0 of the model"),
        ([0, 3, 3], 1, "level 0 of the model"),
        ([0, 0, 0], None, "level 0 of the model"),
        ([3, 3, 0], None, ""),
        ([3, 3, 3], None, ""),
    ],
)
def test_a_level_that_was_not_trained_is_told(
    cascade: Cascade, tmp_path: Path, steps: list[int], levels: int | None, warned: str
) -> None:
    save_model(cascade, tmp_path / "model", {"name": "toy", "preprocessing_hash": "abc", "steps": steps})
    events = generated(tmp_path / "model", tmp_path / "out", levels=levels)
    assert isinstance(events[-1], Finished)
    told = [event.message for event in events if isinstance(event, Warned)]
    assert len(told) == bool(warned)
    assert all(warned in message for message in told)
