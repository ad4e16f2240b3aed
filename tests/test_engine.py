"""The engine as a client sees it: a process with two pipes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue

import psutil
import pytest

from braindiffusion import __version__
from braindiffusion.runs import (
    Cancelled,
    DemoRequest,
    Event,
    Failed,
    Finished,
    Metric,
    Progress,
    Run,
    RunState,
    Started,
)
from braindiffusion.runs.messages import Alive, Cancel, Quit, Ready, RunEvent, Submit, parse_answer

TESTS = Path(__file__).parent
SECONDS = 60.0
"""No answer takes this long; a test that waits longer fails."""

# The engine as `python -m braindiffusion.engine` runs it, but with a job of ours.
DRIVER = """
import sys
sys.path.insert(0, {tests!r})
from braindiffusion import engine, jobs
jobs.JOB_LOCATIONS["demo"] = "fake_jobs:{job}"
sys.exit(engine.main({arguments!r}))
"""


class Client:
    """Speaks with one engine. A thread collects its answers, so that waiting has an end."""

    def __init__(self, job: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", DRIVER.format(tests=str(TESTS), job=job, arguments=[])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.lines: Queue[bytes] = Queue()
        self.errors = b""
        self.lives = threading.Event()
        self._threads = [threading.Thread(target=self._collect), threading.Thread(target=self._drain)]
        for thread in self._threads:
            thread.start()

    def _collect(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if isinstance(parse_answer(line), Alive):
                self.lives.set()
            else:
                self.lines.put(line)

    def _drain(self) -> None:
        assert self.process.stderr is not None
        self.errors = self.process.stderr.read()

    def send(self, order: Submit | Cancel | Quit) -> None:
        self.send_line(order.model_dump_json().encode())

    def send_line(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def answer(self) -> Ready | RunEvent:
        return parse_answer(self.lines.get(timeout=SECONDS))

    def until(self, run: Run, kind: type[Event]) -> list[Event]:  # type: ignore[valid-type]
        """The events of a run up to the first of a kind."""
        events = []
        while True:
            answer = self.answer()
            assert isinstance(answer, RunEvent)
            if answer.run == run.path:
                events.append(answer.event)
                if isinstance(answer.event, kind):
                    return events

    def wait(self) -> int:
        return self.process.wait(timeout=SECONDS)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for thread in self._threads:
            thread.join(SECONDS)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:
                continue


@pytest.fixture
def start() -> Iterator[Callable[[str], Client]]:
    clients = []

    def make(job: str) -> Client:
        clients.append(Client(job))
        ready = clients[-1].answer()
        assert ready == Ready(pid=clients[-1].process.pid, version=__version__)
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(DemoRequest(), tmp_path)


def test_what_is_sent_up_is_what_the_folder_holds(start: Callable[[str], Client], run: Run) -> None:
    client = start("counts")
    client.send(Submit(run=run.path))
    told = client.until(run, Finished)
    assert told == run.events()
    assert isinstance(told[0], Started)
    assert told[0].pid == client.process.pid
    client.send(Quit())
    assert client.wait() == 0


def test_jobs_are_done_one_after_the_other(start: Callable[[str], Client], tmp_path: Path) -> None:
    client = start("counts")
    runs = [Run.create(DemoRequest(seed=seed), tmp_path) for seed in range(3)]
    for run in runs:
        client.send(Submit(run=run.path))
    order = []
    while len(order) < 3:
        answer = client.answer()
        assert isinstance(answer, RunEvent)
        if isinstance(answer.event, Finished):
            order.append(answer.run)
    assert order == [run.path for run in runs]
    first_end = runs[0].events()[-1].time
    assert runs[1].events()[0].time >= first_end


def test_cancel_stops_within_a_step_and_the_engine_goes_on(
    start: Callable[[str], Client], run: Run, tmp_path: Path
) -> None:
    client = start("endless")
    client.send(Submit(run=run.path))
    client.until(run, Progress)
    client.send(Cancel(run=run.path))
    client.until(run, Cancelled)
    assert run.state is RunState.CANCELLED
    assert (run.results / "saved").is_file()
    second = Run.create(DemoRequest(), tmp_path)
    client.send(Submit(run=second.path))
    client.until(second, Progress)
    assert second.state is RunState.RUNNING


def test_cancel_of_a_run_that_waits(start: Callable[[str], Client], run: Run, tmp_path: Path) -> None:
    client = start("endless")
    waiting = Run.create(DemoRequest(), tmp_path)
    client.send(Submit(run=run.path))
    client.send(Submit(run=waiting.path))
    client.until(run, Progress)
    client.send(Cancel(run=waiting.path))
    (told,) = client.until(waiting, Cancelled)
    assert waiting.events() == [told]
    assert run.state is RunState.RUNNING


@pytest.mark.parametrize("how", ["quit", "end of input", "terminate", "interrupt"])
def test_every_way_to_end_it_cancels_and_saves(
    start: Callable[[str], Client], run: Run, tmp_path: Path, how: str
) -> None:
    if sys.platform == "win32" and how in ("terminate", "interrupt"):
        pytest.skip("Windows ends processes without asking them")
    client = start("endless")
    waiting = Run.create(DemoRequest(), tmp_path)
    client.send(Submit(run=run.path))
    client.send(Submit(run=waiting.path))
    client.until(run, Progress)
    match how:
        case "quit":
            client.send(Quit())
        case "end of input":
            assert client.process.stdin is not None
            client.process.stdin.close()
        case "terminate":
            client.process.send_signal(signal.SIGTERM)
        case "interrupt":
            client.process.send_signal(signal.SIGINT)
    assert client.wait() == 0
    assert run.state is RunState.CANCELLED
    assert waiting.state is RunState.CANCELLED
    assert (run.results / "saved").is_file()


def test_an_idle_engine_ends_on_a_signal(start: Callable[[str], Client]) -> None:
    client = start("counts")
    client.process.send_signal(signal.SIGTERM)
    assert client.wait() == 0


def test_what_libraries_print_does_not_reach_the_client(start: Callable[[str], Client], run: Run) -> None:
    client = start("chatty")
    client.send(Submit(run=run.path))
    told = client.until(run, Finished)  # parses every line: noise would not
    (heard,) = [event.values["heard"] for event in told if isinstance(event, Metric)]
    assert heard == 0  # and the job's children cannot take orders away
    client.send(Quit())
    assert client.wait() == 0
    client.close()
    assert b"noise from Python" in client.errors
    assert b"noise from a child" in client.errors


def test_a_bug_does_not_end_the_engine(start: Callable[[str], Client], run: Run, tmp_path: Path) -> None:
    client = start("buggy")
    for one in (run, Run.create(DemoRequest(), tmp_path)):
        client.send(Submit(run=one.path))
        last = client.until(one, Failed)[-1]
        assert "bug" in last.message
        assert one.error_file.is_file()


def test_a_folder_that_is_no_run_fails_and_a_wrong_line_is_passed_over(
    start: Callable[[str], Client], run: Run, tmp_path: Path
) -> None:
    client = start("counts")
    client.send_line(b"{nonsense")
    client.send(Submit(run=tmp_path / "nowhere"))
    answer = client.answer()
    assert isinstance(answer, RunEvent)
    assert isinstance(answer.event, Failed)
    assert "nowhere" in answer.event.message
    client.send(Submit(run=run.path))
    client.until(run, Finished)
    client.close()
    assert b"nonsense" in client.errors


def test_a_client_that_stops_listening_stops_the_job(run: Run) -> None:
    driver = DRIVER.format(tests=str(TESTS), job="endless", arguments=[])
    with subprocess.Popen(
        [sys.executable, "-c", driver], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(Submit(run=run.path).model_dump_json().encode() + b"\n")
        process.stdin.flush()
        while b"progress" not in process.stdout.readline():
            pass
        process.stdout.close()
        assert process.wait(SECONDS) == 0
    assert run.state is RunState.CANCELLED


def test_it_starts_without_torch_and_with_passive_waiting(tmp_path: Path) -> None:
    code = (
        "import sys, os, io\n"
        "from braindiffusion import engine\n"
        "code = engine.main([])\n"
        "sys.stderr.write(f\"torch={'torch' in sys.modules} omp={os.environ['OMP_WAIT_POLICY']}\")\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    done = subprocess.run(
        [sys.executable, "-c", code], input=b"", capture_output=True, timeout=SECONDS, env=environment, check=True
    )
    assert json.loads(done.stdout)["type"] == "ready"
    assert done.stderr.endswith(b"torch=False omp=PASSIVE")


def alone(job: str, run: Run, stderr: int = subprocess.DEVNULL) -> "subprocess.Popen[bytes]":
    arguments = ["--run", str(run.path)]
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER.format(tests=str(TESTS), job=job, arguments=arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        start_new_session=True,
    )


@pytest.mark.parametrize(("job", "status", "state"), [("counts", 0, RunState.FINISHED), ("buggy", 1, RunState.FAILED)])
def test_alone_it_performs_one_run_and_tells_only_its_folder(run: Run, job: str, status: int, state: RunState) -> None:
    assert alone(job, run).wait(SECONDS) == status
    assert run.state is state


def test_alone_it_tells_its_log_of_a_failure_that_the_folder_cannot_take(run: Run) -> None:
    process = alone("endless", run, subprocess.PIPE)
    wait_for_progress(run, process)
    shutil.rmtree(run.path)
    _, told = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert told.decode().count(f"The run folder {run.path} has gone") == 1


def test_a_warm_one_has_imported_what_generating_needs() -> None:
    code = """
