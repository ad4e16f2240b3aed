"""The one exception that users are meant to read, and how those of libraries become one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FOREIGN = (ArithmeticError, LookupError, MemoryError, OSError, RuntimeError, ValueError)
"""What NumPy, SciPy, ITK (`RuntimeError`) and torch raise on the contents of a file."""


class BrainDiffusionError(Exception):
    """Bad input, explained in one sentence: what is wrong, in which file, and what to do.

    The command line prints it without a traceback, the engine sends it as a `Failed` event, the plugin shows it
    as a notification. Any other exception is a bug and keeps its traceback in the run's folder.

    Attributes:
        field: The field of the request that is to be changed, where there is one. The message names the thing
            ("sampling steps"); the command line adds the flag, a form marks the widget.
    """

    def __init__(self, message: str, field: str | None = None) -> None:
        # Names and cells of others may hold line breaks and control characters of terminals.
        super().__init__("".join(letter if letter.isprintable() else " " for letter in message))
        self.field = field


@contextmanager
def about(path: Path) -> Iterator[None]:
    """Turn whatever is raised about the contents of one file into one sentence that names it.

    Raises:
        BrainDiffusionError: in place of bad input without a file's name, or of a library's exception.
    """
    try:
        yield
    except BrainDiffusionError as error:
        reason = str(error)
        raise BrainDiffusionError(reason if str(path) in reason else f"{path}: {reason.rstrip('.')}.") from error
    except _FOREIGN as error:
        detail = " ".join(str(error).split())[:200]
        raise BrainDiffusionError(f"{path} cannot be used ({type(error).__name__}: {detail}).") from error
