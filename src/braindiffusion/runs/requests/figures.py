"""The request to draw volumes."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from braindiffusion.runs.requests.base import BaseRequest, Overwrite

FigureName = Literal["volume", "slices", "compare", "process", "regions"]


class VisualizeRequest(BaseRequest):
    """Draw volumes as a page for the browser."""

    job: Literal["visualize"] = "visualize"
    figure: FigureName = Field(default="volume", title="Figure", json_schema_extra={"positional": True})
    """`volume` renders in 3D, `slices` shows three linked planes, `compare` puts volumes side by side, `process` plays
    a denoising trajectory, `regions` overlays a label map."""
    paths: tuple[Path, ...] = Field(min_length=1, title="Volumes", json_schema_extra={"positional": True})
    """One volume; `compare` takes two to four, `regions` a volume and its label map."""
    out: Path | None = Field(default=None, title="Output")
    """The file to write: `.html`; `.png` and `.svg` need kaleido and Chrome."""
    channel: int = Field(default=0, ge=0, title="Channel")
    """Channel, or time point, to show, counted from 0."""
    overwrite: Overwrite = False
