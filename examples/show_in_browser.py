"""Show a volume in the browser: `python examples/show_in_browser.py scan.nii.gz`.

Writes two pages that work offline: an interactive rendering, and three slices with sliders.
"""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

import braindiffusion
from braindiffusion.example_data import sample_t1_path


def main(
    scan: Annotated[Path | None, typer.Argument(help="A NIfTI or MGH volume; a sample by default.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the pages.")] = Path("pages"),
    show: Annotated[bool, typer.Option("--open/--no-open", help="Open the pages.")] = True,
) -> None:
    """Write and open the pages."""
    path = scan or sample_t1_path()
    for kind in ("rendering", "slices"):
        page = out / f"{kind}.html"
        braindiffusion.show(path, kind=kind, title=path.name, path=page)
        print(page)
        if show:
            webbrowser.open(page.absolute().as_uri())


if __name__ == "__main__":
    typer.run(main)
