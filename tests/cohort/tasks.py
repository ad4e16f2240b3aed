"""Functions that worker processes import by name."""

import os
import threading
from pathlib import Path


def slow_if_even(number: int) -> tuple[int, int]:
    threading.Event().wait(0.05 * (number % 2 == 0))
    return number, os.getpid()


def die(number: int) -> int:
    os._exit(number)


def wait_long(folder: str) -> None:
    (Path(folder) / str(os.getpid())).touch()
    threading.Event().wait(600)


def answer_once_then_wait(folder: str) -> int:
    try:
        (Path(folder) / "answered").touch(exist_ok=False)
    except FileExistsError:
        threading.Event().wait(600)
    return os.getpid()
