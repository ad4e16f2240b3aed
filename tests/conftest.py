"""Fixtures that all tests share."""

import os
import shutil
import subprocess
from collections.abc import Callable
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


@pytest.fixture(scope="session")
def browser_path() -> str:
    """Chromium; without it, the test is skipped."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip(f"needs Chromium: none of {', '.join(names)} is on the path")
    return path


@pytest.fixture
def dom_of(request: pytest.FixtureRequest) -> Callable[..., str]:
    """Opens a page without a network and returns its document as it is once its scripts have run."""

    def dom_of(page: Path, *options: str) -> str:
        browser_path = request.getfixturevalue("browser_path")  # here: what was tested before counts
        words = "--headless --no-sandbox --disable-gpu --disable-background-networking --dump-dom"
        places = ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={page.parent / 'profile'}", page.as_uri()]
        command = [browser_path, *words.split(), *options, *places]
        return subprocess.run(command, capture_output=True, text=True, timeout=600, check=True).stdout

    return dom_of
