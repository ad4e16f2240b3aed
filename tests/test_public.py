"""`import braindiffusion`: light, and all public names are there."""

import json
import subprocess
import sys

import pytest

import braindiffusion


def imported_by(statement: str) -> set[str]:
    """Top-level modules that a statement loads in a fresh Python."""
    code = (
        f"import json, sys\n{statement}\njson.dump(sorted({{name.split('.')[0] for name in sys.modules}}), sys.stdout)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    "statement",
    [
        "import braindiffusion; dir(braindiffusion); braindiffusion.__version__",
        "import braindiffusion; braindiffusion.load_volume; braindiffusion.Volume",
        "import braindiffusion.runs, braindiffusion.jobs, braindiffusion.engine, braindiffusion.models.registry",
        "from braindiffusion.cohort.store import Cohort",
        "import braindiffusion.figures.volume_rendering",
        "import braindiffusion; braindiffusion.load_model().conditions; braindiffusion.show",
    ],
)
def test_these_need_no_torch_and_no_screen(statement: str) -> None:
    assert not imported_by(statement) & {"torch", "torchio", "napari", "qtpy", "PyQt6"}


def test_importing_the_package_alone_loads_no_library() -> None:
    assert not imported_by("import braindiffusion") & {"numpy", "nibabel", "pydantic", "zarr"}


@pytest.mark.parametrize("name", braindiffusion.__all__)
def test_public_names_are_there(name: str) -> None:
    assert getattr(braindiffusion, name) is not None
    assert name in dir(braindiffusion)


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'fly'"):
        braindiffusion.fly  # noqa: B018
