"""The one exception that users are meant to read."""


class BrainDiffusionError(Exception):
    """Bad input, told in one sentence: what is wrong, with which file, and what to do about it.

    The command line prints it without a traceback, the engine sends it as a `Failed` event, the plugin shows it
    as a notification. Any other exception is a bug and keeps its traceback in the run's folder.

    Attributes:
        field: The field of the request that is to be changed, where there is one. The message names the thing
            ("sampling steps"); the command line adds the flag, a form marks the widget.
    """

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field
