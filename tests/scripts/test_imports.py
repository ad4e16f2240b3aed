"""Benchmarks, scripts and examples import only what the packages still have: few of them run in the other tests."""

import ast
import importlib
import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = sorted(path for folder in ("benchmarks", "scripts", "examples") for path in (ROOT / folder).glob("*.py"))
PACKAGES = ("braindiffusion", "napari_braindiffusion")


def imported(path: Path) -> list[tuple[str, str]]:
    """Return the modules of our packages that a program imports, each with the name taken from it, or ''."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found += [(node.module, alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
    return [(module, name) for module, name in found if module.partition(".")[0] in PACKAGES]


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_imported_name_exists(path: Path) -> None:
    for module, name in imported(path):
        assert (
            not name or hasattr(importlib.import_module(module), name) or importlib.util.find_spec(f"{module}.{name}")
        ), f"{module} has no {name}"
        importlib.import_module(module)
