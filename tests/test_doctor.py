"""Every verdict of the doctor can fall either way."""

from pathlib import Path

import pytest
import torch

from braindiffusion import doctor


def test_it_looks_at_everything(tmp_runs: Path) -> None:
    findings = {finding.what: finding for finding in doctor.examine()}
    assert set(findings) == {
        "versions", "memory", "runs folder", "packaged models", "screen", "device", "threads", "bfloat16",
    }  # fmt: skip
    assert torch.__version__ in findings["versions"].detail
    assert str(tmp_runs) in findings["runs folder"].detail
    assert findings["bfloat16"].verdict in ("good", "fair")


def test_wrong_arithmetic_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    right = torch.nn.functional.conv3d

    def wrong(x: torch.Tensor, weight: torch.Tensor, **settings: int) -> torch.Tensor:
        result = right(x, weight, **settings)
        return result * 1.1 if x.dtype is torch.bfloat16 else result

    monkeypatch.setattr(torch.nn.functional, "conv3d", wrong)
    finding = doctor._bfloat16(torch.device("cpu"))
    assert finding.verdict == "bad"
    assert "float32" in finding.detail


def test_a_missing_library_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "package_version", lambda name: None if name == "zarr" else "1")
    finding = doctor._versions()
    assert finding.verdict == "bad"
    assert "zarr missing" in finding.detail


def test_missing_screen_libraries_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None if name == "xcb-cursor" else name)
    finding = doctor._screen()
    assert finding.verdict == "fair"
    assert "without libxcb-cursor" in finding.detail


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch, tmp_runs: Path) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10**8})())
    assert doctor._disk().verdict == "fair"
