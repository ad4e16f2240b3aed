"""The one exception that users are meant to read."""


class BrainDiffusionError(Exception):
    """Bad input, told in one sentence: what is wrong, with which file, and what to do about it.

    The command line prints it without a traceback, the engine sends it as a `Failed` event, the plugin shows it
    as a notification. Any other exception is a bug of ours and keeps its traceback in the run's folder.
    """
