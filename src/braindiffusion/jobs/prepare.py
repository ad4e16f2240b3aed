"""The job `prepare`, for people without label maps too: the reader makes them before the cohort is prepared."""

from collections.abc import Iterator

import numpy as np

from braindiffusion.cohort import prepare as cohort
from braindiffusion.cohort.find import find
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.regions import REGIONS
from braindiffusion.runs import Event, Progress, Run, Warned
from braindiffusion.runs.requests import PrepareRequest
from braindiffusion.runs.sidecar import volume_stem
from braindiffusion.volume import Volume, save_volume

STAGE = "read"
_DLMUSE = np.array([region.dlmuse[0] for region in REGIONS], np.uint8)
"""A value of each region that `regions.group` turns into it again."""


def prepare(request: PrepareRequest, run: Run) -> Iterator[Event]:
    """Prepare a cohort; where brains are to be stripped and nobody gave label maps, read these first.

    They are kept beside the store, in `NAME.labels/`: one a volume, on its own grid, in values of DLMUSE (each region
    as its first). A label map that is there and newer than its volume is not read again.

    Args:
        request: what to prepare, and where to.
        run: the run that asks.

    Yields:
        Progress for each volume that is read, Warned for each that cannot be; then what `cohort.prepare` yields.

    Raises:
        BrainDiffusionError: as `cohort.prepare`; or no T1w volume is there to be read.
    """
    if request.skull == "strip" and request.labels is None:
        if not request.modality.startswith("T1"):
            msg = f"Stripping {request.modality} needs a folder of label maps: only T1w volumes can be segmented."
            raise BrainDiffusionError(msg, field="labels")
        yield from _read_all(request)
        request = request.model_copy(update={"labels": request.out.with_suffix(".labels")})
    yield from cohort.prepare(request, run)


def _read_all(request: PrepareRequest) -> Iterator[Event]:
    from braindiffusion.jobs.segment import segment_file
    from braindiffusion.segmentation.files import load_segmentation_model  # imports torch

    found = cohort.choose(find(request.data_dir, modality=request.modality), request.subjects)
    volumes = [item.path for item in found if not item.problem]
    folder = request.out.with_suffix(".labels")
    reader = load_segmentation_model()
    yield Progress(stage=STAGE, step=0, total=len(volumes))
    for step, path in enumerate(volumes, start=1):
        target = folder / f"{volume_stem(path)}.nii.gz"
        if not target.is_file() or target.stat().st_mtime < path.stat().st_mtime:
            try:
                volume, reading = segment_file(reader, path)
            except BrainDiffusionError as error:
                yield Warned(message=str(error), subject=path.name)
            else:
                save_volume(Volume(_DLMUSE[reading.regions][None], volume.affine, {"kind": "labels"}), target)
        yield Progress(stage=STAGE, step=step, total=len(volumes), message=path.name)
