"""Fixtures that all tests share."""

import os
from pathlib import Path

import pytest

# Before any test imports torch: idle OpenMP threads that spin cost many times what they save, as soon as an engine
# process or another program wants the cores too.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

SHARED_DATA = "BRAINDIFFUSION_SHARED_DATA"


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
