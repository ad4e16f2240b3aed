"""The command `prepare`."""

from pathlib import Path

from braindiffusion.cli import runner
from braindiffusion.cli.options import Options, RunName, takes
from braindiffusion.runs import PrepareRequest


@takes(PrepareRequest, optional={"out": "DATA_DIR's name with .zarr"})
def prepare(options: Options[PrepareRequest], name: RunName = None) -> None:
    """Preprocess a folder of volumes into a cohort (one Zarr store). A half-written store is continued."""
    out = options.values["out"] or Path(f"{options.values['data_dir'].absolute().name}.zarr")
    runner.perform_request(options.request(out=out.absolute()), name)
