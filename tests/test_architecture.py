"""The arrows of the design, held by import-linter: screens and torch load only where they must."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
CONTRACTS = [
    contract["id"]
    for contract in tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
]

TORCH_FREE = [
    "braindiffusion",
    "braindiffusion.cli",
    "braindiffusion.cohort.describe",
    "braindiffusion.cohort.find",
    "braindiffusion.cohort.store",
    "braindiffusion.jobs",
    "braindiffusion.models.registry",
    "braindiffusion.runs",
    "braindiffusion.example_data",
    "braindiffusion.volume",
]


@pytest.mark.parametrize("contract", CONTRACTS)
def test_imports_keep_the_contract(contract: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = lint_imports(config_filename=str(PYPROJECT), limit_to_contracts=(contract,), no_cache=True, no_logo=True)
    assert status == 0, capsys.readouterr().out


def test_what_the_plugin_uses_of_the_engine_loads_neither_torch_nor_a_screen() -> None:
    # In a process of its own: here, other tests have loaded everything long ago.
    code = (
        f"import sys\nfor name in {TORCH_FREE!r}: __import__(name)\n"
        "heavy = {'torch', 'torchio', 'lightning_fabric', 'napari', 'qtpy', 'PyQt6'} & set(sys.modules)\n"
        "sys.exit(f'loaded {sorted(heavy)}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_engine_messages_name_no_flag() -> None:
    # The command line adds the flag of the field that an error is about.
    doors = ("cli", "runs/requests", "runs/command.py", "runs/launch_script.py", "engine.py")
    root = PYPROJECT.parent / "src" / "braindiffusion"
    found = []
    for path in root.rglob("*.py"):
        if path.relative_to(root).as_posix().startswith(doors):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        found += [
            f"{path.name}:{node.lineno} {node.value}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docstrings
            and re.search(r"(^|[\s(])--[a-z]", node.value)
        ]
    assert found == []
