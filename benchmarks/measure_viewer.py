"""Measure how fast the viewer answers: docks that open, layers that are added, previews after a change.

    scripts/with-screen python benchmarks/measure_viewer.py docks layers orthoviews preview

Each dock and each case runs in a process of its own. `seconds` is time on the clock. `cpu` is processor time of the GUI
thread, which depends less on what else the machine does. `longest gap` is the longest time between two turns of the
event loop, in which the viewer does not answer. `napari-layers` and `napari-canvas` are what napari alone takes: the
floor under `layers` and `orthoviews`. Prints JSON.

Our modules are compiled first, as an installer does it: where `PYTHONDONTWRITEBYTECODE` is set, each process would
compile them again.
"""

import argparse
import compileall
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

DOCKS = {
    "Cohort": "cohort",
    "Train": "train",
    "Generate": "generate",
    "Synthesize": "synthesize",
    "Edit": "edit",
    "Anomaly map": "anomaly",
    "Evaluate": "evaluate",
    "Orthoviews": "orthoviews",
    "Region volumes": "region_volumes",
}
"""Name of each dock, and its module in `napari_braindiffusion.docks`."""
PLUGIN = "napari-braindiffusion"
SUBJECTS = 8
WAIT = 300.0
REPEATS = 3
Measured = dict[str, float]


class Stopwatch:
    """Seconds and processor seconds since `begin`, and the longest gap between two turns of the event loop."""

    def __init__(self) -> None:
        from qtpy.QtCore import Qt, QTimer

        self._timer = QTimer(interval=0, timerType=Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)

    def begin(self) -> None:
        self._begun = self._last = time.perf_counter(), time.thread_time()
        self._gap, self._gap_cpu = 0.0, 0.0
        self._timer.start()

    def end(self) -> Measured:
        self._tick()
        self._timer.stop()
        (clock, cpu), (now, now_cpu) = self._begun, self._last
        return {
            "seconds": now - clock,
            "cpu": now_cpu - cpu,
            "longest gap": self._gap,
            "longest gap (cpu)": self._gap_cpu,
        }

    def _tick(self) -> None:
        now = time.perf_counter(), time.thread_time()
        self._gap = max(self._gap, now[0] - self._last[0])
        self._gap_cpu = max(self._gap_cpu, now[1] - self._last[1])
        self._last = now


def wait_for(done: Callable[[], bool]) -> None:
    """Run the event loop until something is so."""
    from qtpy.QtCore import QEventLoop, QTimer

    loop, until = QEventLoop(), time.monotonic() + WAIT
    timer = QTimer(interval=1)
    timer.timeout.connect(lambda: loop.quit() if done() or time.monotonic() > until else None)
    timer.start()
    loop.exec()
    if not done():
        raise TimeoutError(f"not within {WAIT:g} s")


def settle(seconds: float = 1.0) -> None:
    """Run the event loop for a while: windows are painted, timers fire."""
    until = time.monotonic() + seconds
    wait_for(lambda: time.monotonic() > until)


def new_viewer() -> Any:
    """A viewer on the screen, with settings and runs of its own; no module of a dock is imported yet."""
    folder = tempfile.mkdtemp(prefix="braindiffusion-bench-")
    os.environ |= {"NAPARI_CONFIG": f"{folder}/napari.yaml", "BRAINDIFFUSION_RUNS": f"{folder}/runs"}
    Path(folder, f"{PLUGIN}.yaml").write_text("tour:\n  seen: true\n")
    import napari

    viewer = napari.Viewer()
    viewer.window.resize(1200, 850)
    settle()
    return viewer


def dock(name: str) -> Measured:
    """Open a dock in a viewer that has opened none: import of its module, and then the dock itself."""
    viewer = new_viewer()
    begun = time.perf_counter(), time.process_time()
    import_module(f"napari_braindiffusion.docks.{DOCKS[name]}")
    imported = time.perf_counter() - begun[0]
    imported_cpu = time.process_time() - begun[1]
    watch = Stopwatch()
    watch.begin()
    widget = viewer.window.add_plugin_dock_widget(PLUGIN, name, tabify=True)[1]
    made = watch.end()
    watch.begin()
    settle()
    after = watch.end()
    widget.end()
    return {
        "seconds": imported + made["seconds"],
        "cpu": imported_cpu + made["cpu"],
        "import": imported,
        "import (cpu)": imported_cpu,
        "longest gap": after["longest gap"],
        "longest gap (cpu)": after["longest gap (cpu)"],
        "torch": float("torch" in sys.modules),
    }


