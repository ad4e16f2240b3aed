"""Pictures of brains beside people: which brains are taken, and a blind sheet whose key is right."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from braindiffusion.cohort.store import Cohort
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig, UNetConfig
from braindiffusion.volume import Volume, save_volume

MakeCohort = Callable[..., Cohort]


def generated(cohort: Cohort, folder: Path, count: int, **sidecar: object) -> Path:
    """Write brains as `generate` does: those of the cohort, half as bright."""
    for seed in range(count):
        voxels = (np.asarray(cohort.volumes[seed], np.float32) + 1) / 4
        name = f"sample_{seed + 1:03d}"
        save_volume(Volume(voxels, cohort.affines[0]), folder / f"{name}.nii.gz")
        told = {
            "synthetic": True,
            "seed": seed,
            "file": f"{name}.nii.gz",
            "condition_asked": {},
            "request": {"guidance": None},
        }
        (folder / f"{name}.json").write_text(json.dumps(told | sidecar))
    return folder


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A model that learnt from three of the people."""
    folder = tmp_path / "model"
    folder.mkdir()
    level = LevelConfig(unet=UNetConfig(widths=(8,), blocks=(1,), attention=(False,)))
    config = CascadeConfig(shape=(16, 24, 16), spacing=2.0, depth=0, levels=(level,))
    card = {
        "split": {"train": ["p0", "p1", "p2"], "validation": ["p3", "p4", "p5", "p6"]},
        "preprocessing": {"spacing": 2.0, "shape": (16, 24, 16), "skull": "strip"},
        "configuration": config.model_dump(mode="json"),
    }
    (folder / "model.json").write_text(json.dumps(card))
    (folder / "model.safetensors").touch()
    return str(folder)


def test_unchosen_brains_are_the_first_seeds_without_conditions(
    load: Callable[[str], ModuleType], make_cohort: MakeCohort, tmp_path: Path
) -> None:
    script, cohort = load("make_pictures"), make_cohort("p")
    folder = generated(cohort, tmp_path / "made", 3)
    found = script.unchosen(folder, 3)
    np.testing.assert_allclose(found[2].data, (np.asarray(cohort.volumes[2], np.float32) + 1) / 4, atol=1e-3)
    with pytest.raises(BrainDiffusionError, match="lacks the brain of seed 3"):
        script.unchosen(folder, 4)
    for more in ({"request": {"condition": {"age": 30}}}, {"request": {"guidance": 2.0}}):
        with pytest.raises(BrainDiffusionError, match="generated with conditions or settings"):
            script.unchosen(generated(cohort, tmp_path / "asked", 3, **more), 3)


def test_people_are_the_first_held_out_ones(
    load: Callable[[str], ModuleType], make_cohort: MakeCohort, model: str
) -> None:
    script, cohort = load("make_pictures"), make_cohort("p", 7)
    people = script.held_out(cohort, model, 2)
    np.testing.assert_array_equal(people[1].data, np.asarray(cohort.volumes[4], np.float32))
    with pytest.raises(BrainDiffusionError, match="4 held-out subjects"):
        script.held_out(cohort, model, 5)


def test_the_key_of_a_blind_sheet_tells_what_is_drawn(
    load: Callable[[str], ModuleType], make_cohort: MakeCohort, model: str, tmp_path: Path
) -> None:
    script, cohort = load("make_blind_sheet"), make_cohort("p", 7)
    folder = generated(cohort, tmp_path / "made", 4)

    def made(seed: int) -> tuple[list[dict[str, str]], tuple[int, int]]:
        script.main(folder, cohort.path, model, 2, seed, tmp_path / "sheet.png", tmp_path / "key.tsv")
        with (tmp_path / "key.tsv").open(encoding="utf-8") as file, Image.open(tmp_path / "sheet.png") as sheet:
            return list(csv.DictReader(file, delimiter="\t")), sheet.size

    key, size = made(1)
    assert [line["number"] for line in key] == ["1", "2", "3", "4"]
    assert sorted(line["name"] for line in key if line["kind"] == "generated") == ["sample_001", "sample_002"]
    assert {line["name"] for line in key if line["kind"] == "real"} < {"p3", "p4", "p5", "p6"}
    assert size == (4 * script.WIDTH + 3 * script.GAP, script.TALL)
    assert made(1)[0] == key
    assert any(made(seed)[0] != key for seed in (2, 3))
    with pytest.raises(BrainDiffusionError, match="4 held-out brains: 5 of each"):
        script.main(folder, cohort.path, model, 5, 0, tmp_path / "sheet.png", tmp_path / "key.tsv")