import sys
from braindiffusion import engine
status = engine.main(["--warm"])
sys.stderr.write(str("torch" in sys.modules and "braindiffusion.jobs.preview" in sys.modules))
sys.exit(status)
"""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        assert any(isinstance(parse_answer(line), Ready) for line in process.stdout)
        _, told = process.communicate(timeout=SECONDS)  # closes its input only now: it ends when its client is gone
    assert (process.returncode, told) == (0, b"True")


def wait_for_progress(run: Run, process: "subprocess.Popen[bytes]") -> None:
    offset = 0
    while process.poll() is None:
        events, offset = run.read_events(offset)
        if any(isinstance(event, Progress) for event in events):
            return
    pytest.fail("the engine ended before its job made progress")


@pytest.mark.parametrize("how", ["ask", "terminate"])
def test_alone_it_can_be_stopped(run: Run, how: str) -> None:
    process = alone("endless", run)
    wait_for_progress(run, process)
    assert psutil.Process(process.pid).nice() > psutil.Process().nice()  # the viewer's previews come first
    if how == "ask":
        run.ask_to_stop()
    else:
        psutil.Process(process.pid).terminate()
    assert process.wait(SECONDS) == 130
    assert run.state is RunState.CANCELLED
    assert (run.results / "saved").is_file()


def test_killed_it_leaves_a_run_that_tells_and_goes_on(run: Run) -> None:
    process = alone("endless", run)
    wait_for_progress(run, process)
    process.kill()
    process.wait(SECONDS)
    assert run.state is RunState.INTERRUPTED
    assert alone("counts", run).wait(SECONDS) == 0
    assert run.state is RunState.FINISHED
    assert sum(isinstance(event, Started) for event in run.events()) == 2


def test_it_says_that_it_lives_whatever_it_does(start: Callable[[str], Client], run: Run) -> None:
    client = start("hangs")
    client.send(Submit(run=run.path))
    client.until(run, Progress)
    client.lives.clear()
    assert client.lives.wait(SECONDS)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_no_engine_outlives_a_client_that_was_killed(run: Run) -> None:
    """Not even one in the middle of a step that does not end."""
    engine = DRIVER.format(tests=str(TESTS), job="hangs", arguments=[]).replace(
        "sys.exit(engine", "engine.ORPHAN_SECONDS = 0.2; sys.exit(engine"
    )
    client = f"""
import subprocess, sys
pipes = {{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}}
process = subprocess.Popen([sys.executable, "-c", {engine!r}], **pipes)
process.stdin.write({Submit(run=run.path).model_dump_json().encode()!r} + b"\\n")
process.stdin.flush()
while b"The step has begun." not in process.stderr.readline():
    pass
print(process.pid, flush=True)
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", client], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.kill()
    gone, _ = psutil.wait_procs([one] if (one := _process(pid)) else [], timeout=SECONDS)
    assert gone or one is None
    assert run.state is RunState.INTERRUPTED


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None
