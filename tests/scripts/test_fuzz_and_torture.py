"""The short form of `make fuzz` and `make torture`: nothing crashes, hangs, is lost, or differs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs fork and limits of Linux")


def run(script: str, out: Path, *arguments: str) -> dict[str, dict[str, dict[str, int]]]:
    command = [sys.executable, str(ROOT / "scripts" / script), "--out", str(out), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    told: dict[str, dict[str, dict[str, int]]] = json.loads(out.read_text())
    return told


def test_damaged_files_end_in_a_result_or_in_a_sentence(tmp_path: Path) -> None:
    told = run("fuzz.py", tmp_path / "fuzz.json", "--files", "12", "--only", "card", "sidecar", "tsv", "run", "vectors")
    outcomes = {name for counted in told["counts"].values() for name in counted}
    assert outcomes == {"result", "sentence"}


def test_killed_jobs_end_as_undisturbed_ones(tmp_path: Path) -> None:
    words = "--kills 4 --cycles 10 --trainings 0 --no-disks --jobs train prepare generate synthesize"
    told = run("torture.py", tmp_path / "torture.json", *words.split())
    jobs = ("train", "prepare", "generate", "synthesize")
    for what in (*(f"{job}, killed" for job in jobs), "generate and delete"):
        assert told["counts"][what]["tried"] > 0, what
        assert [told["counts"][what][wrong] for wrong in ("lost", "hung", "wrong")] == [0, 0, 0], what
