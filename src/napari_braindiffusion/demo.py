"""`python -m napari_braindiffusion.demo`: generate a brain in napari, beside a real one.

A model that learnt region maps is asked for the regions of the real one, a person whom the packaged model never saw.

With a screen it opens napari and leaves it to the user. Without one (`--headless`, or `BRAINDIFFUSION_HEADLESS=1`) it
does the same in a virtual one, saves a screenshot, and ends. Either way the brain, its denoising trajectory and its
sidecar are written into `demo/`.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from napari.layers import Layer
from napari.viewer import Viewer
from qtpy.QtCore import QEventLoop, QTimer
from qtpy.QtWidgets import QApplication

import napari
from braindiffusion.conditions import MapField
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.example_data import sample_labels_path, sample_t1_path
from braindiffusion.models.card import ModelCard
from braindiffusion.models.registry import DEFAULT_MODEL, find_model, read_card
from braindiffusion.runs import GenerateRequest
from braindiffusion.runs.requests.base import Asked
from braindiffusion.volume import load_volume
from napari_braindiffusion.docks.base import TourOffer
from napari_braindiffusion.docks.open import open_dock
from napari_braindiffusion.engine.job import JobHandle
from napari_braindiffusion.layers.display import set_axial_view
from napari_braindiffusion.layers.geometry import volume_to_layer_data

HEADLESS = "BRAINDIFFUSION_HEADLESS"
PERSON = 5
"""Index of the example subject, held out when the packaged model was trained."""
WINDOW = (1400, 760)
PATIENCE_SECONDS = 600


def open_demo(request: GenerateRequest) -> tuple[Viewer, JobHandle | None]:
    """Open napari with a real brain and the Generate dock, which begins to make another beside it.

    Args:
        request: The brain to make.

    Returns:
        The viewer, and the job; None where the job could not begin (napari has said why).
    """
    TourOffer.suppress()
    viewer = Viewer(title="BrainDiffusion", show=True)
    viewer.window.resize(*WINDOW)
    real = volume_to_layer_data(load_volume(sample_t1_path(PERSON)), "A real brain (IXI)")
    viewer.add_layer(Layer.create(*real))
    viewer.canvas.grid.shape = (1, -1)
    set_axial_view(viewer, grid=True)
    dock = open_dock(viewer, "Generate")
    dock.form.choose_model(request.model)
    job = dock.generate(request)
    if job is not None:
        job.finished.connect(lambda _: _arrange(viewer))
    return viewer, job


def the_same_regions(card: ModelCard) -> dict[str, Asked]:
    """Return the condition with the regions of the real brain; empty for a model without region maps."""
    return {
        field.name: str(sample_labels_path(PERSON)) for field in card.conditions.fields if isinstance(field, MapField)
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo.

    Returns:
        The exit status: 0 if a brain was made.
    """
    parser = argparse.ArgumentParser(
        prog="python -m napari_braindiffusion.demo", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument(
        "--headless", action="store_true", help="save a screenshot and end, instead of leaving napari open"
    )
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder to write into (default: demo)")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="name of a packaged model, or path of a model folder")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    headless = chosen.headless or os.environ.get(HEADLESS, "") not in ("", "0")

    try:
        card = read_card(find_model(chosen.model))
    except BrainDiffusionError as error:  # told at once, before a window opens
        sys.stderr.write(f"{error}\n")
        return 1
    begun = time.monotonic()
    out = chosen.out.absolute()
    request = GenerateRequest(
        model=chosen.model,
        seed=chosen.seed,
        condition=the_same_regions(card),
        out=out,
        previews=True,
        trajectory=True,
    )
    viewer, job = open_demo(request)
    if not headless:
        napari.run()
        return 0
    message = _wait(job)
    if message:
        sys.stderr.write(f"{message}\n")
    else:
        QApplication.processEvents()  # the dock makes room for what it shows now
        screenshot = out / "screenshot.png"
        viewer.screenshot(str(screenshot), canvas_only=False, flash=False)
        written = "\n".join(f"  {path}" for path in sorted(out.iterdir()))
        seconds = time.monotonic() - begun
        sys.stdout.write(f"A brain was made and shown in {seconds:.0f} s. Written:\n{written}\n")
    viewer.close()
    return 1 if message else 0


def _wait(job: JobHandle | None) -> str:
    """Let napari work until the job has ended. Returns what went wrong, empty if nothing did."""
    if job is None:
        return "The generation could not begin."
    said: list[str] = []
    loop = QEventLoop()
    job.failed.connect(said.append)
    job.cancelled.connect(lambda message: said.append(message or "Cancelled."))
    job.ended.connect(loop.quit)
    timer = QTimer(singleShot=True, interval=PATIENCE_SECONDS * 1000)
    timer.timeout.connect(loop.quit)
    timer.start()
    loop.exec()
    if not job.is_over:
        return f"No brain within {PATIENCE_SECONDS} s."
    return said[0] if said else ""


def _arrange(viewer: Viewer) -> None:
    """Show the real brain, the generated one and its trajectory side by side, at a step in the middle."""
    set_axial_view(viewer, grid=True)
    last = viewer.dims.range[0].stop
    viewer.dims.set_point(0, round(last * 0.5))


if __name__ == "__main__":
    sys.exit(main())
