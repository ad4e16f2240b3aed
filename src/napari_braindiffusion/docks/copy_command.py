"""Copy the job of a dock as a command to the clipboard."""

from collections.abc import Sequence

from napari.utils.notifications import show_info
from qtpy.QtWidgets import QApplication

from braindiffusion.runs import Request
from braindiffusion.runs.command import command_arguments
from braindiffusion.runs.launch_script import Launcher, launch_script
from napari_braindiffusion.settings import settings


def copy_request(request: Request, launcher: Launcher) -> None:
    """Copy what does the same. The preferences are about this computer; a cluster has a device of its own."""
    copy_words(command_arguments(settings().applied_to(request) if launcher == "shell" else request), launcher)


def copy_words(arguments: Sequence[str], launcher: Launcher) -> None:
    """Copy a command, and say so.

    Args:
        arguments: The words after `braindiffusion`.
        launcher: Who starts it.
    """
    command = launch_script(arguments, launcher)
    QApplication.clipboard().setText(command)
    show_info(f"Copied: {command}")
