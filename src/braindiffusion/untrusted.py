"""Text and JSON from files of others: bounded when it is read, checked or escaped before it is a name, a cell or HTML.

A model card, a sidecar, a table, a cohort or a run may come from anybody. Whatever text of theirs becomes part of a
path, of a table or of a page passes through here.
"""

import html
import json
import re
from pathlib import Path
from typing import Any

from braindiffusion.errors import BrainDiffusionError

MOST_BYTES = 64 << 20
"""Size of the largest JSON file that is read: sidecars and cards have kilobytes, cohorts of 100,000 subjects 30 MB."""
LONGEST_NAME, LONGEST_CELL = 64, 1000
_NAME = re.compile(rf"[^\W_][\w.+-]{{0,{LONGEST_NAME - 1}}}")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_FORMULA = ("=", "+", "-", "@")


def read_json(path: Path) -> Any:
    """Return the content of a JSON file. NaN and infinity, which JSON does not know, become None.

    Raises:
        OSError: it cannot be read.
        ValueError: it is too large, nested too deeply, or no JSON.
    """
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES >> 20} MB")
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"), parse_constant=lambda _: None)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def name_part(text: str, what: str) -> str:
    """Return a text that becomes part of the name of a file.

    Args:
        text: the text.
        what: what it is, for the message.

    Raises:
        BrainDiffusionError: it has anything but letters, digits and `_.+-`, does not begin with a letter or a digit, is
            longer than 64 characters, or names a device of Windows.
    """
    if not _NAME.fullmatch(text) or text.endswith(".") or _RESERVED.fullmatch(text):
        raise BrainDiffusionError(
            f"{what} {text[:LONGEST_NAME]!r} cannot be part of a file name: it may have up to {LONGEST_NAME} letters, "
            "digits and _ . + -"
        )
    return text


def cell(value: object) -> str:
    """Return a value as one cell of a table: one line, and no formula for a spreadsheet.

    A text that a spreadsheet would take for a formula gets an apostrophe before it; numbers stay numbers.
    """
    text = " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())[:LONGEST_CELL]
    return f"'{text}" if text.startswith(_FORMULA) and not _is_number(text) else text


def markup(value: object) -> str:
    """Return a value for a page of HTML, a rich-text label or a title of Plotly, where it is shown as it is."""
    return html.escape(str(value))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
