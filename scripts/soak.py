"""Long use of the real viewer with real jobs: what grows of memory, threads and file handles.

    env -u DISPLAY scripts/with-screen python scripts/soak.py --minutes 60 --out build/soak.json

Each round trains, generates and edits with a small model by clicks in the docks, scrolls and drags in the viewer while
that runs, and removes the layers and the runs. Measured are the viewer and its worker processes, between rounds.
"""

import argparse
import gc
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torture

PLUGIN = "napari-braindiffusion"
WARM = 3
"""Rounds before the measurement that the last one is compared with.

napari compiles shaders, fonts and menus while it is first used."""
SECONDS = 1800.0
"""Time that a job may take, on a machine that other work shares."""
PAUSE_MS = 500
"""Milliseconds between two clicks, scrolls or drags: what they draw is computed by the same processor as the jobs."""


class Session:
    """The viewer, its docks, and a user.

    Args:
        inputs: as `torture.make_inputs` writes them.
        rng: what the user does next.
    """

    def __init__(self, inputs: Path, rng: random.Random) -> None:
        import napari
        from napari_braindiffusion.docks.base import TourOffer

        TourOffer.suppress()
        self.rng = rng
        self.viewer = napari.Viewer()
        self.clicks = 0
        self.train, self.generate, self.edit = (self._dock(name) for name in ("Train", "Generate", "Edit"))
        model = str(inputs / "editing" / "model" / "model")
        self.train.form.fields["data"].value = inputs / "small.zarr"
        self.train.form.fields["preset"].value = "tiny"
        self.train.form.fields["epochs"].value = 0.3
        self.train.form.fields["validation_subjects"].value = 1
        self.generate.form.choose_model(Path(model))
        self.edit.form.set_models([("small", model, "")])
        self.edit.form.fields["model"].value = model
        self.edit.form.fields["first_level"].value = 0

    def _dock(self, name: str) -> Any:
        return self.viewer.window.add_plugin_dock_widget(PLUGIN, name)[1]

    def round(self) -> None:
        """Train, generate and edit; then remove all that came of it."""
        from braindiffusion.runs import list_runs

        self.train.show_run(None)  # a new one, not the last one
        self.click(self.train.start_button)
        self.click(self.generate.generate_button)
        if self.train.job is None or self.generate.job is None:
            raise RuntimeError("a job did not start")
        self.until(lambda: self.generate.job is None and self.train.job is None, "training and generation")
        self.viewer.dims.ndisplay = 2  # napari fails in 3D where a Labels layer comes before the pointer has moved
        image, _ = self.viewer.open_sample(PLUGIN, "real")
        self.edit.form.image.setCurrentText(image.name)
        mask = self.edit.add_mask()
        mask.paint(tuple(n // 2 for n in image.data.shape), 1)
        mask.mode = "pan_zoom"  # a drag in 3D over a mask beside a layer of four dimensions is an error of napari's
        self.click(self.edit.generate_button)
        self.until(lambda: self.edit.job is None or not self.edit.job.is_busy, "the edit")
        self.viewer.layers.clear()
        for run in list_runs():
            run.delete()

    def click(self, button: Any) -> None:
        """Press a button with the mouse."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        QTest.mouseClick(button, Qt.MouseButton.LeftButton)
        self.clicks += 1

    def play(self) -> None:
        """Do something in the viewer: another slice, another view, a drag over the canvas."""
        from qtpy.QtCore import QPoint, Qt
        from qtpy.QtTest import QTest

        canvas, rng = self.viewer.window._qt_viewer.canvas.native, self.rng
        what = rng.randrange(4)
        if what == 0 and self.viewer.dims.ndim > 2:
            self.viewer.dims.set_point(0, rng.uniform(*self.viewer.dims.range[0][:2]))
        elif what == 1:
            self.viewer.dims.ndisplay = 5 - self.viewer.dims.ndisplay
        elif what == 2 and self.viewer.layers:
            layer = rng.choice(list(self.viewer.layers))
            layer.visible = not layer.visible
        else:
            at = [QPoint(rng.randrange(canvas.width()), rng.randrange(canvas.height())) for _ in range(2)]
            QTest.mousePress(canvas, Qt.MouseButton.LeftButton, pos=at[0])
            QTest.mouseMove(canvas, at[1])
            QTest.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=at[1])
        self.clicks += 1

    def until(self, done: Callable[[], bool], what: str) -> None:
        """Use the viewer until something is done."""
        end = time.monotonic() + SECONDS
        while not done():
            if time.monotonic() > end:
                raise TimeoutError(f"{what} did not end within {SECONDS:.0f} s")
            self.play()
            self.wait(PAUSE_MS)

    def wait(self, milliseconds: int) -> None:
        """Run the event loop for a while."""
        from qtpy.QtCore import QEventLoop, QTimer

        loop = QEventLoop()
        QTimer.singleShot(milliseconds, loop.quit)
        loop.exec()

    def measure(self) -> dict[str, float]:
        """Return memory (MB), threads and file handles of the viewer and of its worker processes."""
        self.wait(2000)
        gc.collect()
        viewer = psutil.Process()
        engines = [one for one in viewer.children(recursive=True) if is_engine(one)]
        told: dict[str, float] = {"engines": len(engines)}
        for name, processes in (("viewer", [viewer]), ("engine", engines)):
            told[f"{name} MB"] = round(sum(one.memory_info().rss for one in processes) / 2**20, 1)
            told[f"{name} threads"] = sum(one.num_threads() for one in processes)
            told[f"{name} files"] = sum(one.num_fds() for one in processes)
        return told


def is_engine(process: psutil.Process) -> bool:
    """Return whether a process is a worker. A training that has ended has no command line until it is collected."""
    try:
        return "braindiffusion.engine" in " ".join(process.cmdline())
    except psutil.Error:
        return False


def main() -> int:
    """Use the viewer for so long, and print what has grown; the exit status is 1 where it is more than 5 %."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file of all measurements")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True) as home:
        os.environ |= {"BRAINDIFFUSION_RUNS": f"{home}/runs", "NAPARI_CONFIG": f"{home}/settings.yaml"}
        inputs = Path(home, "inputs")
        inputs.mkdir()
        # In a process of its own: the viewer imports no torch.
        if not torture.wait(torture.start(lambda: torture.make_inputs(inputs), Path(home, "told")), SECONDS):
            raise SystemExit("The inputs could not be made.")
        began, rounds, seen = time.monotonic(), 0, []
        session = Session(inputs, random.Random(arguments.seed))  # noqa: S311
        while rounds <= WARM or time.monotonic() - began < 60 * arguments.minutes:
            session.round()
            rounds += 1
            seen.append({"rounds": rounds, "minutes": round((time.monotonic() - began) / 60, 1)} | session.measure())
            print(seen[-1], flush=True)
            if arguments.out:
                arguments.out.parent.mkdir(parents=True, exist_ok=True)
                arguments.out.write_text(json.dumps({"command": " ".join(sys.argv), "seen": seen}, indent=1) + "\n")
        session.viewer.close()
    early, late = seen[WARM - 1], seen[-1]
    print(f"{rounds} rounds, {session.clicks} clicks and drags, {late['minutes']} minutes")
    for name, value in late.items():
        print(f"{name}: {early[name]:g} after {WARM} rounds, {value:g} at the end")
    return int(any(value > 1.05 * early[name] for name, value in late.items() if name not in ("rounds", "minutes")))


if __name__ == "__main__":
    sys.exit(main())