def layers() -> Measured:
    """Open eight subjects at 2 mm as layers, from the Cohort dock."""
    from braindiffusion.example_data import samples_dir

    viewer, watch = new_viewer(), Stopwatch()
    widget = viewer.window.add_plugin_dock_widget(PLUGIN, "Cohort", tabify=True)[1]
    brains = sorted((samples_dir() / "IXI-T1").rglob("*.nii.gz"))
    with tempfile.TemporaryDirectory() as folder:
        for number in range(SUBJECTS):
            path = Path(folder, f"IXI{number + 1:03d}-HH-{number + 1:04d}-T1.nii.gz")
            path.write_bytes(brains[number % len(brains)].read_bytes())
        widget.form.fields["data_dir"].value = Path(folder)
        wait_for(lambda: len(widget.table.subjects) == SUBJECTS)
        widget.inspection.stop()
        settle()
        watch.begin()
        widget.load()
        wait_for(lambda: len(viewer.layers) == SUBJECTS)
        settle()
        return watch.end()


def napari_layers() -> Measured:
    """Eight plain arrays of the same shape as layers in a grid, one in each turn of the event loop: napari alone."""
    from qtpy.QtCore import QTimer

    from braindiffusion.example_data import samples_dir
    from braindiffusion.volume import load_volume

    brains = [load_volume(path).data[0] for path in sorted((samples_dir() / "IXI-T1").rglob("*.nii.gz"))]
    viewer, watch = new_viewer(), Stopwatch()

    def add() -> None:
        number = len(viewer.layers)
        brain = brains[number % len(brains)]
        viewer.add_image(brain, contrast_limits=(0, float(brain.max())))
        if number + 1 < SUBJECTS:
            QTimer.singleShot(0, add)
        else:
            viewer.canvas.grid.update({"stride": 1, "shape": (-1, -1), "enabled": True})
            viewer.reset_view()

    watch.begin()
    QTimer.singleShot(0, add)
    wait_for(lambda: len(viewer.layers) == SUBJECTS)
    settle()
    return watch.end()


def napari_canvas() -> Measured:
    """Add a second canvas with a brain and its labels to a viewer that shows them: napari alone."""
    from napari.components import ViewerModel
    from napari.qt import QtViewer

    viewer, watch = new_viewer(), Stopwatch()
    viewer.open_sample(PLUGIN, "real")
    settle()
    watch.begin()
    model = ViewerModel()
    viewer.window.add_dock_widget(QtViewer(model))
    model.add_image(viewer.layers[0].data)
    model.add_labels(viewer.layers[1].data)
    settle()
    return watch.end()


def orthoviews() -> Measured:
    """Open the Orthoviews dock with a brain and its labels: until all canvases are there and painted."""
    viewer, watch = new_viewer(), Stopwatch()
    viewer.open_sample(PLUGIN, "real")
    settle()
    watch.begin()
    widget = viewer.window.add_plugin_dock_widget(PLUGIN, "Orthoviews", tabify=True)[1]
    wait_for(lambda: len(widget.panes) == 3)
    settle(0.3)
    return watch.end()


