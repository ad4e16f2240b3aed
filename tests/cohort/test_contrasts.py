"""Four contrasts of one real head as channels: prepared, trained on, generated and exported."""

import json
from pathlib import Path

import numpy as np
import pytest

from braindiffusion.cohort.find import find, from_name
from braindiffusion.cohort.store import Cohort
from braindiffusion.jobs import perform
from braindiffusion.runs import Failed, Finished, GenerateRequest, PrepareRequest, Run, TrainRequest
from braindiffusion.runs.requests import BaseRequest
from braindiffusion.volume import load_volume, save_volume

CONTRASTS = ("T1", "T2", "FLAIR", "T1ce")
EDGE = 8.0


@pytest.mark.parametrize(
    ("name", "modality"),
    [
        ("patient07_space-MNI_FLAIRw.nii.gz", "FLAIR"),
        ("patient07_space-MNI_T1POSTw.nii.gz", "T1ce"),
        ("sub-01_ce-gadolinium_T1w.nii.gz", "T1ce"),
        ("sub-01_T1w.nii.gz", "T1"),
    ],
)
def test_names_of_contrasts(tmp_path: Path, name: str, modality: str) -> None:
    (tmp_path / name).touch()
    assert from_name(tmp_path / name)[1].modality == modality


@pytest.fixture(scope="module")
def patients(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The patient, and the same patient mirrored: a model needs two subjects at least."""
    source = shared_data / "ms-lesions" / "patient07"
    if not source.is_dir():
        pytest.skip(f"needs the four contrasts of {source}")
    folder = tmp_path_factory.mktemp("patients")
    for path in source.glob("*.nii.gz"):
        (folder / path.name).symlink_to(path)
        volume = load_volume(path)
        mirrored = np.ascontiguousarray(volume.data[:, ::-1])
        save_volume(type(volume)(mirrored, volume.affine), folder / path.name.replace("patient07", "mirrored07"))
    return folder


def done(request: BaseRequest) -> None:
    *_, last = perform(Run.create(request))
    assert isinstance(last, Finished), last


def test_channels_of_a_real_patient_are_learned_generated_and_written(
    patients: Path, tmp_path: Path, tmp_runs: Path
) -> None:
    found = find(patients, modality=",".join(CONTRASTS))
    assert [(item.subject, len(item.paths)) for item in found] == [
        ("mirrored07_space-MNI", 4),
        ("patient07_space-MNI", 4),
    ]
    store = tmp_path / "patients.zarr"
    done(PrepareRequest(data_dir=patients, out=store, modality=",".join(CONTRASTS), skull="keep", spacing=EDGE,
                        workers=1))  # fmt: skip
    cohort = Cohort.open(store)
    assert cohort.preprocessing.channels == CONTRASTS
    volume = np.asarray(cohort.volumes[1], np.float32)
    brain = np.asarray(cohort.masks[1])
    between = np.corrcoef([channel[brain] for channel in volume])
    assert between[0, 3] > 0.8  # T1w with and without the agent
    assert between[0, 1] < 0.2  # fluid is bright in one, dark in the other

    done(TrainRequest(data=store, preset="tiny", epochs=1, validation_subjects=0, levels=(0,)))
    model = next(tmp_runs.glob("*train*"))
    out = tmp_path / "made"
    done(GenerateRequest(model=str(model), out=out, steps=2))
    files = [out / f"sample_001_{name}.nii.gz" for name in CONTRASTS]
    assert all(load_volume(file).channels == 1 for file in files)
    assert [json.loads(file.with_name(file.name[:-7] + ".json").read_text())["channel"] for file in files] == list(
        CONTRASTS
    )


@pytest.mark.parametrize(
    ("modality", "stranger"),
    [
        ("T2", "T2"),
        ("T1/T2", "T2"),
        ("FLAIR/T1", "FLAIR"),
        ("PD,T1", "PD"),
        ("T1,T2", ""),
        ("t1w", ""),
        ("T1/T1ce", ""),
    ],
)
def test_only_t1w_volumes_are_segmented_to_strip_them(
    tmp_path: Path, tmp_runs: Path, modality: str, stranger: str
) -> None:
    """Volumes of their own each need a label map; of channels the first one."""
    request = PrepareRequest(data_dir=tmp_path / "none", out=tmp_path / "c.zarr", modality=modality, skull="strip")
    *_, last = perform(Run.create(request))
    assert isinstance(last, Failed)
    asked = f"Stripping {stranger} needs a folder of label maps: only T1w volumes can be segmented."
    assert last.message == asked if stranger else "There is no folder" in last.message
