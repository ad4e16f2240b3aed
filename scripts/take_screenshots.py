"""Take all screenshots of the documentation: `python scripts/take_screenshots.py`, or `make screenshots`.

Opens napari, uses each dock as a user would, and saves the window in both themes. Runs and the preprocessed cohort go
into a temporary folder `braindiffusion-screenshots`. Files are named after scene and theme:
`docs/pictures/generate-dark.png`.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import gettempdir
from typing import Annotated, Any

import typer
from PIL import Image

THEMES = ("dark", "light")
WINDOW = 1366, 768
PATIENCE_MS = 300_000
LARGEST = 250_000
"""Largest size of a picture, in bytes."""

PLUGIN = "napari-braindiffusion"


class Session:
    """A viewer that is operated and saved as pictures.

    Args:
        home: Working folder, which contains `ixi/`.
        out: Folder for the pictures.
        report: Folder of a report written by `evaluate`.
        patient: T1w scan of a patient.
    """

    def __init__(self, home: Path, out: Path, report: Path | None = None, patient: Path | None = None) -> None:
        from napari.settings import get_settings

        import napari
        from napari_braindiffusion.docks.base import TourOffer

        TourOffer.suppress()
        self.home, self.out, self.report, self.patient = home, out, report, patient
        get_settings().application.gui_notification_level = "error"  # others would cover the canvas
        self.viewer = napari.Viewer(title="napari")
        self.viewer.window.resize(*WINDOW)
        self.wait(500)

    def dock(self, name: str) -> Any:
        """Open the dock of this name."""
        area, dock = self.viewer.window.add_plugin_dock_widget(PLUGIN, name)
        area.window().resizeDocks([area], [380], _horizontal())
        return dock

    def wait(self, milliseconds: int) -> None:
        """Run the event loop for a while."""
        from qtpy.QtCore import QEventLoop, QTimer

        loop = QEventLoop()
        QTimer.singleShot(milliseconds, loop.quit)
        loop.exec()

    def until(self, done: Callable[[], bool]) -> None:
        """Run the event loop until a condition holds."""
        for _ in range(PATIENCE_MS // 100):
            if done():
                return
            self.wait(100)
        raise TimeoutError(f"Not finished within {PATIENCE_MS / 1000:.0f} s.")

    def save(self, name: str) -> None:
        """Save the whole window, in both themes."""
        self.out.mkdir(parents=True, exist_ok=True)
        for theme in THEMES:
            self.viewer.theme = theme
            self.wait(700)
            path = self.out / f"{name}-{theme}.png"
            self.viewer.screenshot(str(path), canvas_only=False, flash=False)
            _compress(path)
        self.viewer.theme = THEMES[0]


def cohort(session: Session) -> None:
    """Show a folder of scans, one of them opened."""
    dock = session.dock("Cohort")
    dock.form.fields["data_dir"].value = Path("ixi/IXI-T1")
    session.until(lambda: len(dock.table.subjects) == 6)
    dock.table.selectRow(1)
    dock.load()
    session.until(lambda: len(session.viewer.layers) > 0 and dock.inspection.job is None)
    session.wait(1000)
    session.save("cohort")


def train(session: Session) -> None:
    """Show a short training on six brains at 8 mm."""
    from braindiffusion import prepare
    from napari_braindiffusion.layers.display import set_axial_view

    prepare("ixi/IXI-T1", "brains.zarr", spacing=8, shape=(24, 32, 24), workers=1)
    dock = session.dock("Train")
    dock.form.fields["data"].value = Path("brains.zarr")
    dock.form.fields["preset"].value = "tiny"
    dock.form.fields["epochs"].value = 60
    dock.start()
    session.until(lambda: dock.job is None and dock.runs.currentText().endswith("finished"))
    session.wait(3000)  # the last samples are read in a thread
    session.viewer.layers[0].interpolation2d = "linear"
    session.viewer.dims.set_point(0, session.viewer.dims.range[0].stop)  # the last sample
    set_axial_view(session.viewer)
    dock.reveal(dock.curve)
    session.save("train")


def generate(session: Session) -> None:
    """Show a generated brain of a woman of 72."""
    dock = session.dock("Generate")
    dock.form.conditions.ask({"age": 72.0, "sex": "F"})
    dock.generate()
    session.until(lambda: dock.job is None)
    dock.progress.rest()  # the time depends on this machine
    session.wait(1000)
    session.save("generate")


def evaluate(session: Session) -> None:
    """Show an opened report on the packaged model; skipped without a report."""
    from braindiffusion.runs import EvaluateRequest
    from napari_braindiffusion.layers.display import set_axial_view

    if session.report is None:
        return
    dock = session.dock("Evaluate")
    for sample in ("generated", "real"):
        session.viewer.open_sample(PLUGIN, sample)
    session.viewer.layers.remove("IXI regions")
    dock.form.show_request(EvaluateRequest(generated=(Path("generated"),), real=(Path("cohort.zarr"),)))
    dock.show_report(session.report)
    set_axial_view(session.viewer, grid=True)
    session.viewer.scene.camera.zoom *= 0.75  # napari fits the grid to the height
    session.wait(1000)
    dock.reveal(dock.view.figure)
    session.save("evaluate")


def edit(session: Session) -> None:
    """Show two proposals for a painted part of a real brain, as the dock does."""
    session.viewer.open_sample(PLUGIN, "real")
    image, regions = session.viewer.layers
    regions.visible = False
    dock = session.dock("Edit")
    dock.form.image.setCurrentText(image.name)
    mask = dock.add_mask()
    x, y, z = (n // 2 for n in image.data.shape)
    mask.brush_size = 14
    mask.paint((x + 16, y + 8, z + 4), 1)
    dock.form.fields["num_proposals"].value = 2
    dock.generate()
    session.until(lambda: not dock.job.is_busy)
    dock.progress.rest()
    session.viewer.dims.set_point(2, mask.data_to_world((0, 0, z + 4))[2])
    session.wait(1000)
    session.save("edit")


def orthoviews(session: Session) -> None:
    """Show a brain in three linked planes and in 3D."""
    dock = session.dock("Orthoviews")
    session.viewer.open_sample(PLUGIN, "real")
    session.until(lambda: len(dock.panes) == 3)
    session.wait(2000)
    session.save("orthoviews")


def synthesize(session: Session) -> None:
    """Show the settings of a cohort; none is generated."""
    dock = session.dock("Synthesize")
    for name, value in {"num": 500, "age": "20:80", "out": Path("cohort")}.items():
        dock.form.fields[name].value = value
    session.wait(1000)
    session.save("synthesize")


def region_volumes(session: Session) -> None:
    """Show the region volumes of a real brain beside those of the training subjects."""
    dock = session.dock("Region volumes")
    session.viewer.open_sample(PLUGIN, "real")
    dock.measure(session.viewer.layers[-1])
    session.until(lambda: bool(dock.measured))
    session.wait(1000)
    session.save("region-volumes")


def anomaly(session: Session) -> None:
    """Show the anomaly map of a patient with multiple sclerosis; skipped without a scan of one."""
    from napari_braindiffusion.layers.display import set_axial_view

    if session.patient is None:
        return
    (image,) = session.viewer.open(session.patient, plugin=PLUGIN)
    image.name = "patient"
    dock = session.dock("Anomaly map")
    dock.make_map()
    session.until(lambda: not dock.job.is_busy)
    dock.progress.rest()
    set_axial_view(session.viewer)
    session.viewer.dims.set_point(2, session.viewer.dims.range[2].start + 0.55 * session.viewer.dims.range[2].stop)
    session.wait(1000)
    session.save("anomaly")


def tour(session: Session) -> None:
    """Show the second step of the guided tour."""
    from napari_braindiffusion.tour import begin_tour

    session.viewer.open_sample(PLUGIN, "real")
    guide = begin_tour(session.viewer)
    guide.next()
    session.wait(500)
    session.save("tour")
    guide.end()


SCENES = {
    "cohort": cohort,
    "train": train,
    "generate": generate,
    "edit": edit,
    "evaluate": evaluate,
    "orthoviews": orthoviews,
    "region-volumes": region_volumes,
    "anomaly": anomaly,
    "synthesize": synthesize,
    "tour": tour,
}


def _horizontal() -> Any:
    from qtpy.QtCore import Qt

    return Qt.Orientation.Horizontal


def _compress(path: Path) -> None:
    """Reduce the number of colours until the picture is small, and drop its metadata."""
    colours = 256
    picture = Image.open(path).convert("RGB")
    while True:
        picture.quantize(colours, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size <= LARGEST or colours <= 32:
            return
        colours //= 2


def main(
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("docs/pictures"),
    only: Annotated[
        list[str] | None, typer.Option(help=f"Scenes to take: {', '.join(SCENES)}; all by default.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Report folder for the scene `evaluate`.")] = None,
    patient: Annotated[Path | None, typer.Option(help="T1w scan of a patient for the scene `anomaly`.")] = None,
) -> None:
    """Take the screenshots."""
    out, report, patient = out.absolute(), report and report.absolute(), patient and patient.absolute()
    home = Path(gettempdir()) / "braindiffusion-screenshots"  # appears in some messages
    shutil.rmtree(home, ignore_errors=True)
    os.environ["BRAINDIFFUSION_RUNS"] = str(home / "runs")
    os.environ["NAPARI_CONFIG"] = str(home / "napari" / "settings.yaml")
    try:
        from braindiffusion.example_data import samples_dir

        shutil.copytree(samples_dir(), home / "ixi", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        os.chdir(home)  # paths in the pictures are relative to it
        for name in only or SCENES:
            session = Session(home, out, report, patient)
            SCENES[name](session)
            session.viewer.close()
            print(f"{name}: {', '.join(path.name for path in sorted(out.glob(f'{name}-*.png')))}")
    finally:
        os.chdir(out.anchor)
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    typer.run(main)
