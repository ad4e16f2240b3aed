"""Animation of a sweep as a GIF: three planes of each value, with the value written below."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.figures.grey import Grey, window
from braindiffusion.figures.planes import ACROSS_AND_UP
from braindiffusion.files import write_whole
from braindiffusion.volume import Volume

PIXELS_PER_MM = 2.0
TEXT = 26
"""Height of the line of text, in pixels."""
MILLISECONDS, PAUSE = 300, 900
"""Duration of a frame, and of the first and the last value."""


def write_animation(
    values: Volume, captions: Sequence[str], path: Path, *, centre: Sequence[float] | None = None
) -> Path:
    """Write a sweep as a GIF that plays forwards and backwards, for ever.

    All frames have the contrast of the first one. Left is left.

    Args:
        values: one value for each channel.
        captions: text of each value.
        path: the file, `.gif`. Its folder is made.
        centre: (3,) voxels that the sagittal, coronal and axial planes go through; by default the middle of what is
            not background.

    Returns:
        The path written.

    Raises:
        BrainDiffusionError: the first value has the same intensity everywhere, or the file cannot be written.
    """
    forwards = frames(values, captions, centre=centre)
    shown = [*forwards, *forwards[-2:0:-1]]
    waits = [PAUSE if frame is forwards[0] or frame is forwards[-1] else MILLISECONDS for frame in shown]
    data = BytesIO()
    shown[0].save(data, "GIF", save_all=True, append_images=shown[1:], duration=waits, loop=0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data.getvalue())
    except OSError as error:
        raise BrainDiffusionError(f"The animation cannot be written to {path}: {error.strerror}.") from error
    return path


def frames(values: Volume, captions: Sequence[str], *, centre: Sequence[float] | None = None) -> list[Image.Image]:
    """Return one picture (8 bits of grey) for each value of a sweep, see `write_animation`."""
    first = Grey.of(values)
    if centre is None:
        centre = [(side.start + side.stop - 1) / 2 for side in first.box]
    places = [int(np.clip(round(at), 0, n - 1)) for at, n in zip(centre, values.shape, strict=True)]
    low, high = window(np.asarray(values.data[0], np.float32))
    font = ImageFont.load_default(TEXT - 8)
    made = []
    for channel, caption in zip(values.data, captions, strict=True):
        grey = np.clip((np.asarray(channel, np.float32) - low) / (high - low), 0, 1) * 255
        planes = []
        for axis in range(3):
            cut = grey.take(places[axis], axis)[tuple(first.box[other] for other in ACROSS_AND_UP[axis])]
            planes.append(_picture(cut, [values.spacing[other] for other in ACROSS_AND_UP[axis]]))
        tall = max(plane.height for plane in planes)
        frame = Image.new("L", (sum(plane.width for plane in planes), tall + TEXT))
        left = 0
        for plane in planes:
            frame.paste(plane, (left, (tall - plane.height) // 2))
            left += plane.width
        place = (frame.width / 2, tall + TEXT / 2)
        ImageDraw.Draw(frame).text(place, caption, fill=255, font=font, anchor="mm")
        made.append(frame)
    return made


def _picture(cut: npt.NDArray[np.float32], spacing: Sequence[float]) -> Image.Image:
    """Return a plane (across, up) upright, with square pixels."""
    size = [round(n * mm * PIXELS_PER_MM) for n, mm in zip(cut.shape, spacing, strict=True)]
    upright = np.ascontiguousarray(cut.T[::-1])
    return Image.fromarray(upright.astype(np.uint8)).resize((size[0], size[1]), Image.Resampling.BICUBIC)
