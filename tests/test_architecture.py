"""The arrows of the design, held by import-linter: screens and torch load only where they must."""

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
