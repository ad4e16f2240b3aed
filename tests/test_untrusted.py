"""Text and JSON of others: what may be part of a path, of a table, of a page."""

import ast
import csv
import io
import json
import os
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.untrusted import cell, markup, name_part, read_json

HOSTILE = ["../../../x", "..", ".", "", "/etc/x", "C:\\x", "a/b", "a\\b", "a\0b", "a\nb", "~", "-rf", "_x", "con",
           "NUL.txt", "x.", "a" * 65, "a:b", "a*", "‮x"]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_what_leaves_a_folder_is_no_part_of_a_file_name(text: str) -> None:
    with pytest.raises(BrainDiffusionError, match="file name"):
        name_part(text, "The channel")


@pytest.mark.parametrize("text", ["T1", "T2w", "FLAIR", "PD", "Größe", "T1-post.2", "7T_MP2RAGE"])
def test_names_of_modalities_are_parts_of_file_names(text: str) -> None:
    assert name_part(text, "The channel") == text


@given(st.text())
def test_a_part_of_a_file_name_stays_in_its_folder(text: str) -> None:
    try:
        part = name_part(text, "It")
    except BrainDiffusionError:
        return
    assert os.path.normpath(f"/folder/sample_{part}.nii.gz") == f"/folder/sample_{part}.nii.gz"


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_cells_make_one_row_and_no_formula(texts: list[str]) -> None:
    line = "\t".join(cell(text) for text in texts)
    assert len(f"{line}\n".splitlines()) == 1
    assert line.count("\t") == len(texts) - 1
    read = next(csv.reader(io.StringIO(line), delimiter="\t", quoting=csv.QUOTE_NONE), [""])
    for one in read:
        assert not one.startswith(("=", "@")), one
        if one.startswith(("+", "-")):
            float(one)


def test_numbers_and_words_stay_what_they_are() -> None:
    assert [cell(value) for value in (-1.5, "-2", "n/a", "left hippocampus", 3)] == [
        "-1.5",
        "-2",
        "n/a",
        "left hippocampus",
        "3",
    ]
    assert cell('=HYPERLINK("http://x")') == '\'=HYPERLINK("http://x")'


@given(st.text())
def test_markup_has_no_elements_and_says_the_same(text: str) -> None:
    said: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: pytest.fail(tag)  # type: ignore[method-assign]
    parser.handle_data = said.append  # type: ignore[method-assign]
    parser.feed(markup(text))
    parser.close()
    assert "".join(said) == text


@pytest.mark.parametrize(
    ("content", "what"),
    [("[" * 100_000, "nested|JSON|Expecting"), ("{", "Expecting"), ("1" * 5000, "digits"), ("", "Expecting")],
)
def test_json_that_cannot_be_read_is_a_value_error(tmp_path: Path, content: str, what: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ValueError, match=what):
        read_json(tmp_path / "x.json")


def test_a_message_is_one_line_whatever_a_file_says() -> None:
    told = str(BrainDiffusionError("scan\r\n\x1b[2J\u2028 b.nii has  2 voxels"))
    assert told == "scan   [2J  b.nii has  2 voxels"


def test_json_is_bounded_and_has_no_nan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x.json"
    file.write_text(json.dumps({"sigma": float("inf"), "loss": [float("nan"), 1.5]}))
    assert read_json(file) == {"sigma": None, "loss": [None, 1.5]}
    monkeypatch.setattr("braindiffusion.untrusted.MOST_BYTES", 5)
    with pytest.raises(ValueError, match="MB"):
        read_json(file)


def test_nothing_is_unpickled_executed_or_fetched() -> None:
    """No module of the engine or the plugin imports or calls what could."""
    forbidden = {
        "pickle",
        "cPickle",
        "marshal",
        "shelve",
        "dill",
        "urllib.request",
        "http.client",
        "requests",
        "ftplib",
    }
    calls = {"eval", "exec", "torch.load", "pd.read_pickle", "os.system", "yaml.load"}
    found = []
    for path in (Path(__file__).parents[1] / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and [alias.name for alias in node.names] != ["UnpicklingError"]:
                names.append(node.module or "")
            found += [(path.name, name) for name in names if name in forbidden]
            if isinstance(node, ast.Call):
                tensors_only = any(
                    key.arg == "weights_only" and ast.unparse(key.value) == "True" for key in node.keywords
                )
                found += [(path.name, name) for name in [ast.unparse(node.func)] if name in calls and not tensors_only]
                allowed = [
                    key for key in node.keywords if key.arg == "allow_pickle" and ast.unparse(key.value) != "False"
                ]
                found += [(path.name, "allow_pickle") for _ in allowed]
    assert found == []
