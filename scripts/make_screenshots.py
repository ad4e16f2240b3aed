"""Take every screenshot of README and documentation anew: `python scripts/make_screenshots.py`, or `make screenshots`.

It opens napari, does what a user does in each dock, and photographs the window in both themes. Runs and the prepared
cohort go into a temporary folder `braindiffusion-screenshots`. Each picture is called
after its scene and theme: `docs/pictures/generate-dark.png`.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import gettempdir
from typing import Annotated, Any

import typer
from PIL import Image as Picture

THEMES = ("dark", "light")
WINDOW = 1366, 768
PATIENCE_MS = 300_000
LARGEST = 250_000
"""Bytes of a picture."""

PLUGIN = "napari-braindiffusion"


class Studio:
    """A viewer, and what is done in it before a picture is taken.

    Args:
        home: Folder with `ixi/`, a folder as users have it, and room for the rest.
        out: Folder of the pictures.
        report: Folder of a report that `evaluate` wrote.
    """

    def __init__(self, home: Path, out: Path, report: Path | None = None) -> None:
        from napari.settings import get_settings

        import napari
        from napari_braindiffusion.docks.base import TourOffer

        TourOffer.suppress()
        self.home, self.out, self.report = home, out, report
        get_settings().application.gui_notification_level = "error"  # the others hide the brain
        self.viewer = napari.Viewer(title="napari")
        self.viewer.window.resize(*WINDOW)
        self.wait(500)

    def dock(self, name: str) -> Any:
        """Open the dock of this name."""
        area, dock = self.viewer.window.add_plugin_dock_widget(PLUGIN, name)
        area.window().resizeDocks([area], [380], _horizontal())
        return dock

    def wait(self, milliseconds: int) -> None:
        """Let napari work."""
        from qtpy.QtCore import QEventLoop, QTimer

        loop = QEventLoop()
        QTimer.singleShot(milliseconds, loop.quit)
        loop.exec()

    def until(self, done: Callable[[], bool]) -> None:
        """Let napari work until something is done."""
        for _ in range(PATIENCE_MS // 100):
            if done():
                return
            self.wait(100)
        raise TimeoutError("It takes too long.")

    def photograph(self, name: str) -> None:
        """The whole window, in both themes."""
        self.out.mkdir(parents=True, exist_ok=True)
        for theme in THEMES:
            self.viewer.theme = theme
            self.wait(700)
            path = self.out / f"{name}-{theme}.png"
            self.viewer.screenshot(str(path), canvas_only=False, flash=False)
            _press(path)
        self.viewer.theme = THEMES[0]


def cohort(studio: Studio) -> None:
    """A folder of brains, one of them loaded."""
    dock = studio.dock("Cohort")
    dock.form.folder.set_path(Path("ixi/IXI-T1"))
    studio.until(lambda: len(dock.table.subjects) == 6)
    dock.table.selectRow(1)
    dock.load()
    studio.until(lambda: len(studio.viewer.layers) > 0 and dock.inspection.job is None)
    studio.wait(1000)
    studio.photograph("cohort")


def train(studio: Studio) -> None:
    """A training that has learnt for a while, on six brains of 8 mm: clouds come into being."""
    from braindiffusion import prepare
    from napari_braindiffusion.layers.display import set_axial_view

    prepare("ixi/IXI-T1", "brains.zarr", spacing=8, shape=(24, 32, 24), workers=1)
    dock = studio.dock("Train")
    dock.form.data.set_path(Path("brains.zarr"))
    dock.form.preset.setCurrentIndex(dock.form.preset.findData("tiny"))
    dock.form.epochs.setValue(60)
    dock.start()
    studio.until(lambda: dock.job is None)
    studio.viewer.layers[0].interpolation2d = "linear"
    studio.viewer.dims.set_point(0, studio.viewer.dims.range[0].stop)  # the last that it made
    set_axial_view(studio.viewer)
    dock.reveal(dock.curve)
    studio.photograph("train")


def generate(studio: Studio) -> None:
    """A brain of a woman of 72, made by the packaged model."""
    dock = studio.dock("Generate")
    dock.form.conditions.ask({"age": 72.0, "sex": "F"})
    dock.generate()
    studio.until(lambda: dock.job is None)
    dock.progress.rest(" ")  # how long it took is this machine's matter
    studio.wait(1000)
    studio.photograph("generate")


def evaluate(studio: Studio) -> None:
    """A report on the packaged model, opened; left out where none is given."""
    from braindiffusion.runs import EvaluateRequest
    from napari_braindiffusion.layers.display import set_axial_view

    if studio.report is None:
        return
    dock = studio.dock("Evaluate")
    for sample in ("generated", "real"):
        studio.viewer.open_sample(PLUGIN, sample)
    studio.viewer.layers.remove("IXI regions")
    dock.form.show_request(EvaluateRequest(generated=(Path("generated"),), real=(Path("cohort.zarr"),)))
    dock.show_report(studio.report)
    set_axial_view(studio.viewer, grid=True)
    studio.viewer.scene.camera.zoom *= 0.75  # napari fits them to the height
    studio.wait(1000)
    dock.reveal(dock.view.figure)
    studio.photograph("evaluate")


def look(studio: Studio) -> None:
    """A brain in three linked planes and in 3D."""
    dock = studio.dock("Orthoviews")
    studio.viewer.open_sample(PLUGIN, "real")
    studio.until(lambda: len(dock.panes) == 3)
    studio.wait(2000)
    studio.photograph("look")


def tour(studio: Studio) -> None:
    """The second step of the guided tour."""
    from napari_braindiffusion.tour import begin_tour

    studio.viewer.open_sample(PLUGIN, "real")
    guide = begin_tour(studio.viewer)
    guide.next()
    studio.wait(500)
    studio.photograph("tour")
    guide.end()


SCENES = {"cohort": cohort, "train": train, "generate": generate, "evaluate": evaluate, "look": look, "tour": tour}


def _horizontal() -> Any:
    from qtpy.QtCore import Qt

    return Qt.Orientation.Horizontal


def _press(path: Path) -> None:
    """As few colours as keep a picture small; without what a screen is thought to measure."""
    colours = 256
    picture = Picture.open(path).convert("RGB")
    while True:
        picture.quantize(colours, dither=Picture.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size <= LARGEST or colours <= 32:
            return
        colours //= 2


def main(
    out: Annotated[Path, typer.Option(help="Folder of the pictures.")] = Path("docs/pictures"),
    only: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(SCENES)}; by default all.")] = None,
    report: Annotated[Path | None, typer.Option(help="Folder of a report, for the scene `evaluate`.")] = None,
) -> None:
    """Take the screenshots."""
    out, report = out.absolute(), report and report.absolute()
    home = Path(gettempdir()) / "braindiffusion-screenshots"  # some messages name it
    shutil.rmtree(home, ignore_errors=True)
    os.environ["BRAINDIFFUSION_RUNS"] = str(home / "runs")
    os.environ["NAPARI_CONFIG"] = str(home / "napari" / "settings.yaml")
    try:
        from braindiffusion.example_data import samples_dir

        shutil.copytree(samples_dir(), home / "ixi", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        os.chdir(home)  # paths in the pictures begin here
        for name in only or SCENES:
            studio = Studio(home, out, report)
            SCENES[name](studio)
            studio.viewer.close()
            print(f"{name}: {', '.join(path.name for path in sorted(out.glob(f'{name}-*.png')))}")
    finally:
        os.chdir(out.anchor)
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    typer.run(main)
