"""Look at a volume in the browser: `python examples/look_in_browser.py scan.nii.gz`.

Writes two pages that need no network: a rendering that turns, and three slices with sliders.
"""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from braindiffusion import load_volume
from braindiffusion.figures.page import write_figure
from braindiffusion.figures.slice_views import slice_views
from braindiffusion.figures.volume_rendering import volume_rendering
from braindiffusion.samples import sample_t1_path


def main(
    scan: Annotated[Path | None, typer.Argument(help="A NIfTI or MGH volume; a sample by default.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the pages.")] = Path("pages"),
    show: Annotated[bool, typer.Option("--open/--no-open", help="Open them.")] = True,
) -> None:
    """Write and open the pages."""
    path = scan or sample_t1_path()
    volume = load_volume(path)
    for name, draw in (("rendering", volume_rendering), ("slices", slice_views)):
        page = write_figure(draw(volume, title=path.name), out / f"{name}.html")
        print(page)
        if show:
            webbrowser.open(page.absolute().as_uri())


if __name__ == "__main__":
    typer.run(main)
