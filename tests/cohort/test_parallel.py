import importlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import psutil
import pytest

from braindiffusion.cohort.parallel import in_order
from braindiffusion.errors import BrainDiffusionError


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module `tasks` beside this file, where worker processes find it too."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    return importlib.import_module("tasks")


@pytest.mark.parametrize("workers", [1, 2])
def test_answers_come_in_the_order_of_tasks(tasks: ModuleType, workers: int) -> None:
    answers = list(in_order(tasks.slow_if_even, range(12), workers))
    assert [number for number, _ in answers] == list(range(12))
    assert (os.getpid() in {pid for _, pid in answers}) == (workers == 1)


def test_no_tasks(tasks: ModuleType) -> None:
    assert list(in_order(tasks.slow_if_even, [], 2)) == []


def test_closing_ends_the_workers_in_the_middle_of_a_task(tasks: ModuleType, tmp_path: Path) -> None:
    answers = in_order(tasks.answer_once_then_wait, [str(tmp_path)] * 10, 2)
    worker = psutil.Process(next(answers))
    begun = time.monotonic()
    answers.close()
    assert time.monotonic() - begun < 60  # the task takes ten minutes
    assert not worker.is_running()


def test_a_worker_that_is_killed_is_told(tasks: ModuleType) -> None:
    with pytest.raises(BrainDiffusionError, match="worker process ended before its work was done"):
        list(in_order(tasks.die, [3, 4], 2))


def test_workers_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys; from braindiffusion.cohort.parallel import in_order; from tasks import wait_long\n"
        "if __name__ == '__main__': list(in_order(wait_long, [sys.argv[1]] * 2, 2))"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    here = str(Path(__file__).parent)
    (tmp_path / "pids").mkdir()
    parent = subprocess.Popen([sys.executable, script, tmp_path / "pids"], env=os.environ | {"PYTHONPATH": here})
    try:
        _until(lambda: len(list((tmp_path / "pids").iterdir())) == 2, parent)
        workers = [psutil.Process(int(file.name)) for file in (tmp_path / "pids").iterdir()]
    finally:
        parent.kill()
        parent.wait()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert alive == []


def _until(condition: Callable[[], bool], parent: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert parent.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
