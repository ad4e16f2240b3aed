"""The command line: `braindiffusion inspect | prepare | train | generate | demo | visualize | runs | models | doctor`.

Exit status: 0 all done; 1 failed (one sentence on standard error); 2 the command line itself is wrong; 3 done, but some
inputs were left out (warnings say which); 130 stopped. Paths of what was made go to standard output, everything else to
standard error.
"""

import os
import sys

from braindiffusion.cli.app import app
from braindiffusion.errors import BrainDiffusionError


def main() -> None:
    """Run the command line and end the process."""
    # Before torch is imported: idle OpenMP threads that spin slow every small operation down many times as soon as
    # another process wants the cores too.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app()
    except BrainDiffusionError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
    except OSError as error:  # a run folder on a disk that is full, read-only or gone
        where = error.filename or "A file"
        sys.stderr.write(f"{where} cannot be read or written ({error.strerror or error}): choose another place.\n")
        sys.exit(1)


__all__ = ["app", "main"]