def preview() -> Measured:
    """The worker process after the Generate dock, and the first preview after a change, alone and beside a training."""
    import psutil

    from braindiffusion.runs import ArtifactWritten, Event, Run, Started, TrainRequest
    from napari_braindiffusion.engine.trainings import start_training

    viewer = new_viewer()
    begun = time.perf_counter()
    widget = viewer.window.add_plugin_dock_widget(PLUGIN, "Generate", tabify=True)[1]
    wait_for(lambda: widget.engine.is_ready)
    found = {"worker ready": time.perf_counter() - begun}
    widget.form.live.value = True
    seed, worker = widget.form.fields["seed"], psutil.Process(widget.engine.pid)
    at: dict[str, float] = {}

    def hear(event: Event) -> None:
        if isinstance(event, Started | ArtifactWritten):
            at.setdefault("worker begins" if isinstance(event, Started) else "worker done", event.time)

    def paint(_: object) -> None:
        if "shown" in at:
            at.setdefault("painted", time.time())

    widget.preview.received.connect(hear)
    widget.preview.volume.connect(lambda _: at.setdefault("shown", time.time()))
    viewer.window._qt_viewer.canvas._scene_canvas.events.draw.connect(paint, position="last")

    def first_preview() -> Measured:
        """Seconds after a change until each station, and processor seconds of both processes until the last."""
        wait_for(lambda: widget.preview.job is None and not widget.preview.pending)
        settle(0.3)
        at.clear()
        since, cpu, busy = time.time(), time.thread_time(), sum(worker.cpu_times()[:2])
        seed.value += 1  # as a slider that is moved: the anatomy is another
        wait_for(lambda: "painted" in at)
        stations = {name: when - since for name, when in at.items()}
        used = {"worker (cpu)": sum(worker.cpu_times()[:2]) - busy, "viewer (cpu)": time.thread_time() - cpu}
        return stations | used

    def previews(what: str) -> Measured:
        several = [first_preview() for _ in range(REPEATS)]
        stations = {name: median(one[name] for one in several) for name in several[0]}
        return {what: stations.pop("painted")} | {f"{what}: {name}": value for name, value in stations.items()}

    found["the very first"] = first_preview()["painted"]  # makes the layer
    found |= previews("preview")
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(TrainRequest(data=small_cohort(Path(folder)), preset="laptop", epochs=1000), Path(folder))
        training = start_training(run)
        steps: list[object] = []
        training.metric.connect(steps.append)
        wait_for(lambda: bool(steps) or training.is_over)
        found |= previews("preview beside a training")
        found["training goes on"] = float(not training.is_over)
        training.cancel()
        wait_for(lambda: training.is_over)
    return found


def small_cohort(folder: Path) -> Path:
    """Six brains of the package, prepared at 2 mm."""
    from braindiffusion.example_data import samples_dir

    out = folder / "brains.zarr"
    words = [sys.executable, "-m", "braindiffusion", "prepare", str(samples_dir() / "IXI-T1"), "--out", str(out)]
    subprocess.run(words, check=True, capture_output=True)
    return out


CASES: dict[str, Callable[[], Measured]] = {
    "layers": layers,
    "napari-layers": napari_layers,
    "orthoviews": orthoviews,
    "napari-canvas": napari_canvas,
    "preview": preview,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    known = ("docks", *CASES)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"{', '.join(known)}; all by default")
    parser.add_argument("--docks", nargs="+", choices=DOCKS, default=list(DOCKS), metavar="NAME")
    parser.add_argument("--one", help="run this case or dock in this process")
    chosen = parser.parse_args()
    if strange := set(chosen.cases) - set(known):
        parser.error(f"no case: {min(strange)}")
    if chosen.one:
        found = dock(chosen.one) if chosen.one in DOCKS else CASES[chosen.one]()
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()
        os._exit(0)  # what is open goes with the process
    for package in ("braindiffusion", "napari_braindiffusion"):
        compileall.compile_dir(Path(__file__).parents[1] / "src" / package, quiet=1)
    result: dict[str, Measured] = {}
    for name in chosen.cases or known:
        for one in chosen.docks if name == "docks" else [name]:
            words = [sys.executable, __file__, "--one", one]
            done = subprocess.run(words, capture_output=True, text=True)
            if done.returncode or not done.stdout:
                sys.stderr.write(f"{one} failed: {done.stderr.strip().splitlines()[-1]}\n")
                continue
            result[one] = json.loads(done.stdout.splitlines()[-1])
            sys.stderr.write(f"{one}: {result[one]}\n")
    sys.stdout.write(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
