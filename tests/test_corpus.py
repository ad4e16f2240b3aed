"""Hostile and damaged files, kept: each is told in one sentence, quickly and without much memory.

The files of `corpus/` are what `scripts/fuzz.py` and people found, made small. A new find is a new file.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.models.cascade import Cascade, load_cascade, save_model
from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig, UNetConfig
from braindiffusion.models.cascade.files import read_configuration
from braindiffusion.runs import Run
from braindiffusion.runs.sidecar import load_sidecar
from braindiffusion.tables import read_table
from braindiffusion.volume import load_volume

CORPUS = Path(__file__).parent / "corpus"


def read_as_card(path: Path, folder: Path) -> None:
    shutil.copy(path, folder / "model.json")
    read_configuration(folder)


def read_as_run(path: Path, folder: Path) -> None:
    shutil.copy(path, folder / "run.json")
    Run.open(folder)


def read_as_weights(path: Path, folder: Path) -> None:
    level = LevelConfig(unet=UNetConfig(widths=(8,), blocks=(1,), attention=(False,)))
    save_model(Cascade(CascadeConfig(shape=(8, 8, 8), depth=0, levels=(level,))), folder, {})
    shutil.copy(path, folder / "model.safetensors")
    load_cascade(folder)


DOORS: dict[str, Callable[[Path, Path], object]] = {
    "cards": read_as_card,
    "runs": read_as_run,
    "sidecars": lambda path, _: load_sidecar(path),
    "tables": lambda path, _: read_table(path),
    "volumes": lambda path, _: load_volume(path),
    "weights": read_as_weights,
}
FILES = sorted(path.relative_to(CORPUS).as_posix() for path in CORPUS.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_is_one_sentence(name: str, tmp_path: Path) -> None:
    with pytest.raises(BrainDiffusionError) as told:
        DOORS[name.partition("/")[0]](CORPUS / name, tmp_path)
    said = str(told.value)
    assert "\n" not in said
    assert len(said) < 600
    assert any(one in said for one in (Path(name).name, tmp_path.name)), "it names the file"


def test_the_corpus_is_small() -> None:
    assert len(FILES) > 75
    assert sum((CORPUS / name).stat().st_size for name in FILES) < 300_000
