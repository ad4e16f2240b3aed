"""Fixtures that all tests share."""

import os
from pathlib import Path

import pytest

# Before any test imports torch: idle OpenMP threads that spin cost many times what they save, as soon as an engine
# process or another program wants the cores too.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

SHARED_DATA = "BRAINDIFFUSION_SHARED_DATA"
TESTS = Path(__file__).parent
SLOW = (
    "estimate",
    "figures",
    "generation/test_toy.py",
    "napari",
    "scripts/test_fuzz_and_torture.py",
    "segmentation/test_train_segmentation.py",
    "test_docs.py",
    "test_doctests.py",
    "test_examples.py",
    "test_notebooks.py",
    "test_project.py",
    "test_public.py",
    "training/test_every_option.py",
    "training/test_exact.py",
    "training/test_many_processes.py",
    "training/test_train.py",
)
"""Tests that train, start a browser or the viewer, or build documents: `make test-quick` leaves them out."""
QUICK = ("napari/test_forms.py", "napari/test_layers.py", "napari/test_manifest.py", "napari/test_widgets.py")
"""Tests of these places that are quick all the same."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        place = item.path.relative_to(TESTS).as_posix()
        if place.startswith(SLOW) and place not in QUICK:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real brains that lies beside a developer's checkout; without it, the test is skipped."""
    folder = Path(os.environ.get(SHARED_DATA) or Path(__file__).resolve().parents[2] / "shared" / "data")
    if not (folder / "ixi-2mm").is_dir():
        pytest.skip(f"needs the shared data: no ixi-2mm in {folder} (set {SHARED_DATA} to where it is)")
    return folder


@pytest.fixture
def tmp_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs are made in here, and not in the user's own folder."""
    folder = tmp_path / "runs"
    monkeypatch.setenv("BRAINDIFFUSION_RUNS", str(folder))
    return folder
