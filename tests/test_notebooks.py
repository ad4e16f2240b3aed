"""Tests of the stored notebooks: outputs exist, are small, and contain no paths of the machine that ran them."""

import json
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LARGEST = 1_500_000
MACHINE = re.compile(r"/(work|home|root|Users|tmp|opt|usr)/|site-packages|Traceback")


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_has_outputs_without_paths_of_the_machine(path: Path) -> None:
    assert path.stat().st_size < LARGEST
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert "colab.research.google.com" in "".join(cells[0]["source"])
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert "drive.mount(" in "".join(code[0]["source"])
    outputs = [output for cell in code for output in cell["outputs"]]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]
    texts = [output.get("text", output.get("data", {}).get("text/plain", "")) for output in outputs]
    assert not MACHINE.search("".join("".join(text) for text in texts))
