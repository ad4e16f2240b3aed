"""What docstrings and documentation show as Python runs, and gives what it says."""

import doctest
import importlib
import re
from pathlib import Path
from typing import Literal

import pytest

import braindiffusion
from braindiffusion.api import functions, model
from braindiffusion.runs import GenerateRequest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(path for path in (ROOT / "src").rglob("*.py") if ">>> " in path.read_text(encoding="utf-8"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


class Coarse(GenerateRequest):
    """The first level only, without anatomy, where nothing else is said: the examples are tried, not their brains."""

    levels: int | None = 1
    anatomy: Literal["none", "sampled"] | None = "none"


def examples() -> list[doctest.DocTest]:
    modules = [".".join(path.relative_to(ROOT / "src").with_suffix("").parts) for path in SOURCES]
    found = [
        one
        for name in modules
        for one in doctest.DocTestFinder().find(importlib.import_module(name.removesuffix(".__init__")))
    ]
    return [one for one in found if any(doctest.SKIP not in example.options for example in one.examples)]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, tmp_runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for module in (functions, model):
        monkeypatch.setattr(module, "GenerateRequest", Coarse)


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_the_example_of_a_docstring_runs(example: doctest.DocTest) -> None:
    assert doctest.DocTestRunner().run(example).failed == 0


def test_every_public_name_has_an_example() -> None:
    functions = [getattr(braindiffusion, name) for name in braindiffusion.__all__ if not name.startswith("__")]
    assert [one.__name__ for one in functions if one is not braindiffusion.Model and ">>> " not in one.__doc__] == []


@pytest.mark.parametrize(
    "page", [page for page in PAGES if BLOCK.search(page.read_text(encoding="utf-8"))], ids=lambda page: page.name
)
def test_the_python_of_a_page_runs(page: Path) -> None:
    whole = "".join(BLOCK.findall(page.read_text(encoding="utf-8")))
    exec(compile(whole, str(page), "exec"), {})
