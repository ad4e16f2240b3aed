"""The demo without a screen: what `make demo` and the first minute of every user depend on."""

import os
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from braindiffusion.example_data import SUBJECTS, sample_labels_path
from braindiffusion.models.card import ModelCard
from braindiffusion.models.registry import find_model, read_card
from napari_braindiffusion import demo


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model that has learnt nothing, at 8 mm."""
    from braindiffusion.conditions import ConditionSchema
    from braindiffusion.models.cascade import Cascade, save_model
    from braindiffusion.training.presets import preset

    folder = tmp_path_factory.mktemp("model")
    save_model(Cascade(preset("tiny").cascade((24, 32, 24), 8.0, 1, ConditionSchema())), folder, {"name": "untrained"})
    return folder


def test_makes_a_brain_and_a_picture(model, tmp_path):
    out = tmp_path / "demo"
    command = [sys.executable, "-m", "napari_braindiffusion.demo", "--model", model, "--out", out]
    environment = os.environ | {demo.HEADLESS: "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "A brain was made and shown in" in done.stdout
    assert {path.name for path in out.iterdir()} >= {
        "sample_001.nii.gz",
        "sample_001.json",
        "sample_001_trajectory.nii.gz",
        "screenshot.png",
    }
    brain = nib.load(out / "sample_001.nii.gz")
    assert brain.shape == (24, 32, 24)
    assert nib.load(out / "sample_001_trajectory.nii.gz").shape[:3] == (24, 32, 24)
    from imageio.v3 import imread

    picture = imread(out / "screenshot.png")
    assert np.unique(picture.reshape(-1, picture.shape[-1]), axis=0).shape[0] > 100


def test_a_model_that_knows_maps_is_asked_for_the_regions_of_the_person_beside():
    card = read_card(find_model("ixi-2mm"))
    assert demo.the_same_regions(card) == {"regions": str(sample_labels_path(demo.PERSON))}
    assert SUBJECTS[demo.PERSON] in card.split.validation  # no brain that training saw
    assert demo.the_same_regions(ModelCard()) == {}


def test_says_what_went_wrong_before_a_window_opens(tmp_path, capsys):
    assert demo.main(["--headless", "--model", str(tmp_path / "nothing"), "--out", str(tmp_path / "demo")]) == 1
    assert "nothing" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()
